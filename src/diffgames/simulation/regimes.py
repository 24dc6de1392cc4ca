"""Paths of the regime game of four players under given strategies, on top of the exact moments of the same closed loop.

Controller and disturbance play their gains, regimes switch at the rates that attacker and stabilizer make; the start is
x = (1, …, 1), every regime alike, as in the certificate.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.simulation.extrapolation import simulate_extrapolated
from diffgames.simulation.moments import closed_loop, mean_and_covariance, second_moments


class EveryRegime(eqx.Module):
    """x = (1, …, 1) in a regime drawn at random, all alike."""

    states: int = eqx.field(static=True)
    regimes: int = eqx.field(static=True)

    def __call__(self, key: PRNGKeyArray) -> tuple[Float[Array, " n"], Int[Array, ""]]:
        """A draw."""
        return jnp.ones(self.states), jax.random.randint(key, (), 0, self.regimes, jnp.int32)

    @property
    def second(self) -> Float[Array, "m z z"]:
        """E[zzᵀ; I = i]."""
        size = self.states + 1
        return jnp.ones((self.regimes, size, size)) / self.regimes


class _Row(eqx.Module):
    """Row i of a generator that is a function of time, as the hub wants it."""

    rates: Any

    def __call__(self, t: Array, x: Array, u: Any, i: Array) -> Array:
        return self.rates(t)[i]


def simulate_regimes(
    game: LinearQuadraticGame, play: Any, key: PRNGKeyArray, *, paths: int, steps: int
) -> dict[str, np.ndarray]:
    """Means, deviations and shares of the regimes over time by theory and by simulation, and the simulated cost.

    The generator of `game` is a function of time, `play` a linear feedback; the cost, with its error, the controller's,
    extrapolated to steps of no length.
    """
    law = EveryRegime(game.size - 1, game.regime_count)
    still = eqx.tree_at(lambda g: g.generator, game, game.rates(0.0, None))
    hub = eqx.tree_at(lambda g: g.generator, still.as_differential(law), _Row(game.generator))
    found = simulate_extrapolated(hub, play, key, paths=paths, steps=steps)
    moments = second_moments(closed_loop(game, play), law.second, found.time)
    mean, covariance = mean_and_covariance(moments)
    return {
        "time": np.asarray(found.time),
        "theory_mean": np.asarray(mean),
        "theory_deviation": np.sqrt(np.maximum(np.einsum("taa->ta", np.asarray(covariance)), 0.0)),
        "theory_share": np.asarray(moments)[:, :, -1, -1],
        "simulated_mean": np.asarray(found.mean),
        "simulated_deviation": np.asarray(found.deviation),
        "simulated_share": np.asarray(found.occupation),
        "cost": np.asarray([found.cost[0], found.standard_error[0]]),
    }
