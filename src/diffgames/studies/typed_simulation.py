"""Agents of all types simulated one by one, the other side of the laws that `typed-lq` computes.

Every agent of type τ plays u = −r⁻¹bᵀ(P x + ξ(t, m)) on its own state and the means m of the *simulated* types: nothing
is taken from the moment equations. One agent of each type makes one player x = (x_1 … x_K) of `simulation.population`.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.mean_field import Reading, TypedGame, costate_map
from diffgames.simulation import Population, simulate_crowds
from diffgames.solvers import LinearQuadraticSolution


class _Agents(eqx.Module):
    """The functions of a population: one agent of each type."""

    game: TypedGame
    solution: LinearQuadraticSolution
    private: LinearQuadraticSolution
    mean: Float[Array, "K n"]
    factor: Float[Array, "K n n"]
    reading: Reading = eqx.field(static=True)

    def play(self, t: Array, x: Array, crowd: Array) -> Float[Array, " Kk"]:
        game, m = self.game, self._split(crowd)
        values = self.private.value(t)
        own = jnp.stack([2 * values[k, 0][game.place(k), game.place(k)] for k in range(game.types)])
        costates = self._split(costate_map(game, self.reading, self.solution.value(t)) @ crowd)
        pull = jnp.einsum("tab,tb->ta", own, self._split(x) - m) + costates  # P x + ξ with ξ = p − P m
        return -jnp.linalg.solve(game.r, jnp.einsum("tak,ta->tk", game.b, pull)[:, :, None]).reshape(-1)

    def drift(self, t: Array, x: Array, crowd: Array, u: Array) -> Array:
        game = self.game
        moved = jnp.einsum("tab,tb->ta", game.a, self._split(x))
        moved = moved + jnp.einsum("tak,tk->ta", game.b, u.reshape(game.types, -1))
        return (moved + game.kappa @ (game.share @ self._split(crowd))).reshape(-1)

    def diffusion(self, t: Array, x: Array, crowd: Array, u: Array) -> Array:
        return jax.scipy.linalg.block_diag(*self.game.sigma)

    def running_cost(self, t: Array, x: Array, crowd: Array, u: Array) -> Array:
        game, own, control = self.game, self._split(x), u.reshape(self.game.types, -1)
        cost = 0.5 * jnp.einsum("t,ta,tab,tb->", game.share, own, game.q, own)
        cost = cost + 0.5 * jnp.einsum("t,ta,tab,tb->", game.share, control, game.r, control)
        return cost + jnp.einsum("t,ta,tab,b->", game.share, own, game.s, game.share @ self._split(crowd))

    def terminal_cost(self, x: Array, crowd: Array) -> Array:
        own = self._split(x)
        return 0.5 * jnp.einsum("t,ta,tab,tb->", self.game.share, own, self.game.q_T, own)

    def initial(self, key: PRNGKeyArray) -> Array:
        draws = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return (self.mean + jnp.einsum("tab,tb->ta", self.factor, draws)).reshape(-1)

    def _split(self, stacked: Array) -> Float[Array, "K n"]:
        return stacked.reshape(self.game.types, self.game.states)


def simulate_types(
    game: TypedGame,
    reading: Reading,
    solutions: tuple[LinearQuadraticSolution, LinearQuadraticSolution],
    law: tuple[Any, Any],
    key: PRNGKeyArray,
    *,
    crowds: int,
    agents: int,
    steps: int,
) -> dict[str, np.ndarray]:
    """Means and standard deviations [times, K, n] over `crowds` of `agents` of each type, and their mean cost.

    The cost is extrapolated from steps h and 2h, 2 J_h − J_2h; its error is that of independent crowds, since agents of
    one crowd answer the same means.

    `solutions` are those of the reading's game and of the private ones, `law` means and covariances at the start; the
    cost is Σ λ_τ J_τ.
    """
    mean, covariance = law
    spread, axes = np.linalg.eigh(np.asarray(covariance))
    factor = jnp.asarray(axes * np.sqrt(np.maximum(spread, 0.0))[:, None, :])
    one = _Agents(game, *solutions, mean, factor, reading)
    population = Population(
        drift=one.drift,
        diffusion=one.diffusion,
        running_cost=one.running_cost,
        terminal_cost=one.terminal_cost,
        statistic=_itself,
        initial=one.initial,
        horizon=game.horizon,
    )
    crowd = simulate_crowds(population, one.play, key, crowds=crowds, players=agents, steps=steps)
    shape = (-1, game.types, game.states)
    return {
        "time": np.asarray(crowd.time),
        "mean": np.asarray(crowd.statistic).reshape(shape),
        "deviation": np.asarray(crowd.spread).reshape(shape),
        "cost": np.asarray([float(crowd.cost), float(crowd.standard_error)]),
    }


def _itself(x: Array) -> Array:
    return x
