"""What a market is calibrated to: statistics of an episode, their targets, and the reward of meeting them.

Measured of every episode (Vadori et al., Section 5.1), providers being of supertypes j and takers trading sizes q:

    m_j     share of all takers' volume that the providers of supertype j have together,   m = Σ_j m_j,
    v̂_j(p)  (10p)% percentile, p = 1…9, of the individual trade quantities that a provider of supertype j receives.

A percentile is that of all trades of the episode; where the distribution function is flat at 10p% it is the middle of
the flat piece, ½(inf{v: F(v) ≥ p/10} + inf{v: F(v) > p/10}); a supertype that trades nothing has percentiles of zero.
A target has a loss ℓ, in its own unit:

    equal  |f − f*|,      at least  (f* − f)⁺,      percentiles  (1/9) Σ_p |v(p) − v̂(p)|,

and a reward is either of

    r = 1 / (1 + Σ_k w_k ℓ_k)   (the experiments),        r = Σ_k w_k / max(ℓ_k, ε)   (equation 19),

the second with a floor ε, since it is infinite where a target is met exactly.
"""

from collections.abc import Sequence
from typing import Literal

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


class Statistics(eqx.Module):
    """What an episode shows: m_j, and v̂_j(p) in lots."""

    share: Float[Real, "*episodes supertypes"]
    percentiles: Float[Real, "*episodes supertypes 9"]

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


class Target(eqx.Module):
    """One target: its statistic, its value, its weight w; `unit` is that of its loss."""

    kind: Literal["equal", "at least", "percentiles"] = eqx.field(static=True)
    value: tuple[float, ...] = eqx.field(static=True)
    supertype: int | None = eqx.field(static=True, default=None)  # None: of all providers
    weight: float = eqx.field(static=True, default=1.0)

    def __post_init__(self):
        shares = self.kind != "percentiles"
        allowed = "one share in [0, 1]" if shares else "nine trade quantities that do not fall, of one supertype"
        right = len(self.value) == 1 and 0 <= self.value[0] <= 1
        if not shares:
            right = len(self.value) == 9 and bool(np.all(np.diff(self.value) >= 0)) and self.supertype is not None
        if not right:
            raise InvalidInput("target", list(self.value), allowed)
        if not self.weight > 0:
            raise InvalidInput("weight", self.weight, "a number > 0")

    @property
    def unit(self) -> str:
        """Unit of the loss."""
        return "lots" if self.kind == "percentiles" else "1"

    def loss(self, seen: Statistics) -> Float[Real, "*episodes"]:
        """ℓ, in `unit`."""
        if self.kind == "percentiles":
            found = jnp.asarray(seen.percentiles)[..., self.supertype, :]
            return jnp.mean(
                jnp.abs(found - jnp.broadcast_to(jnp.asarray(self.value, found.dtype), found.shape)), axis=-1
            )
        share = seen.total_share if self.supertype is None else jnp.asarray(seen.share)[..., self.supertype]
        short = self.value[0] - share
        return jnp.abs(short) if self.kind == "equal" else jnp.maximum(short, 0.0)


Targets = Sequence[Target]


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
