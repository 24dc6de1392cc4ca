"""One learned profile at other types of the first provider: the statistics of Vadori et al., Section 5.2.

Nothing is learned again. At every point one attribute of the first provider's supertype has a stated value, everyone
plays the frozen profile, and the same random numbers are used, so that points differ by the attribute alone; the other
attributes are drawn as in training (or held at those of the other providers). The points are values of arrays in one
compiled program.

The flow response F(ε) is measured on quotes that do not depend on the flow: the first provider then quotes at random
(as in the study `flow-response`, but against takers that learned opposite a learning provider). All markets have as
many PnL takers as the largest; those that are not wanted trade `ABSENT` lots. Providers observe the fraction of PnL
takers they are connected to, which is one in all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.learning.policy import Profile
from diffgames.learning.rollout import evaluate
from diffgames.markets import behaviour
from diffgames.markets.agents import TypeDistribution
from diffgames.markets.environment import OTCMarket
from diffgames.markets.given_type import GivenType
from diffgames.markets.market_state import StepRecord
from diffgames.studies.flow_response import RANDOM, RandomQuotes
from diffgames.studies.market_parameters import check_walls
from diffgames.verification.deviation import Deviation

ATTRIBUTES = ("flow_connectivity", "pnl_connectivity", "pnl_weight", "risk_aversion")
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BINS = 8
ABSENT = 1e-6  # lots; zero would divide the takers' observed inventory by zero


class Sweep(NamedTuple):
    """Every statistic of one profile along every attribute, and what figures 10, 14 and 21–24 show."""

    value: Float[np.ndarray, "statistics attributes points"]
    skew_slope: Float[np.ndarray, "attributes points quantiles"]
    skew_by_inventory: Float[np.ndarray, "attributes points bins"]
    holding_by_inventory: Float[np.ndarray, "attributes points bins"]


def law_of(market: OTCMarket, attribute: str) -> tuple[TypeDistribution, tuple[int, ...]]:
    """The laws that hold an attribute, and the place of the first provider's supertype in them."""
    return {
        "flow_connectivity": (market.connectivity.provider_taker, (0, 0)),
        "pnl_connectivity": (market.connectivity.provider_taker, (0, 1)),
        "pnl_weight": (market.providers.pnl_weight, (0,)),
        "risk_aversion": (market.providers.risk_aversion, (0,)),
    }[attribute]


def points_of(market: OTCMarket, points: int) -> dict[str, Float[np.ndarray, " points"]]:
    """The middles of `points` equal parts of the range that an attribute is drawn from in training.

    Ends are left out: a provider connected to nobody has no flow, and no inventory to skew on.
    Raises `InvalidInput` where the first provider is not alone in its supertype, there are not flow and PnL takers
    (two supertypes), or an attribute is not random.
    """
    if market.provider_supertype.count(0) != 1:
        raise InvalidInput("provider_counts", market.provider_supertype.count(0), "1 provider in the first supertype")
    if market.connectivity.provider_taker.mean.shape[1] != 2:
        raise InvalidInput("taker_counts", len(set(market.taker_supertype)), "2 supertypes, flow and PnL takers")
    found = {}
    for attribute in ATTRIBUTES:
        law, place = law_of(market, attribute)
        low, high = (float(np.asarray(end)[place]) for end in (law.low, law.high))
        if low == high:
            key = "connectivity" if "connectivity" in attribute else f"provider_{attribute}"
            raise InvalidInput(key, low, f"a range [low, high] of the first provider's {attribute.replace('_', ' ')}")
        found[attribute] = low + (high - low) * (np.arange(points) + 0.5) / points
    return found


def at(market: OTCMarket, values: Mapping[str, float]) -> OTCMarket:
    """The market with attributes of the first provider's supertype fixed."""
    for attribute, value in values.items():
        law, place = law_of(market, attribute)
        now = {"mean": value, "low": value, "high": value, "std": 0.0, "width": 0.0}
        known = TypeDistribution(**{name: getattr(law, name).at[place].set(one) for name, one in now.items()})
        market = eqx.tree_at(lambda m, of=attribute: law_of(m, of)[0], market, known)
    return market


