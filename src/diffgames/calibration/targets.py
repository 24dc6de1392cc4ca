"""What a market is calibrated to: statistics of an episode, their targets, and the reward of meeting them.

Measured of every episode (Vadori et al., Section 5.1), providers being of supertypes j and takers trading sizes q:

    m_j     share of all takers' volume that the providers of supertype j have together,   m = Σ_j m_j,
    v̂_j(p)  (10p)% percentile, p = 1…9, of the individual trade quantities that a provider of supertype j receives,
    F̂_j(ε)  flow response, equation (27): lots a step that takers trade with it on a side whose price is ε,
    x̂       the mean over steps of any function of a step's record (`Measure`).

A percentile is that of all trades of the episode; where the distribution function is flat at 10p% it is the middle of
the flat piece, ½(inf{v: F(v) ≥ p/10} + inf{v: F(v) > p/10}); a supertype that trades nothing has percentiles of zero.
F̂ at points ε_1 < … < ε_K is a weighted mean: a quote ε counts toward its two neighbors in proportion to its nearness
(not at all outside [ε_1, ε_K]), and to every point one quote with the mean flow is added, so that a point that nobody
quoted has the mean flow and no episode is without a value. A target has a loss ℓ, in its own unit:

    equal  |f − f*|,      at least  (f* − f)⁺,      percentiles, flow  mean over its points of |f − f*|,

and a reward is either of

    r = 1 / (1 + Σ_k w_k ℓ_k)   (the experiments),        r = Σ_k w_k / max(ℓ_k, ε)   (equation 19),

the second with a floor ε, since it is infinite where a target is met exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput

PROBABILITIES = tuple(p / 10 for p in range(1, 10))
FLAT = 1e-5  # a distribution function this near to a probability is equal to it, in 32 bits
LARGE_SIZES = (8.0, 8.0, 8.0, 9.0, 9.0, 9.0, 10.0, 10.0, 10.0)  # Table 5, lots
SMALL_SIZES = (2.0, 3.0, 3.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0)

Real = Array | np.ndarray


@dataclass(frozen=True)
class Measure:
    """Any statistic of an episode: the mean over steps of `of(record)`, a number, in `unit`; shape [] per episode."""

    name: str
    unit: str
    of: Callable[[Any], Array]


class Statistics(eqx.Module):
    """What an episode shows: m_j, v̂_j(p) in lots and, where a target asks, F̂_j in lots a step, and measures by name."""

    share: Float[Real, "*episodes supertypes"]
    percentiles: Float[Real, "*episodes supertypes 9"]
    flow: Float[Real, "*episodes supertypes points"] | None = None
    measured: dict[str, Real] | None = None

    @property
    def total_share(self) -> Float[Real, "*episodes"]:
        """m, the share of all providers."""
        return jnp.asarray(self.share).sum(axis=-1)


def percentiles(trades: Float[Real, "*episodes sizes"], sizes: Float[Real, " sizes"]) -> Float[Array, "*episodes 9"]:
    """Percentiles 10%…90%, lots, of so many trades of each size; `sizes` rise."""
    trades, sizes = jnp.asarray(trades), jnp.asarray(sizes)
    total = jnp.sum(trades, axis=-1, keepdims=True)
    law = jnp.cumsum(trades, axis=-1) / jnp.maximum(total, 1e-12)

    def below(shift: float) -> Float[Array, "*episodes 9"]:
        place = jnp.stack([jnp.sum(law < p + shift, axis=-1) for p in PROBABILITIES], axis=-1)
        return sizes[jnp.minimum(place, sizes.shape[0] - 1)]

    return jnp.where(total > 0, (below(-FLAT) + below(FLAT)) / 2, 0.0)


def near(price: Float[Real, "*any"], at: tuple[float, ...]) -> Float[Array, "*any points"]:
    """How much a quote ε counts toward each of the points, which rise: hats, zero outside of them."""
    price = jnp.asarray(price)
    hats = []
    for here, before, after in zip(at, (at[0] - 1.0, *at), (*at[1:], at[-1] + 1.0), strict=False):
        rise, fall = (price - before) / (here - before), (after - price) / (after - here)
        hats.append(jnp.clip(jnp.minimum(rise, fall), 0.0, 1.0))
    inside = (price >= at[0]) & (price <= at[-1])
    return jnp.where(inside[..., None], jnp.stack(hats, axis=-1), 0.0)


def flow_curve(
    lots: Float[Real, "*episodes points"], quotes: Float[Real, "*episodes points"], mean: Float[Real, "*episodes"]
) -> Float[Array, "*episodes points"]:
    """F̂ from the weighted lots and quotes near each point, and the mean flow of all quotes."""
    return (jnp.asarray(lots) + jnp.asarray(mean)[..., None]) / (jnp.asarray(quotes) + 1.0)


class Target(eqx.Module):
    """One target: its statistic, its value, its weight w; `unit` is that of its loss.

    `at` are the probabilities of percentiles (all nine where it is empty), or the prices ε of a flow response, in
    market spreads. A target of kind "statistic" has a `measure`.
    """

    kind: Literal["equal", "at least", "percentiles", "flow", "statistic"] = eqx.field(static=True)
    value: tuple[float, ...] = eqx.field(static=True)
    supertype: int | None = eqx.field(static=True, default=None)  # None: of all providers
    weight: float = eqx.field(static=True, default=1.0)
    at: tuple[float, ...] = eqx.field(static=True, default=())
    measure: Measure | None = eqx.field(static=True, default=None)

    def __post_init__(self):
        if self.kind == "percentiles" and not self.at:
            self.at = PROBABILITIES
        value, own = np.asarray(self.value, float), self.supertype is not None
        rises = len(value) == len(self.at) and bool(np.all(np.diff(self.at) > 0)) and bool(np.all(value >= 0))
        falls, nine = bool(np.any(np.diff(value) < 0)), set(self.at) <= set(PROBABILITIES)
        number = len(value) == 1 and bool(np.isfinite(value[0]))
        if self.kind == "percentiles":
            right = own and rises and nine and not falls
            allowed = "trade quantities that do not fall, one for each of .1 to .9 in `at` (nine), of one supertype"
        elif self.kind == "flow":
            right = own and rises and len(value) > 1
            allowed = "two or more flows ≥ 0, one for each of rising prices, of one supertype"
        elif self.kind == "statistic":
            right, allowed = number and self.measure is not None, "one number, of a measure"
        else:
            right, allowed = number and 0 <= value[0] <= 1, "one share in [0, 1]"
        if not right:
            raise InvalidInput("target", list(self.value), allowed)
        if not self.weight > 0:
            raise InvalidInput("weight", self.weight, "a number > 0")

    @property
    def unit(self) -> str:
        """Unit of the loss."""
        if self.measure is not None:
            return self.measure.unit
        return {"percentiles": "lots", "flow": "lots a step"}.get(self.kind, "1")

    def seen(self, seen: Statistics) -> Float[Array, "*episodes values"]:
        """f, the values of the target's statistic."""
        if self.kind == "percentiles":
            return jnp.asarray(seen.percentiles)[..., self.supertype, [PROBABILITIES.index(p) for p in self.at]]
        if self.kind == "flow":
            if seen.flow is None:
                raise InvalidInput("target", "flow", "shares and percentiles: this market has no prices")
            return jnp.asarray(seen.flow)[..., self.supertype, :]
        if self.measure is not None:
            if seen.measured is None:
                raise InvalidInput("target", self.measure.name, "shares and percentiles: nothing else is measured here")
            return jnp.asarray(seen.measured[self.measure.name])[..., None]
        share = seen.total_share if self.supertype is None else jnp.asarray(seen.share)[..., self.supertype]
        return jnp.asarray(share)[..., None]

    def loss(self, seen: Statistics) -> Float[Real, "*episodes"]:
        """ℓ, in `unit`."""
        return self.miss(self.seen(seen))

    def miss(self, found: Float[Array, "*episodes values"]) -> Float[Array, "*episodes"]:
        """ℓ of values of the target's statistic."""
        short = jnp.broadcast_to(jnp.asarray(self.value, found.dtype), found.shape) - found
        return jnp.mean(jnp.maximum(short, 0.0) if self.kind == "at least" else jnp.abs(short), axis=-1)


