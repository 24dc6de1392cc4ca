"""Parameters shared by the studies of the over-the-counter market, and the market they describe.

The defaults are the base configuration of Vadori et al., Section 5.2: three providers in two supertypes, the first
provider's type randomised (risk aversion on [0, 2], PnL weight and connectivity to each taker supertype on [0, 1]), two
more with γ = 0.5 and ω = 1; twelve flow takers (ω = 0) and two PnL takers (ω = 1), everyone connected to the exchange.

A parameter given per supertype is a list with one entry each: a number, or a law from which every episode draws anew,
[low, high] of a uniform one or [low, high, mean, deviation] of a clipped normal one. The probability of a connection is
a matrix of such entries: provider × taker supertypes, or supertypes × exchanges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.errors import InvalidInput, RunFailed
from diffgames.markets.agents import (
    ProviderSupertypes,
    QuadraticPenalty,
    TakerSupertypes,
    TypeDistribution,
    constant,
    laws,
)
from diffgames.markets.ecn_fit import FitReport
from diffgames.markets.engines import AbstractEngine, DepthEngine, FifoEngine
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import AbstractExchange, stack_exchanges
from diffgames.markets.market_state import StepRecord
from diffgames.markets.network import Connectivity
from diffgames.studies.exchange_parameters import ExchangeParameters, fit_to
from diffgames.studies.study import Parameter

Law = float | tuple[float, float] | tuple[float, float, float, float]
"""A number, [low, high] of a uniform law, or [low, high, mean, deviation] of a clipped normal one."""
PerSupertype = tuple[Law, ...]


OfProviders = partial(Parameter, shape="provider supertypes")
OfTakers = partial(Parameter, shape="taker supertypes")


@dataclass(frozen=True, kw_only=True)
class MarketParameters(ExchangeParameters):
    """Who plays, with what types and connections, on which exchanges."""

    data: Annotated[
        str | tuple[str, ...] | None,
        Parameter(
            "level-2 file (LOBSTER order book or 1-second) to fit, or one for each exchange; null: synthetic",
            shape="scalar or exchanges",
        ),
    ] = None
    provider_counts: Annotated[tuple[int, ...], OfProviders("providers per supertype", "agents")] = (1, 2)
    provider_risk_aversion: Annotated[PerSupertype, OfProviders("γ, number or law")] = ((0.0, 2.0), 0.5)
    provider_pnl_weight: Annotated[PerSupertype, OfProviders("ω, number or law in [0, 1]")] = ((0.0, 1.0), 1.0)
    provider_share_target: Annotated[PerSupertype, OfProviders("market share target m, in [0, 1]")] = (1.0, 1.0)
    provider_normalizer: Annotated[
        PerSupertype | None,
        OfProviders(
            "η, number or law; null: one over an equal share of the flow at half a spread", "1 / (ticks × lots)"
        ),
    ] = None
    taker_counts: Annotated[tuple[int, ...], OfTakers("takers per supertype", "agents")] = (12, 2)
    taker_risk_aversion: Annotated[PerSupertype, OfTakers("γ, number or law")] = (0.0, 0.0)
    taker_pnl_weight: Annotated[PerSupertype, OfTakers("ω: 0 flow takers, 1 PnL takers")] = (0.0, 1.0)
    taker_buy_target: Annotated[PerSupertype, OfTakers("qᵇ, fraction of steps to buy")] = (0.5, 0.5)
    taker_sell_target: Annotated[PerSupertype, OfTakers("qᵃ, fraction of steps to sell")] = (0.5, 0.5)
    taker_quantity: Annotated[PerSupertype, OfTakers("trade size q_LT", "lots")] = (1.0, 1.0)
    taker_normalizer: Annotated[
        PerSupertype | None,
        OfTakers("η, number or law; null: one over half a spread on q_LT a step", "1 / (ticks × lots)"),
    ] = None
    connectivity: Annotated[
        tuple[PerSupertype, ...],
        Parameter("connection probability, number or law", shape="provider supertypes × taker supertypes"),
    ] = (((0.0, 1.0), (0.0, 1.0)), (1.0, 1.0))
    exchanges: Annotated[int, Parameter("number of exchanges n_ECN", "exchanges")] = 1
    provider_exchange: Annotated[
        tuple[PerSupertype, ...] | None,
        Parameter(
            "connection probability, number or law; null: all are connected", shape="provider supertypes × exchanges"
        ),
    ] = None
    taker_exchange: Annotated[
        tuple[PerSupertype, ...] | None,
        Parameter(
            "connection probability, number or law; null: all are connected", shape="taker supertypes × exchanges"
        ),
    ] = None
    inventory_penalty: Annotated[float, Parameter("coefficient c of ℓ(q) = −c q² in equation (3)", "ticks per lot")] = (
        0.0
    )
    spread_bounds: Annotated[
        tuple[float, float], Parameter("range of ε_spread that policies can quote", "market spreads", shape="2")
    ] = (-1.0, 1.0)
    skew_bound: Annotated[float, Parameter("range of |ε_skew| that policies can quote", "market spreads")] = 1.0
    quote_granularity: Annotated[float, Parameter("quote grid ξ_LP: 0.1 bp on a 0.5 bp tick", "ticks")] = 0.2
    share: Annotated[
        Literal["all", "providers"],
        Parameter("what market shares are of: all takers' volume, or what takers trade with providers"),
    ] = "all"
    mark: Annotated[
        Literal["mid", "book"],
        Parameter("what inventory is worth: the mid, or what walking the exchanges' books pays for it"),
    ] = "mid"
    clock: Annotated[
        Literal["shared", "private", "none"],
        Parameter("takers' clock: the market's, that of a past of their own, or no time in what they see"),
    ] = "shared"
    steps: Annotated[int, Parameter("episode length T", "steps", minimum=1)] = 100
    grid: Annotated[
        int | None,
        Parameter("length of the price grid; null: from the data's volatility and spread", "ticks", minimum=32),
    ] = None
    engine: Annotated[
        Literal["depth", "fifo"],
        Parameter("order books: volumes by tick in closed form, or every order in its queue (slower)"),
    ] = "depth"
    book_capacity: Annotated[int, Parameter("orders that can rest on a side of a fifo book", "orders", minimum=1)] = (
        1536
    )


def fit_exchanges(parameters: MarketParameters, seed: int) -> list[tuple[AbstractExchange, FitReport]]:
    """One exchange agent for all exchanges, or one each where `data` is a list."""
    if not isinstance(parameters.data, tuple):
        return [fit_to(parameters.data, parameters, seed)]
    if len(parameters.data) != parameters.exchanges:
        allowed = f"as many files as exchanges, {parameters.exchanges}"
        raise InvalidInput("data", list(parameters.data), allowed)
    return [fit_to(path, parameters, seed) for path in parameters.data]


def build_market(parameters: MarketParameters, exchange: AbstractExchange | Sequence[AbstractExchange]) -> OTCMarket:
    """The market that the parameters describe, on copies of the fitted exchange or on one model per exchange.

    Unless η is given, PnL is made comparable with market share and trade targets by η = 1 / (the spread that an equal
    share of the takers' volume can earn in an episode at half the exchange's usual spread s, which is one tick in a
    large-tick market): 2·providers / (s·T·Σ q_LT) for providers, 2 / (s·T·q_LT) for takers.
    Raises `InvalidInput` naming the parameter whose length or range does not fit.
    """
    _check(parameters)
    providers, takers = _counts("provider_counts", parameters), _counts("taker_counts", parameters)
    n, m = len(providers), len(takers)
    quantity = laws("taker_quantity", parameters.taker_quantity, m, 1e-3, 1e6)
    volume = float(np.dot(takers, np.asarray(quantity.mean)))
    buy = laws("taker_buy_target", parameters.taker_buy_target, m, 0.0, 1.0)
    sell = laws("taker_sell_target", parameters.taker_sell_target, m, 0.0, 1.0)
    if bool(np.any(np.asarray(buy.high + sell.high) > 1 + 1e-6)):
        raise InvalidInput("taker_buy_target", parameters.taker_buy_target, "qᵃ + qᵇ ≤ 1 for every supertype")
    exchanges = stack_exchanges(_models(parameters, exchange))
    steps, scale = parameters.steps, exchanges.scales(parameters.steps)
    grid = parameters.grid or exchanges.price_grid(steps)
    earned = steps * scale.spread / 2  # ticks, on a lot a step
    return OTCMarket(
        providers=ProviderSupertypes(
            risk_aversion=laws("provider_risk_aversion", parameters.provider_risk_aversion, n, 0.0, 100.0),
            pnl_weight=laws("provider_pnl_weight", parameters.provider_pnl_weight, n, 0.0, 1.0),
            normalizer=_normalizer("provider_normalizer", parameters, [sum(providers) / (earned * volume)] * n),
            share_target=laws("provider_share_target", parameters.provider_share_target, n, 0.0, 1.0),
        ),
        takers=TakerSupertypes(
            risk_aversion=laws("taker_risk_aversion", parameters.taker_risk_aversion, m, 0.0, 100.0),
            pnl_weight=laws("taker_pnl_weight", parameters.taker_pnl_weight, m, 0.0, 1.0),
            normalizer=_normalizer("taker_normalizer", parameters, 1.0 / (earned * np.asarray(quantity.mean))),
            sell_target=sell,
            buy_target=buy,
            quantity=quantity,
        ),
        connectivity=Connectivity(
            provider_taker=_matrix(
                "connectivity", parameters.connectivity, (n, "provider supertypes"), (m, "taker supertypes")
            ),
            provider_exchange=_reach("provider_exchange", parameters, n),
            taker_exchange=_reach("taker_exchange", parameters, m),
        ),
        exchanges=exchanges,
        price_scale=jnp.asarray(scale.price, jnp.float32),
        inventory_scale=jnp.asarray(2.0 * volume / sum(providers), jnp.float32),
        volume_scale=jnp.asarray(scale.volume, jnp.float32),
        spread_scale=jnp.asarray(scale.spread, jnp.float32),
        penalty=QuadraticPenalty(jnp.asarray(parameters.inventory_penalty, jnp.float32)),
        engine=_engine(parameters, grid),
        provider_supertype=tuple(index for index, count in enumerate(providers) for _ in range(count)),
        taker_supertype=tuple(index for index, count in enumerate(takers) for _ in range(count)),
        steps=steps,
        grid=grid,
        quote_granularity=parameters.quote_granularity,
        spread_bounds=parameters.spread_bounds,
        skew_bound=parameters.skew_bound,
        sizes_vary=quantity.varies,
        share=parameters.share,
        mark=parameters.mark,
        clock=parameters.clock,
    )


def check_walls(market: OTCMarket, record: StepRecord) -> None:
    """Raise `RunFailed`, naming a grid to take, where a best price reached the last level that the grid holds."""
    half, levels = market.grid // 2, market.exchanges.levels
    highest, lowest = float(np.max(np.asarray(record.best_ask))), float(np.min(np.asarray(record.best_bid)))
    if highest + half >= market.grid - levels or lowest + half <= levels - 1:
        reason = f"the price reached the end of the grid of {market.grid} ticks ({lowest:+.0f} to {highest:+.0f})"
        raise RunFailed(reason, f"take grid={2 * market.grid}")


def _check(parameters: MarketParameters) -> None:
    if parameters.exchanges < 1:
        raise InvalidInput("exchanges", parameters.exchanges, "an integer ≥ 1")
    low, high = parameters.spread_bounds
    if not -1.0 <= low < high:
        raise InvalidInput("spread_bounds", parameters.spread_bounds, "[low, high] with −1 ≤ low < high")


def _models(
    parameters: MarketParameters, exchange: AbstractExchange | Sequence[AbstractExchange]
) -> Sequence[AbstractExchange]:
    """A model for every exchange; they share a price grid, so their ticks must be one."""
    if isinstance(exchange, AbstractExchange) or len(exchange) == 1:
        return [exchange if isinstance(exchange, AbstractExchange) else exchange[0]] * parameters.exchanges
    if len(exchange) != parameters.exchanges:
        raise InvalidInput("exchanges", parameters.exchanges, f"{len(exchange)}, the number of exchange models")
    ticks = [float(model.tick) for model in exchange]
    if len(set(ticks)) > 1:
        raise InvalidInput("data", f"tick sizes {ticks}", "exchanges with one tick size")
    return exchange


def _engine(parameters: MarketParameters, grid: int) -> AbstractEngine:
    """The engine of every exchange's book; an exact book takes an order for each tick that varies, and a few more."""
    if parameters.engine == "depth":
        return DepthEngine()
    if parameters.book_capacity < grid:
        raise InvalidInput("book_capacity", parameters.book_capacity, f"at least the {grid} ticks of grid")
    return FifoEngine(capacity=parameters.book_capacity, max_orders=grid + 32)