def base_of(market: OTCMarket) -> dict[str, float]:
    """The attributes of the second provider supertype, at their means; all connected and ω = 1 by default."""
    found = {}
    for attribute in ATTRIBUTES:
        law, place = law_of(market, attribute)
        found[attribute] = float(np.asarray(law.mean)[(min(1, law.mean.shape[0] - 1), *place[1:])])
    return found


def sweep(
    market: OTCMarket,
    profile: Profile,
    points: Mapping[str, Float[np.ndarray, " points"]],
    held: Mapping[str, float],
    key: PRNGKeyArray,
    episodes: int,
) -> Sweep:
    """Play the profile at every point of every attribute, the attributes in `held` at their values elsewhere."""
    counts = [market.taker_supertype.count(supertype) for supertype in (0, 1)]
    edges = inventory_edges(market)
    rows = []
    for attribute, values in points.items():
        for value in values:
            record = play(at(market, {**held, attribute: float(value)}), profile, key, episodes)
            check_walls(market, record)
            slopes = behaviour.skew_slopes(record)
            times = behaviour.holding_times(np.asarray(record.inventory, np.float64)[:, :, 0])
            skew = np.asarray(record.skew_tweak, np.float64)[:, :, 0]
            quantiles = (
                np.nanquantile(slopes, QUANTILES) if np.isfinite(slopes).any() else np.full(len(QUANTILES), np.nan)
            )
            rows.append(
                (
                    np.array(list(behaviour.statistics(record, counts).values())),
                    quantiles,
                    behaviour.by_inventory(record, skew, edges),
                    behaviour.by_inventory(record, times, edges),
                )
            )
    shape = (len(points), -1)
    value, *rest = (np.stack(part).reshape(*shape, part[0].size) for part in zip(*rows, strict=True))
    return Sweep(np.moveaxis(value, -1, 0), *rest)


def inventory_edges(market: OTCMarket) -> Float[np.ndarray, " edges"]:
    """Edges of the bins of the figures against inventory, lots: up to twice the scale of observed inventories."""
    reach = 2.0 * float(market.inventory_scale)
    return np.linspace(-reach, reach, BINS + 1)


def play(game, profile: Profile, key: PRNGKeyArray, episodes: int) -> StepRecord:
    """The records of the episodes, on the host."""
    return jax.tree_util.tree_map(np.asarray, evaluate(game, profile, key, episodes)[1])


def with_pnl_takers(market: OTCMarket, number: int, most: int) -> GivenType:
    """The market with all connected and `number` of `most` PnL takers who trade their size, the others `ABSENT`."""
    flow, size = market.taker_supertype.count(0), float(np.asarray(market.takers.quantity.mean)[1])
    crowd = cast(OTCMarket, replace(market, taker_supertype=(0,) * flow + (1,) * most))
    everyone = at(crowd, {"flow_connectivity": 1.0, "pnl_connectivity": 1.0})
    sizes = jnp.asarray([size] * number + [ABSENT] * (most - number), jnp.float32)
    return GivenType(everyone, "taker", jnp.arange(flow, flow + most, dtype=jnp.int32), {"quantity": sizes})


def convexity(
    market: OTCMarket,
    profile: Profile,
    pnl_takers: Sequence[int],
    quote_deviation: float,
    key: PRNGKeyArray,
    episodes: int,
) -> Float[np.ndarray, " markets"]:
    """Coefficient c of F(ε) ≈ a + bε + cε² with each number of PnL takers, lots per squared market spread."""
    quotes = {**profile, RANDOM: RandomQuotes(jnp.asarray(quote_deviation, jnp.float32))}
    found = []
    for number in pnl_takers:
        present = with_pnl_takers(market, number, max(pnl_takers))
        record = play(Deviation(present, "provider", 0, alias=RANDOM), quotes, key, episodes)
        check_walls(market, record)
        found.append(behaviour.response_curvature(record, 1.0).coefficients[2])
    return np.array(found)
