"""The comparisons reach the flocking equilibrium too, at a higher cost than the potential."""

import equinox as eqx
import jax
import numpy as np
import pytest

from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.solvers.distributed_paths import draw_noise, graded_grid, potential_of_paths
from diffgames.solvers.gradient_play import gradient_play
from diffgames.solvers.policies import local_gains
from diffgames.solvers.policy_gradient import Schedule, learn_potential
from diffgames.solvers.potential_lq import exact_on_grid

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0], [0.0, -1.0]])


@pytest.mark.slow
def test_play_without_the_potential_costs_more():
    """Gradient evaluations until the potential is within 5% of the optimum of the grid."""
    game = crowd_game(Quadratic(), networks.complete(4), TARGETS, terminal_weight=4.0, normalise=False)
    grid = graded_grid(1.0, 20)
    held = draw_noise(game, grid, jax.random.key(9), 2000)
    measure = eqx.filter_jit(lambda policy: potential_of_paths(game, policy, grid, held).mean())
    goal = 1.05 * exact_on_grid(game, grid).potential
    begin, key = local_gains(game, patience=0.05, knots=9), jax.random.key(0)

    def watch(policy):
        return float(measure(policy))

    found = learn_potential(game, begin, grid, Schedule(8, 25, 100, learning_rate=0.05, average=0.0), key)
    assert watch(found.policy) < goal
    settings = {"paths": 100, "learning_rate": 0.05, "watch": watch}
    simultaneous = gradient_play(game, begin, grid, key, rounds=8, inner=25, **settings)
    fictitious = gradient_play(game, begin, grid, key, rounds=20, inner=50, towards="fictitious", **settings)
    assert simultaneous.watched[-1] < 1.2 * goal
    reached = np.flatnonzero(fictitious.watched < goal)
    steps = (reached[0] + 1) * 50 if reached.size else np.inf
    on_potential = np.flatnonzero(found.losses.mean(axis=1) < goal)[0] * 25 + 25
    assert 4 * steps > 2 * on_potential  # N sub-problems a step, where the potential's moves everybody