def _counts(key: str, parameters: MarketParameters) -> list[int]:
    counts: Any = getattr(parameters, key)
    if not counts or any(count < 1 for count in counts):
        raise InvalidInput(key, counts, "a non-empty list of integers ≥ 1, one per supertype")
    return list(counts)


def _normalizer(key: str, parameters: MarketParameters, otherwise) -> TypeDistribution:
    values = getattr(parameters, key)
    return constant(otherwise) if values is None else laws(key, values, len(otherwise), 1e-9, 1e9)


def _reach(key: str, parameters: MarketParameters, supertypes: int) -> TypeDistribution:
    rows: Any = getattr(parameters, key)
    if rows is None:
        return constant(np.ones((supertypes, parameters.exchanges)))
    return _matrix(key, rows, (supertypes, "supertypes"), (parameters.exchanges, "exchanges"))


def _matrix(key: str, rows, down: tuple[int, str], across: tuple[int, str]) -> TypeDistribution:
    """Probabilities with a law each, as many rows and columns as `down` and `across` say with their names."""
    (n, row), (m, column) = down, across
    if len(rows) != n or any(isinstance(one, list | tuple) and len(one) != m for one in rows):
        raise InvalidInput(key, rows, f"a matrix of {n} {row} × {m} {column} within [0, 1]")
    parts = [laws(key, one, m, 0.0, 1.0, each=column.removesuffix("s")) for one in rows]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
