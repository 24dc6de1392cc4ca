"""Matrix games against linear programming, closed forms and their own certificate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from diffgames.errors import InvalidInput
from diffgames.solvers.matrix_game import solve_matrix_game, solve_pure


def by_linear_program(game):
    """min v with αᵀM ≤ v and α on the simplex."""
    rows, columns = game.shape
    found = linprog(
        np.r_[np.zeros(rows), 1.0],
        A_ub=np.c_[game.T, -np.ones(columns)],
        b_ub=np.zeros(columns),
        A_eq=np.r_[np.ones(rows), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * rows + [(None, None)],
    )
    return found.fun


@pytest.mark.parametrize("shape", [(2, 2), (1, 3), (3, 3), (4, 3)])
def test_small_games_are_solved_exactly(shape):
    games = np.random.default_rng(1).normal(size=(40, *shape))
    games[:10] = np.round(games[:10])  # ties, equal rows, singular submatrices
    found = jax.jit(solve_matrix_game)(jnp.asarray(games))
    np.testing.assert_allclose(found.value, [by_linear_program(game) for game in games], atol=1e-10)
    assert float(found.gap.max()) < 1e-10 and float(found.gap.min()) > -1e-12
    np.testing.assert_allclose(found.row.sum(axis=-1), 1.0, atol=1e-12)
    assert float(found.row.min()) >= 0 and float(found.column.min()) >= 0


def test_larger_games_are_certified_by_their_gap():
    games = np.random.default_rng(2).normal(size=(3, 7, 9))
    found = jax.jit(solve_matrix_game)(jnp.asarray(games))
    exact = np.array([by_linear_program(game) for game in games])
    assert float(found.gap.max()) < 0.01
    assert (np.abs(np.asarray(found.value) - exact) <= np.asarray(found.gap) / 2 + 1e-12).all()


def test_known_games():
    scissors = jnp.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    found = solve_matrix_game(scissors)
    np.testing.assert_allclose(found.row, 1 / 3, atol=1e-12)
    assert abs(float(found.value)) < 1e-12 and "duality gap" in repr(found)
    saddle = solve_pure(jnp.array([[3.0, 1.0], [2.0, 4.0]]))
    assert float(saddle.value) == 3.0 and float(saddle.gap) == 1.0
    nothing_at_stake = solve_matrix_game(jnp.zeros((2, 2)))
    assert float(nothing_at_stake.gap) == 0.0


def test_a_game_without_actions_is_refused():
    with pytest.raises(InvalidInput, match="rows, columns"):
        solve_matrix_game(jnp.zeros((3, 0)))


def test_large_separable_games_have_pure_saddle_points_found_exactly():
    """a_i + b_j is best at the least a and the largest b: no steps of regret, no gap but rounding."""
    random = np.random.default_rng(4)
    a, b = random.normal(size=(6, 7)), random.normal(size=(6, 9))
    found = solve_matrix_game(jnp.asarray(a[:, :, None] + b[:, None, :]))
    np.testing.assert_allclose(found.value, a.min(axis=1) + b.max(axis=1), atol=1e-14)
    assert np.array_equal(np.asarray(found.row).argmax(axis=1), a.argmin(axis=1)) and float(found.gap.max()) < 1e-14
