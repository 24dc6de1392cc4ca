"""Mean-field games of several types, as data: what agents control, what it costs, and how they feel the law.

An agent of type τ (share λ_τ) moves along every axis by

    dx = (a_τ(x, φ) + u) dt + σ_τ(x) dW,    cost E[∫₀ᵀ ℓ_τ(u, x) + f_τ(x, φ) dt + g_τ(x_T, φ_T)],    u ∈ [low, high],

where the *features* φ are named functions of the law, fields (a density at the point, a convolution) or numbers (a
moment, a mean speed); a field is felt at the agent's own point. ℓ is convex in u and a sum over its components. With
the values V, the masses μ of all types and

    h_τ(V, φ) = min_u { ℓ_τ(u, x) + f_τ(x, φ) + a_τ·∇V + u·∇V + ½σ_τ²∇²V }

the three readings differ in the running term of the Hamilton–Jacobi–Bellman equation only:

- `game`: h_τ(V, φ(μ)); every agent takes the law as given
- `control`: λ_τ⁻¹ ∂/∂μ_τ Σ_ρ λ_ρ ⟨μ_ρ, h_ρ(V, φ(μ))⟩; one planner minimises Σ_ρ λ_ρ J_ρ
- `typed`: ∂/∂μ_τ ⟨μ_τ, h_τ(V, φ(μ))⟩; a decision maker for each type controls its whole law, the others' given

with the derivative in the law by automatic differentiation of the features (Lasry & Lions 2007; Bensoussan, Frehse &
Yam 2013). Costs are minimised.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_market import Market
from diffgames.numerics.cells import Cells
from diffgames.numerics.precision import in_double

READINGS = ("game", "control", "typed")
Felt = Mapping[str, Array]


class Law(eqx.Module):
    """The laws of all types at a `time`: `density` [K, N] per volume, `speed` [K, d, N] the mean control in a cell."""

    density: Float[Array, "K N"]
    speed: Float[Array, "K d N"]
    share: Float[Array, " K"]
    points: Float[Array, "d N"]
    volume: float
    time: Float[Array, ""] = eqx.field(default=0.0, converter=jnp.asarray)

    @property
    def mixture(self) -> Float[Array, " N"]:
        """Density of the whole population, Σ λ_τ m_τ."""
        return self.share @ self.density


Feature = Callable[[Law], Array]


class MixtureDensity(eqx.Module):
    """Density of the whole population at the agent's point: crowding."""

    def __call__(self, law: Law) -> Array:
        return law.mixture


class Density(eqx.Module):
    """Density of one type at the agent's point."""

    type: int = eqx.field(static=True)

    def __call__(self, law: Law) -> Array:
        return law.density[self.type]


class LogDensity(eqx.Module):
    """Logarithm of the population's density."""

    def __call__(self, law: Law) -> Array:
        return jnp.log(law.mixture)


class Moment(eqx.Module):
    """E[x_axis^power] of the population."""

    power: int = eqx.field(static=True, default=1)
    axis: int = eqx.field(static=True, default=0)

    def __call__(self, law: Law) -> Array:
        return law.volume * jnp.sum(law.points[self.axis] ** self.power * law.mixture)


class MeanSpeed(eqx.Module):
    """E[u_axis] of the population: the rate at which a crowd trades."""

    axis: int = eqx.field(static=True, default=0)

    def __call__(self, law: Law) -> Array:
        return law.volume * jnp.sum(law.share[:, None] * law.density * law.speed[:, self.axis])


class Quantile(eqx.Module):
    """The point of an axis below which a share `level` of the population is: of cells, interpolated between centers."""

    level: float
    axis: int = eqx.field(static=True, default=0)

    def __call__(self, law: Law) -> Array:
        order = jnp.argsort(law.points[self.axis])
        mass = law.volume * law.mixture[order]
        return jnp.interp(self.level, jnp.cumsum(mass) - 0.5 * mass, law.points[self.axis][order])


