"""Paths of the regime game under its stored strategies, on top of the exact moments of the same closed loop.

Controller and disturbance play their gains, regimes switch at the rates that attacker and stabilizer make; the start is
x = (1, …, 1), every regime alike, as in the certificate.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from matplotlib.figure import Figure

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.plotting import COLOURS, band, label, legends, new_figure
from diffgames.simulation import simulate_extrapolated
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


def paths_figure(found: dict[str, np.ndarray]) -> Figure:
    """States with bands of two standard deviations, and shares of the regimes; simulation as dots on theory."""
    figure, axes = new_figure(columns=2)
    time = found["time"]
    every = slice(None, None, max(time.size // 16, 1))
    for k in range(min(found["theory_mean"].shape[1], len(COLOURS))):
        centre, width = found["theory_mean"][:, k], 2 * found["theory_deviation"][:, k]
        seen, spread = found["simulated_mean"][every, k], 2 * found["simulated_deviation"][every, k]
        axes[0].plot(time, centre, color=COLOURS[k], label=f"x{k + 1}" if found["theory_mean"].shape[1] > 1 else "x")
        band(axes[0], time, centre - width, centre + width, colour=COLOURS[k])
        axes[0].plot(time[every], seen, "o", color=COLOURS[k], markersize=3)
        for side in (-1, 1):
            axes[0].plot(time[every], seen + side * spread, ".", color=COLOURS[k], markersize=3)
    for regime in range(min(found["theory_share"].shape[1], len(COLOURS))):
        axes[1].plot(time, found["theory_share"][:, regime], color=COLOURS[regime], label=f"regime {regime}")
        axes[1].plot(time[every], found["simulated_share"][every, regime], "o", color=COLOURS[regime], markersize=3)
    label(axes[0], x=("time", ""), y=("state", ""), title="Theory (lines, ±2 sd), simulation (dots)")
    label(axes[1], x=("time", ""), y=("share of paths", ""), title="Where the regimes are")
    axes[1].set_ylim(bottom=0.0)
    legends(*axes)
    return figure
