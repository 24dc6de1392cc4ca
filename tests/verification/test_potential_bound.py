"""α from above and below, and the certificate of a learned flock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.solvers.distributed_paths import graded_grid
from diffgames.solvers.policies import linear_gains
from diffgames.verification.player_deviator import DeviatorBudget, certify_players
from diffgames.verification.potential_bound import (
    crowd_alpha,
    general_alpha,
    input_bound,
    sampled_curvature,
    search_alpha,
)

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0]])
UNEVEN = np.array([[0, 1, 0.5], [0.2, 0, 1], [1, 0.4, 0]])


def crowd(weights, **changes):
    return crowd_game(Quadratic(), weights, TARGETS, **({"terminal_weight": 4.0, "rates": 0.2} | changes))


def test_the_crowd_bound_is_the_general_one_and_the_search_stays_below_it():
    game = crowd(UNEVEN)
    curvature = sampled_curvature(game, jax.random.key(0), samples=4)
    bound = crowd_alpha(game, 1.5)
    assert general_alpha(curvature, np.full(3, 1.5), input_bound(game), 1.0) == pytest.approx(bound, rel=1e-9)
    found = search_alpha(game, 1.5, graded_grid(1.0, 8), jax.random.key(1), restarts=2, updates=80, paths=4)
    assert 0.4 * bound < found <= bound * (1 + 1e-6)


def test_symmetric_weights_have_no_alpha():
    game = crowd(networks.complete(3))
    assert crowd_alpha(game) == 0.0
    assert search_alpha(game, 1.5, graded_grid(1.0, 8), jax.random.key(1), restarts=1, updates=20, paths=4) < 1e-9


def test_a_bound_is_asked_for_where_it_matters():
    with pytest.raises(InvalidInput, match="bound"):
        crowd_alpha(crowd(UNEVEN))


def test_kinetic_input_bound():
    """‖(t − s, 1)‖ is largest over the whole horizon: √(1 + T²)."""
    game = crowd_game(Quadratic(), networks.complete(3), TARGETS, kinetic=True, horizon=2.0)
    np.testing.assert_allclose(input_bound(game), np.sqrt(1 + 4.0), rtol=1e-6)


def test_deviators_gain_what_a_lone_player_misses():
    """Players who do nothing, with no interaction: the best response is the LQ regulator's, known in closed form.

    Alone, min E ∫ c|u|² + ½ w |X_T − d|² over one horizon has P = 1/(2/w + T/c) and a value P |d|² + σ² ∫ P per axis,
    P(t) = 1/(2/w + (T−t)/c); doing nothing costs ½ w (|d|² + σ² T) per axis.
    """
    game = crowd(np.zeros((3, 3)), rates=0.0, noise=0.3)
    policy = linear_gains(game, patience=0.05)
    budget = DeviatorBudget(updates=240, paths=100, evaluation=4000, validation=500, learning_rate=0.1)
    grid = graded_grid(1.0, 40)
    certificate = certify_players(game, policy, grid, jax.random.key(0), patience=0.05, budget=budget)
    w, c, sigma = 4.0, 0.1, 0.3
    times = 0.5 * (np.asarray(grid.times)[1:] + np.asarray(grid.times)[:-1])
    spread = 2 * sigma**2 * np.mean(1.0 / (2 / w + (1 - times) / c))
    for entry, target in zip(certificate.entries, TARGETS, strict=True):
        square = np.sum(target**2)
        best = square / (2 / w + 1 / c) + spread
        nothing = 0.5 * w * (square + 2 * sigma**2)
        assert entry.gain == pytest.approx(nothing - best, abs=0.01 + 3 * entry.standard_error)
    assert len(certificate.significant) == 3


def test_input_bound_of_a_time_dependent_input():
    game = crowd(networks.complete(3))
    changed = game.__class__(**{**vars(game), "input": lambda t: (1.0 + t) * jnp.broadcast_to(jnp.eye(2), (3, 2, 2))})
    np.testing.assert_allclose(input_bound(changed), 2.0)
