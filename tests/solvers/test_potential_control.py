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
from diffgames.simulation.paths import simulate
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.distributed_paths import draw_noise, graded_grid, potential_of_paths
from diffgames.solvers.hjb import solve_hjb
from diffgames.solvers.policies import centred, linear_gains, settled
from diffgames.solvers.policy_gradient import Schedule, learn_potential
from diffgames.solvers.potential_control import potential_control
from diffgames.solvers.potential_lq import exact, exact_on_grid

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
        rates=np.array([0.6, 0.3]),
        jump_size=0.2,
        common_rate=0.5,
        common_jump_size=0.1,
        normalise=False,
    )


def on_grid(game, cells):
    grid = Grid(tuple(Axis(name, -1.6, 1.6, cells) for name in ("x1", "x2")))
    return float(solve_hjb(potential_control(game, bound=4.0), grid, search=Affine()).at(jnp.zeros(2)))


def test_the_planners_problem_of_unlike_weights_costs_what_the_riccati_recursion_says():
    """Equation 4.3 on (x − y, y): the hub simulates it under the best feedback of the same Euler steps, with jumps."""
    weights = np.array([[0, 1.6, 0.4], [0.1, 0, 1.0], [0.9, 0.3, 0]])
    targets = np.array([[0.6, 0.1], [-0.4, 0.3], [0.2, -0.5]])
    game = crowd_game(Quadratic(1.5), weights, targets, effort=0.25, rates=0.6, jump_size=0.2, noise=0.15,
                      common_noise=0.1, common_rate=0.5, common_jump_size=0.15)  # fmt: skip
    steps, n, d = 20, *targets.shape
    optimum = exact_on_grid(game, graded_grid(1.0, steps))
    gain, offset = jnp.asarray(optimum.gain), jnp.asarray(optimum.offset)

    def follow(change):
        def profile(t, z, i):
            k = jnp.minimum(jnp.round(t * steps), steps - 1).astype(jnp.int32)
            free, y = z.reshape(2, n, d)
            u = -(gain[k] @ jnp.concatenate([free + y, y]) + offset[k])
            return ((u + change).reshape(-1),)

        planner = potential_control(game, sensitivity=True)
        found = simulate(planner, profile, jax.random.key(0), paths=4000, steps=steps, keep=0)
        return float(found.cost[0]), float(found.standard_error[0])

    cost, error = follow(0.0)
    assert cost == pytest.approx(optimum.potential, abs=4.0 * error) and error < 0.02 * optimum.potential
    assert follow(0.3)[0] > cost  # the same noise


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
