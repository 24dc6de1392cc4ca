"""Linear feedback profiles: gains on a grid of times, cubic between them, with the reactions of later tiers.

u(t, x, i) = U_i(t) z with z = (x, 1). Between two grid times the gain is the cubic with the gains and their time
derivatives at both ends (error h⁴/384 · |d⁴U/dt⁴|). In discrete time t is the step and nothing lies between.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.games.differential import Controls
from diffgames.numerics.precision import keeping_double


class Track(eqx.Module):
    """A function of time by its values and derivatives at increasing times (a single time: constant)."""

    time: Float[Array, " times"]
    value: Float[Array, "times *shape"]
    slope: Float[Array, "times *shape"]
    discrete: bool = eqx.field(static=True, default=False)

    @keeping_double
    def __call__(self, t: Float[Array, ""] | float) -> Float[Array, "*shape"]:
        """The value at time t (the nearest end outside)."""
        count = self.time.shape[0]
        if count == 1:
            return self.value[0]
        t = jnp.clip(jnp.asarray(t, self.time.dtype), self.time[0], self.time[-1])
        if self.discrete:
            return self.value[jnp.clip(jnp.round(t), 0, count - 1).astype(jnp.int32)]
        return _cubic(self.time, self.value, self.slope, t)


@jax.jit  # traced once for each shape, however often a profile is asked inside one integration
def _cubic(time: Array, value: Array, slope: Array, t: Array) -> Array:
    """The cubic between the two times around t that has their values and slopes."""
    left = jnp.clip(jnp.searchsorted(time, t, side="right") - 1, 0, time.shape[0] - 2)
    step = time[left + 1] - time[left]
    s = (t - time[left]) / step
    a, b = value[left], value[left + 1]
    da, db = step * slope[left], step * slope[left + 1]
    return (1 + 2 * s) * (1 - s) ** 2 * a + s**2 * (3 - 2 * s) * b + s * (1 - s) ** 2 * da - s**2 * (1 - s) * db


class LinearFeedback(eqx.Module):
    """A profile u = U_i(t)(x, 1); with crowds the last control is ū. Knows how later tiers react (`respond`)."""

    gain: Track
    crowd_gain: Track
    reaction: Track
    crowd_reaction: Track
    sizes: tuple[int, ...] = eqx.field(static=True)
    crowd: bool = eqx.field(static=True, default=False)

    @keeping_double
    def __call__(self, t: Float[Array, ""], x: Float[Array, " n"], i: Int[Array, ""]) -> Controls:
        """All controls at time t, state x and regime i."""
        z = jnp.append(x, jnp.ones((), x.dtype))
        return self._split(self.gain(t)[i] @ z, self.crowd_gain(t)[i] @ z)

    @keeping_double
    def respond(
        self, t: Float[Array, ""], x: Float[Array, " n"], i: Int[Array, ""], player: int, v: Float[Array, " k"]
    ) -> Controls:
        """All controls when `player` plays v, its own and earlier tiers keep to the profile and later tiers react."""
        z = jnp.append(x, jnp.ones((), x.dtype))
        own = self.gain(t)[i] @ z
        place = slice(sum(self.sizes[:player]), sum(self.sizes[: player + 1]))
        change = v - own[place]
        crowd = self.crowd_gain(t)[i] @ z + self.crowd_reaction(t)[i][:, place] @ change
        return self._split(own + self.reaction(t)[i][:, place] @ change, crowd)

    def _split(self, own: Array, crowd: Array) -> Controls:
        ends = [sum(self.sizes[: p + 1]) for p in range(len(self.sizes) - 1)]
        return (*jnp.split(own, ends), *((crowd,) if self.crowd else ()))
