"""What providers and takers observe (Vadori et al., Table 1), scaled to order one.

Partial observability: exchange information reaches only agents connected to an exchange, quotes only takers connected
to the provider, and everything of an agent's own stays its own. Prices are divided by the price scale (the standard
deviation of the mid over an episode), inventories by the inventory scale, volumes by the mean level volume; spreads and
costs are in units of the exchange's median spread (one tick in a large-tick market) and capped at `COST_CAP`, which is
also what an unreachable venue shows.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.markets.depth_book import DepthBook, average_prices, market_spread, top_levels
from diffgames.markets.market_state import MarketState

HEDGE_FRACTIONS = (0.25, 0.5, 0.75, 1.0)
COST_CAP = 5.0


class Scales(eqx.Module):
    """What observations are divided by."""

    price: Float[Array, ""]  # ticks
    inventory: Float[Array, ""]  # a provider's, lots
    volume: Float[Array, ""]  # lots
    spread: Float[Array, ""]  # ticks
    normalizer: Float[Array, ""]  # η
    quantity: Float[Array, ""]  # a taker's q_LT, lots
    steps: int = eqx.field(static=True)
    clock: str = eqx.field(static=True, default="shared")


def provider_features(levels: int, taker_supertypes: int) -> tuple[str, ...]:
    """Names of a provider's observations, in order."""
    return (
        *("price", "inventory", "time", "market_share", "market_spread"),
        *(f"bid_volume_{level}" for level in range(1, levels + 1)),
        *(f"ask_volume_{level}" for level in range(1, levels + 1)),
        *(f"hedge_cost_{fraction:g}" for fraction in HEDGE_FRACTIONS),
        *("risk_aversion", "pnl_weight", "normalizer", "share_target"),
        *(f"connected_takers_{index}" for index in range(taker_supertypes)),
    )


def taker_features(provider_supertypes: int, clock: str = "shared") -> tuple[str, ...]:
    """Names of a taker's observations, in order; without the time where its clock shows none."""
    return (
        *("price", "inventory", *(() if clock == "none" else ("time",))),
        *("sold_fraction", "bought_fraction", "buying_cost", "selling_cost"),
        *("risk_aversion", "pnl_weight", "normalizer", "sell_target", "buy_target", "quantity"),
        *(f"connected_providers_{index}" for index in range(provider_supertypes)),
    )


def by_name(
    names: tuple[str, ...], seen: Float[Array, "agents features"], state: MarketState, depth: DepthBook, scales: Scales
) -> dict[str, Float[Array, " agents"]]:
    """What agents written by hand are told: observations in ticks, lots and steps, and what is public.

    `steps_left`, `volatility` (ticks per √step), `price_change` (ticks, in the last step), `market_volume` (lots that
    takers traded so far) and `imbalance`, (V_bid − V_ask)/(V_bid + V_ask) of all exchanges' best levels, come on top.
    Costs and spreads are in ticks and stay capped at `COST_CAP` median spreads.
    """
    unit = {"price": scales.price, "inventory": scales.inventory, "market_spread": scales.spread}
    unit |= {"normalizer": scales.normalizer, "quantity": scales.quantity}
    unit |= {name: scales.volume for name in names if "_volume_" in name}
    unit |= {name: scales.spread for name in names if name.startswith("hedge_cost") or name.endswith("_cost")}
    told = {name: seen[:, column] * unit.get(name, 1.0) for column, name in enumerate(names)}
    one = jnp.ones_like(seen[:, 0])
    bid, ask = jnp.sum(jax.vmap(lambda book: top_levels(book, 1))(depth), axis=0)
    if "sold_fraction" in told:  # a taker: its own affairs, whatever its clock shows
        own = {"sold_fraction": state.sold_fraction, "bought_fraction": state.bought_fraction}
        told |= {**own, "inventory": state.takers.inventory}
    return told | {
        "time": one * state.time.astype(jnp.float32),
        "steps_left": one * (scales.steps - state.time).astype(jnp.float32),
        "volatility": one * scales.price / scales.steps**0.5,
        "price_change": one * state.price_change,
        "market_volume": one * state.volume,
        "imbalance": one * (bid - ask) / jnp.maximum(bid + ask, 1e-6),
    }