Targets = Sequence[Target]


def flow_points(targets: Targets) -> tuple[float, ...]:
    """The prices ε at which the targets want the flow response, empty where none does."""
    asked = {target.at for target in targets if target.kind == "flow"}
    if len(asked) > 1:
        raise InvalidInput("target", sorted(asked), "flow responses at the same prices")
    return next(iter(asked), ())


def reward(targets: Targets, seen: Statistics) -> Float[Array, "*episodes"]:
    """1 / (1 + Σ_k w_k ℓ_k), in (0, 1]: the experiments' reward."""
    return jnp.asarray(1.0 / (1.0 + sum(target.weight * target.loss(seen) for target in targets)))


def reciprocal_reward(targets: Targets, seen: Statistics, floor: float = 0.01) -> Float[Array, "*episodes"]:
    """Σ_k w_k / max(ℓ_k, floor): equation (19), losses below `floor` (in their unit) counting as equal to it."""
    if not floor > 0:
        raise InvalidInput("floor", floor, "a number > 0")
    return jnp.asarray(sum(target.weight / jnp.maximum(target.loss(seen), floor) for target in targets))


def experiment_targets(experiment: int) -> tuple[Target, ...]:
    """The targets of the paper's experiment 1, 2, 3 or 4 (Table 5), supertypes counted from zero."""
    if experiment not in (1, 2, 3, 4):
        raise InvalidInput("experiment", experiment, "1, 2, 3 or 4")
    if experiment == 4:
        return Target("equal", (0.25,), 0), Target("at least", (0.8,))
    shares = Target("at least", (0.15,), 0, 0.5), Target("at least", (0.8,), None, 0.5)
    large, small = Target("percentiles", LARGE_SIZES, 0, 0.2), Target("percentiles", SMALL_SIZES, 1, 0.2)
    return (*shares, large) if experiment == 1 else (*shares, large, small)
