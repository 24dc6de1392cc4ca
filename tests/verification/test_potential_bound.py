"""α from above and below, and the certificate of a learned flock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.distributed import DistributedGame
from diffgames.games.kernels import Gaussian, Quadratic
from diffgames.games.potential import JointCosts
from diffgames.solvers.distributed_paths import graded_grid
from diffgames.solvers.policies import linear_gains
from diffgames.verification.player_deviator import DeviatorBudget, certify_players
from diffgames.verification.potential_bound import (
    Curvature,
    alpha_interval,
    crowd_alpha,
    crowd_curvature,
    general_alpha,
    input_bound,
    quadratic_curvature,
    sampled_curvature,
    search_alpha,
)

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0]])
UNEVEN = np.array([[0, 1, 0.5], [0.2, 0, 1], [1, 0.4, 0]])


RADIUS = (1.157 / 0.7) ** 0.5


def crowd(weights, *, kernel=None, **changes):
    kernel = kernel or Quadratic()
    return crowd_game(kernel, weights, TARGETS, **({"terminal_weight": 4.0, "rates": 0.2} | changes))


def test_the_crowd_bound_is_the_general_one_and_the_search_stays_below_it():
    game = crowd(UNEVEN)
    curvature = quadratic_curvature(game, jax.random.key(0))
    bound = crowd_alpha(game, 1.5)
    assert bound == pytest.approx(0.5 * 1.5**2 * 0.7, rel=1e-12)  # equation 6.6: max_i Σ_j |w_ij − w_ji| = 1.4/2
    assert general_alpha(curvature, np.full(3, 1.5), input_bound(game), 1.0) == pytest.approx(bound, rel=1e-9)
    found = search_alpha(game, 1.5, graded_grid(1.0, 8), jax.random.key(1), restarts=2, updates=80, paths=4)
    assert 0.4 * bound < found <= bound * (1 + 1e-6)


def test_a_sampled_curvature_is_no_bound():
    """K = exp(−|z|²) is bent most where two players meet, which no sample does: equation 6.6 gives ½ L² · 2 · .7."""
    game, norms = crowd(UNEVEN, start=0.4 * TARGETS, kernel=Gaussian()), np.full(3, RADIUS)
    bound = 0.5 * RADIUS**2 * 2.0 * 0.7
    assert bound == pytest.approx(1.157)
    sampled = sampled_curvature(game, jax.random.key(0))
    with pytest.raises(InvalidInput, match=r"curvature.*sampled"):
        general_alpha(sampled, norms, input_bound(game), 1.0)
    assert general_alpha(crowd_curvature(game), norms, input_bound(game), 1.0) == pytest.approx(bound)
    with pytest.raises(InvalidInput, match="quadratic"):
        quadratic_curvature(game, jax.random.key(0))
    search = {"restarts": 1, "updates": 40, "paths": 1}
    alpha = alpha_interval(game, RADIUS, graded_grid(1.0, 6), jax.random.key(1), **search)
    assert alpha.bound == pytest.approx(bound) and not alpha.unbounded and 0.1 * bound < alpha.found < bound
    assert f"{bound:.4g}" in repr(alpha) and "proved" in repr(alpha)
    unknown = alpha_interval(game, RADIUS, graded_grid(1.0, 6), jax.random.key(1), curvature=sampled, **search)
    assert unknown.bound == np.inf and "sampled" in unknown.unbounded and unknown.found == alpha.found
    assert unknown.estimate is not None and unknown.estimate < 0.99 * bound and "no bound" in repr(unknown)


def test_costs_without_a_curvature_have_alpha_from_below_alone():
    """f_1 = sin x_1 sin x_2 alone: |∂²(f_1 − f_2)| = |cos cos| ≤ 1, a bound that only its author can know."""
    costs = JointCosts(lambda t, x, u: jnp.stack([jnp.sin(x[0, 0]) * jnp.sin(x[1, 0]), 0.0]), lambda x: 0.0 * x[:, 0])
    game, zero = DistributedGame(costs=costs, initial=jnp.zeros((2, 1)), horizon=1.0), np.zeros((2, 2))
    search = {"restarts": 1, "updates": 40, "paths": 1}
    none = alpha_interval(game, 1.0, graded_grid(1.0, 6), jax.random.key(1), **search)
    assert none.bound == np.inf and "curvature" in none.unbounded and none.estimate is None
    mine = Curvature(1.0 - np.eye(2), zero, zero, zero, zero)
    proved = alpha_interval(game, 1.0, graded_grid(1.0, 6), jax.random.key(1), curvature=mine, **search)
    assert proved.bound == pytest.approx(0.5) and 0.2 < proved.found == none.found < 0.5


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


def test_the_input_bound_of_a_constant_drift_is_above_the_supremum_between_the_times():
    """e^{At} b = (3 sin 2t, cos 2t) for A = [[0, 6], [−2/3, 0]], b = (0, 1): an ellipse of half axis 3.

    Seven steps miss t = π/4 by more than rounding; the bound does not.
    """
    game = crowd_game(Quadratic(), networks.complete(3), TARGETS)
    turn = np.array([[0.0, 2.0 * 3.0], [-2.0 / 3.0, 0.0]])
    column = np.broadcast_to(np.array([[0.0], [1.0]]), (3, 2, 1))
    changed = game.__class__(**{**vars(game), "input": jnp.asarray(column), "drift": jnp.broadcast_to(turn, (3, 2, 2))})
    for points in (7, 200):
        found = input_bound(changed, points)
        assert np.all(found >= 3.0) and np.all(found < 3.0 * np.exp(20.0 / points**2))


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