def observe_providers(
    state: MarketState, depth: DepthBook, levels: int, scales: Scales
) -> Float[Array, "providers features"]:
    """One row per provider; `depth` holds the exchanges' volumes on its leading axis."""
    inventory = state.providers.inventory
    connected = state.network.provider_exchange.astype(jnp.float32)
    reach = connected / jnp.maximum(jnp.sum(connected, axis=1, keepdims=True), 1.0)
    volumes = reach @ jax.vmap(lambda book: top_levels(book, levels))(depth) / scales.volume
    spread = reach @ jax.vmap(market_spread)(depth) / scales.spread
    common = _columns(inventory, state.price / scales.price, state.time.astype(jnp.float32) / scales.steps)
    types = state.provider_type
    return jnp.concatenate(
        [
            common[:, :1],
            (inventory / scales.inventory)[:, None],
            common[:, 1:],
            jnp.stack([state.market_share, jnp.minimum(spread, COST_CAP)], axis=1),
            volumes,
            hedge_costs(inventory, state.price, depth, state.network.provider_exchange, scales.spread),
            jnp.stack([types.risk_aversion, types.pnl_weight, types.normalizer / scales.normalizer], axis=1),
            types.share_target[:, None],
            state.network.provider_fraction,
        ],
        axis=1,
    )


def observe_takers(
    state: MarketState, buying: Float[Array, " takers"], selling: Float[Array, " takers"], scales: Scales
) -> Float[Array, "takers features"]:
    """One row per taker; `buying`, `selling` are the best cost and the best negated proceeds it can reach."""
    types = state.taker_type
    time = state.time.astype(jnp.float32)
    shared = jnp.broadcast_to(time / scales.steps, buying.shape)
    shown = {"shared": [shared], "private": [(time + state.past) / (2 * scales.steps)], "none": []}
    columns = [
        jnp.broadcast_to(state.price / scales.price, buying.shape),
        state.takers.inventory / (types.quantity * jnp.sqrt(jnp.float32(scales.steps))),
        *shown[scales.clock],
        state.sold_fraction,
        state.bought_fraction,
        jnp.minimum((buying - state.price) / scales.spread, COST_CAP),
        jnp.minimum((selling + state.price) / scales.spread, COST_CAP),
        types.risk_aversion,
        types.pnl_weight,
        types.normalizer / scales.normalizer,
        types.sell_target,
        types.buy_target,
        types.quantity / scales.quantity,
    ]
    return jnp.concatenate([jnp.stack(columns, axis=1), state.network.taker_fraction], axis=1)


def hedge_costs(
    inventory: Float[Array, " providers"],
    price: Float[Array, ""],
    depth: DepthBook,
    connected: Array,
    unit: Float[Array, ""],
) -> Float[Array, "providers fractions"]:
    """Cost per lot, in units of `unit` ticks, of hedging fractions of the inventory at the best connected exchange."""
    fractions = jnp.asarray(HEDGE_FRACTIONS, jnp.float32)
    size = jnp.maximum(jnp.abs(inventory)[:, None] * fractions[None, :], 1e-3)
    ask, bid = jax.vmap(lambda book: average_prices(book, size.reshape(-1)))(depth)
    sells = (inventory > 0)[None, :, None]
    shape = (depth.ask.shape[0], *size.shape)
    cost = jnp.where(sells, price - bid.reshape(shape), ask.reshape(shape) - price)
    reachable = jnp.where(connected.T[:, :, None], cost / unit, COST_CAP)
    return jnp.minimum(jnp.min(reachable, axis=0), COST_CAP)


def _columns(like: Float[Array, " agents"], *values: Float[Array, ""]) -> Float[Array, "agents columns"]:
    return jnp.broadcast_to(jnp.stack(values)[None, :], (like.shape[0], len(values)))
