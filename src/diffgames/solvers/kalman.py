"""Control under partial observation by separation: the regulator's gains on the estimate of a Kalman filter.

The estimate x̂ = E[x | observations] is all that matters of the past (certainty equivalence): u = U x̂ with the gains U
of the fully observed plant. Its error covariance Σ obeys the regulator's Riccati equation of the *dual* plant (Aᵀ, Cᵀ
with costs ΓΓᵀ and VVᵀ, terminal cost Σ0) run forwards, so that one engine solves both; without end Σ is the limit
from Σ0,

    continuous   Σ̇ = AΣ + ΣAᵀ + ΓΓᵀ − ΣCᵀ(VVᵀ)⁻¹CΣ,     dx̂ = (A x̂ + B u + c) dt + L (dy − C x̂ dt),
    discrete     Σ⁺ = AΣAᵀ + ΓΓᵀ − AΣCᵀ(CΣCᵀ + VVᵀ)⁻¹CΣAᵀ,     x̂ = x̂⁻ + L (y − C x̂⁻),

L = ΣCᵀ(VVᵀ)⁻¹, in discrete time ΣCᵀ(CΣCᵀ + VVᵀ)⁻¹ with Σ that of the prediction x̂⁻. Not to see the state costs
∫ e^{−ρt} tr(UᵀΛU P) dt (a sum in discrete time) with P the error covariance of x̂ and Λ = R, in discrete time
R + BᵀS⁺B (Åström 1970, chapter 8).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame, GaussianLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.partial_observation import PartiallyObservedGame
from diffgames.games.plain import regulator
from diffgames.numerics.precision import in_double, keeping_double
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution


class PartiallyObservedSolution(eqx.Module):
    """The regulator `control`, and the filter as the regulator `dual` of the dual plant, run backwards."""

    game: PartiallyObservedGame
    control: LinearQuadraticSolution
    dual: LinearQuadraticSolution

    @keeping_double
    def gain(self, t: float | Float[Array, ""] = 0.0) -> Float[Array, "k size"]:
        """U: the control is U (x̂, 1)."""
        return self.control.profile.gain(t)[0]

    @keeping_double
    def covariance(self, t: float | Float[Array, ""] = 0.0) -> Float[Array, "n n"]:
        """Σ(t): of x̂ in continuous time, of the prediction before y_t is seen in discrete time."""
        to_go = jnp.zeros(()) if self.game.plant.endless else self.game.plant.horizon - jnp.asarray(t)
        return self.dual.value(to_go)[0, 0, :-1, :-1]

    @keeping_double
    def filter_gain(self, t: float | Float[Array, ""] = 0.0) -> Float[Array, "n d"]:
        """L: how the estimate answers an innovation."""
        sees = self.covariance(t) @ self.game.observation.T
        noise = self.game.observation_noise @ self.game.observation_noise.T
        if self.game.plant.discrete:
            noise = noise + self.game.observation @ sees
        return jnp.linalg.solve(noise, sees.T).T

    @keeping_double
    def error(self, t: float | Float[Array, ""] = 0.0) -> Float[Array, "n n"]:
        """P(t): the covariance of x − x̂ when u is chosen."""
        spread = self.covariance(t)
        return spread - self.filter_gain(t) @ self.game.observation @ spread if self.game.plant.discrete else spread

    @property
    @in_double
    def cost(self) -> Float[Array, ""]:
        """Expected cost from the start; without end and undiscounted: per unit of time (step).

        Without end the filter is taken as stationary from the start on.
        """
        plant, start = self.game.plant, self.game.mean
        if plant.endless:
            unseen = self._unseen(0.0)
            if float(plant.discount) == 0.0:
                assert self.control.average_cost is not None
                return self.control.average_cost[0] + unseen
            rate = -jnp.expm1(-jnp.asarray(plant.discount)) if plant.discrete else plant.discount
            return self._seen(start, self.covariance()) + unseen / rate
        time = self.control.time
        discounted = jax.vmap(lambda t: jnp.exp(-jnp.asarray(plant.discount) * t) * self._unseen(t))
        if plant.discrete:
            unseen = jnp.sum(discounted(time[:-1]))
        else:
            weights = jnp.ones_like(time).at[1:-1:2].set(4.0).at[2:-1:2].set(2.0)  # Simpson's rule
            unseen = jnp.sum(weights * discounted(time)) * (time[1] - time[0]) / 3
        return self._seen(start, self.game.covariance) + unseen

    def _seen(self, mean: Array, covariance: Array) -> Array:
        """What a start with this law costs when the state is seen."""
        value, z = self.control.value(0.0)[0, 0], jnp.append(mean, 1.0)
        return z @ value @ z + jnp.sum(value[:-1, :-1] * covariance)

    def _unseen(self, t: float | Array) -> Array:
        c, gain = self.game.plant.coefficients(t), self.gain(t)[:, :-1]
        bend = c.control_cost[0, 0]
        if self.game.plant.discrete:
            later = 0.0 if self.game.plant.endless else jnp.asarray(t) + 1.0
            ahead = jnp.exp(-jnp.asarray(self.game.plant.discount)) * self.control.value(later)[0, 0]
            bend = bend + c.input[0].T @ ahead @ c.input[0]
        return jnp.sum((gain.T @ bend @ gain) * self.error(t))

    @in_double
    def closed_loop(self) -> tuple[DifferentialGame, "Certain"]:
        """Plant and filter as a game on (x, x̂) in continuous time, and the profile u = U (x̂, 1), to be simulated."""
        plant = self.game.plant
        if plant.discrete:
            raise InvalidInput("discrete", True, "a plant in continuous time")
        inner, n = plant.as_differential(), plant.size - 1
        both = jnp.concatenate([self.game.mean, self.game.mean])
        values, vectors = jnp.linalg.eigh(self.game.covariance)
        factor = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None]
        law = GaussianLaw(both, jnp.concatenate([factor, jnp.zeros_like(factor)]))
        return DifferentialGame(
            players=inner.players,
            control_sizes=inner.control_sizes,
            drift=eqx.Partial(_drift, self, inner),
            diffusion=eqx.Partial(_diffusion, self, inner),
            running_cost=eqx.Partial(_cost, inner, n),
            terminal_cost=eqx.Partial(_last, inner, n),
            initial=law,
            horizon=plant.horizon,
            discount=plant.discount,
        ), Certain(self)

    def __repr__(self) -> str:
        kind = "discrete" if self.game.plant.discrete else "continuous"
        seen, hidden = self.game.observation.shape
        return f"LQG in {kind} time: {hidden} states seen through {seen} observations\n{self.control.outcome}"


class Certain(eqx.Module):
    """u = U (x̂, 1) on the state (x, x̂)."""

    solution: PartiallyObservedSolution

    @keeping_double
    def __call__(self, t: Array, x: Array, i: Array) -> tuple[Array]:
        """The control."""
        half = x.shape[0] // 2
        return (self.solution.gain(t) @ jnp.append(x[half:], jnp.ones((), x.dtype)),)


@in_double
def separate(
    game: PartiallyObservedGame, solve: Callable[[LinearQuadraticGame], LinearQuadraticSolution]
) -> PartiallyObservedSolution:
    """Regulator and filter, both by `solve`; `RunFailed` where one of them does not exist."""
    a, _, noise = game.matrices
    dual = regulator(
        A=a.T,
        B=game.observation.T,
        Q=noise @ noise.T,
        R=game.observation_noise @ game.observation_noise.T,
        Q_T=game.covariance,
        horizon=game.plant.horizon,
        discrete=game.plant.discrete,
    )
    control = solve(game.plant)
    try:
        return PartiallyObservedSolution(game=game, control=control, dual=solve(dual))
    except RunFailed as failure:
        raise RunFailed(
            f"no filter: the error covariance, a dual control problem: {failure.reason}",
            "do the observations see every mode of the state that grows? observe more of it, or solve a finite horizon",
        ) from failure


def _drift(solution: PartiallyObservedSolution, inner: DifferentialGame, t, x, u, i) -> Array:
    half = x.shape[0] // 2
    true, guess = x[:half], x[half:]
    innovation = solution.filter_gain(t) @ (solution.game.observation @ (true - guess))
    return jnp.concatenate([inner.drift(t, true, u, i), inner.drift(t, guess, u, i) + innovation])


def _diffusion(solution: PartiallyObservedSolution, inner: DifferentialGame, t, x, u, i) -> Array:
    half = x.shape[0] // 2
    own, seen = inner.diffusion(t, x[:half], u, i), solution.filter_gain(t) @ solution.game.observation_noise
    return jax.scipy.linalg.block_diag(own, seen)


def _cost(inner: DifferentialGame, n: int, t, x, u, i) -> Array:
    return inner.running_cost(t, x[:n], u, i)


def _last(inner: DifferentialGame, n: int, x, i) -> Array:
    return inner.terminal_cost(x[:n], i)