class ClearingPrice(eqx.Module):
    """p in [low, high] at which supply(p) meets the population's mean demand, E[demand(x, p)].

    Demand less supply must fall in p; the price is at an end where they do not meet between. Bisection, and one Newton
    step through which derivatives in the law pass.
    """

    demand: Callable[[Float[Array, " d"], Array], Array]
    supply: Callable[[Array], Array]
    low: float
    high: float

    def __call__(self, law: Law) -> Array:
        def excess(p: Array) -> Array:
            wanted = jax.vmap(lambda x: self.demand(x, p), in_axes=1)(law.points)
            return law.volume * wanted @ law.mixture - self.supply(p)

        def halved(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            short = excess(middle) > 0
            return jnp.where(short, middle, ends[0]), jnp.where(short, ends[1], middle)

        ends = jnp.asarray(self.low, law.density.dtype), jnp.asarray(self.high, law.density.dtype)
        p = jax.lax.stop_gradient(jax.lax.fori_loop(0, 60, halved, ends)[0])
        met = jax.lax.stop_gradient((excess(ends[0]) > 0) & (excess(ends[1]) < 0))
        return jnp.where(met, p - excess(p) / jax.lax.stop_gradient(jax.grad(excess)(p)), p)


class Clock(eqx.Module):
    """The time, for costs and drifts that change with it."""

    def __call__(self, law: Law) -> Array:
        return law.time


class Convolution(eqx.Module):
    """∫ K(x − y) m(y) dy with the population's density; the kernel takes a difference [d]."""

    kernel: Callable[[Float[Array, " d"]], Array]

    def __call__(self, law: Law) -> Array:
        column = jax.vmap(self.kernel, in_axes=1)
        away = jax.vmap(lambda x: column(x[:, None] - law.points), in_axes=1)(law.points)
        return law.volume * away @ law.mixture


class NormalDensity(eqx.Module):
    """A normal density of the first coordinate, not normalized: where a type may start."""

    mean: float
    deviation: float

    def __call__(self, x: Float[Array, " d"]) -> Array:
        return jnp.exp(-0.5 * ((x[0] - self.mean) / self.deviation) ** 2)


class QuadraticControl(eqx.Module):
    """½ r |u|²."""

    r: float

    def __call__(self, u: Float[Array, " d"], x: Float[Array, " d"]) -> Array:
        return 0.5 * self.r * jnp.sum(u**2)


def no_cost(x: Float[Array, " d"], felt: Felt) -> Array:
    """Nothing to pay at the end."""
    return jnp.zeros(())


def no_drift(x: Float[Array, " d"], felt: Felt) -> Array:
    """No drift but the control."""
    return jnp.zeros_like(x)


class AgentType(eqx.Module):
    """One type of agent; see the module's docstring. Functions take one point x [d] and the features felt there.

    `diffusion` is σ, one number per axis or a function of x; `start` an unnormalised density, a function of x.
    """

    share: float
    start: Callable[[Array], Array]
    diffusion: Any
    control_cost: Callable[[Array, Array], Array]
    running_cost: Callable[[Array, Felt], Array]
    terminal_cost: Callable[[Array, Felt], Array] = no_cost
    drift: Callable[[Array, Felt], Array] = no_drift
    control_low: float = -math.inf
    control_high: float = math.inf

    def noise(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """σ at x, per axis."""
        noise: Any = self.diffusion(x) if callable(self.diffusion) else self.diffusion
        return jnp.broadcast_to(noise, x.shape)


class TypedMeanFieldGame(eqx.Module):
    """Types, what they feel of the law, the horizon (infinite: ergodic, the mean cost per unit of time), and a market.

    With a market controls are purchases, and at a wall nobody plays towards it: storage is full, or empty.
    """

    types: tuple[AgentType, ...]
    features: Mapping[str, Feature]
    horizon: float = math.inf
    market: Market | None = None

    @property
    def share(self) -> Float[Array, " K"]:
        """Shares of the types."""
        return jnp.stack([jnp.asarray(one.share, float) for one in self.types])

    def law(self, cells: Cells, mass: Float[Array, "K N"], speed: Float[Array, "K d N"], time: Any = 0.0) -> Law:
        """The law with these masses per cell."""
        points = jnp.asarray(cells.points())
        return Law(mass / cells.volume, speed, self.share, points, cells.volume, time)

    def felt(
        self, cells: Cells, mass: Float[Array, "K N"], speed: Float[Array, "K d N"], time: Any = 0.0
    ) -> dict[str, Array]:
        """Every feature at every cell, [N] each."""
        law = self.law(cells, mass, speed, time)
        return {name: jnp.broadcast_to(one(law), (cells.size,)) for name, one in self.features.items()}

    @in_double
    def starting(self, points: Float[np.ndarray, "d N"]) -> Float[np.ndarray, "K N"]:
        """Densities at time 0, not normalized."""
        return np.asarray(_densities(with_numbers(self), jnp.asarray(points)))

    def start(self, cells: Cells) -> Float[np.ndarray, "K N"]:
        """Masses at time 0. `InvalidInput` where a density is negative, not finite, or has no mass on the axes."""
        found = []
        for k, density in enumerate(self.starting(cells.points())):
            if not np.all(np.isfinite(density)) or density.min() < 0:
                raise InvalidInput(f"types[{k}].start", float(density.min()), "a finite density, nowhere negative")
            if density.sum() <= 0:
                raise InvalidInput(f"types[{k}].start", 0.0, "a density with mass on the axes")
            found.append(density / density.sum())
        return np.stack(found)


@eqx.filter_jit
def _densities(game: TypedMeanFieldGame, points: Float[Array, "d N"]) -> Float[Array, "K N"]:
    """Starting densities at points, not normalized."""
    found = [jax.vmap(one.start, in_axes=1)(points) for one in game.types]
    for k, density in enumerate(found):
        if density.shape != points.shape[1:]:
            raise InvalidInput(f"types[{k}].start", list(density.shape[1:]), "one number at every point")
    return jnp.stack(found)


@in_double
def with_numbers(game: TypedMeanFieldGame) -> TypedMeanFieldGame:
    """The game with its numbers as arrays, so that another value is no other program."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float) if isinstance(leaf, float | int) else leaf, game)
