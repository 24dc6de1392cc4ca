"""All stationary equilibria on a scalar state; what a solution says of itself."""

import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.plain import nash_game, regulator
from diffgames.solvers import solve, stationary_equilibria


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_three_equilibria_are_found_in_any_unit_of_cost(unit):
    a, q = 2.0, np.asarray([0.5, 0.4])
    game = nash_game(A=a, B=[1, 1], Q=list(unit * q), R=[unit, unit])
    found = stationary_equilibria(game) / unit
    np.testing.assert_allclose(
        found, [[3.925, 0.101], [0.131, 3.842], [1.394, 1.483]], atol=6e-4
    )  # printed to three digits
    for p in found:  # the coupled Riccati equations themselves
        closed = a - p.sum()
        np.testing.assert_allclose(2 * closed * p + q + p**2, 0.0, atol=1e-10)
        assert closed < 0


def test_one_player_has_one_stabilising_solution():
    np.testing.assert_allclose(stationary_equilibria(regulator(A=1, B=1, Q=0, R=1)), [[2.0]], rtol=1e-12)
    half = stationary_equilibria(regulator(A=0.5, B=1, Q=1e-12, R=1e-12))
    np.testing.assert_allclose(half, [[1e-12 * (1 + np.sqrt(5)) / 2]], rtol=1e-12)


def test_other_games_are_refused_by_name():
    with pytest.raises(InvalidInput, match="horizon"):
        stationary_equilibria(regulator(A=1, B=1, Q=1, R=1, horizon=1.0))
    with pytest.raises(InvalidInput, match="state"):
        stationary_equilibria(regulator(A=np.eye(2), B=np.eye(2), Q=np.eye(2), R=np.eye(2)))


def test_an_unstable_closed_loop_is_said_and_the_stabilising_one_offered():
    said = repr(solve(regulator(A=1, B=1, Q=0, R=1)))
    assert "UNSTABLE" in said and "rate 2" in said
    other = solve(regulator(A=1, B=1, Q=0, R=1, Q_T=1))
    assert float(other.values[0, 0, 0, 0, 0]) == pytest.approx(2.0, rel=1e-9)
    assert "UNSTABLE" not in repr(other)
    assert other.growth == pytest.approx(-2.0, rel=1e-9)  # dx = −x dt


def test_a_solution_says_which_of_several_equilibria_it_is_or_that_others_may_exist():
    """The reported game on a scalar state has three; on two states nothing lists them."""
    scalar = solve(nash_game(A=2, B=[1, 1], Q=[0.5, 0.4], R=[1, 1]))
    assert scalar.equilibria is not None and len(scalar.equilibria) == 3
    assert "there are 3 stabilising ones" in " ".join(scalar.remarks)
    eye = np.eye(2)
    plane = solve(nash_game(A=-eye, B=[eye, eye], Q=[eye, eye], R=[eye, eye]))
    assert plane.equilibria is None and "others may exist" in " ".join(plane.remarks)
    assert plane.growth == pytest.approx(2 * (-1 - 2 * (np.sqrt(4 + 12) - 2) / 6), rel=1e-8)  # 3 P² + 2 P = 1
    assert solve(regulator(A=1, B=1, Q=1, R=1, horizon=1.0)).remarks == ()
