"""The potential on a grid: against the Riccati optimum, and against learning where the kernel is not quadratic."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Gaussian, Quadratic
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.distributed_paths import draw_noise, graded_grid, potential_of_paths
from diffgames.solvers.hjb import solve_hjb
from diffgames.solvers.policies import centred, linear_gains, settled
from diffgames.solvers.policy_gradient import Schedule, learn_potential
from diffgames.solvers.potential_control import potential_control
from diffgames.solvers.potential_lq import exact

TARGETS = np.array([[0.6], [-0.4]])


def crowd(kernel):
    """Two players on a line."""
    return crowd_game(
        kernel,
        networks.complete(2),
        TARGETS,
        start=np.zeros(1),
        terminal_weight=1.0,
        effort=0.25,
        noise=0.2,
        normalise=False,
    )


def on_grid(game, cells):
    grid = Grid(tuple(Axis(name, -1.6, 1.6, cells) for name in ("x1", "x2")))
    return float(solve_hjb(potential_control(game, bound=4.0), grid, search=Affine()).at(jnp.zeros(2)))


@pytest.mark.slow
def test_the_grid_finds_the_riccati_optimum_and_learning_the_grids():
    flock = crowd(Quadratic(0.8))
    best = exact(flock).potential
    assert on_grid(flock, 65) == pytest.approx(best, rel=0.01)
    wary = crowd(Gaussian(4.0, 0.3))
    grid = graded_grid(1.0, 60, 1.5)
    start = centred(linear_gains(wary, patience=0.5, grade=1.5, key=jax.random.key(7)), wary, 60, 1.5)
    found = learn_potential(wary, start, grid, Schedule(12, 50, 200, learning_rate=0.05, decay=0.85), jax.random.key(0))
    noise = draw_noise(wary, grid, jax.random.key(1), 8000)
    value = np.asarray(eqx.filter_jit(potential_of_paths)(wary, settled(found.policy, wary, grid), grid, noise), float)
    best = on_grid(wary, 65)
    assert value.mean() == pytest.approx(best, abs=0.03 * best + 3 * value.std() / np.sqrt(value.size))
