"""The front door: every family goes to its own solver, what needs a choice is refused by name."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffgames
from diffgames import InvalidInput, solve, verify
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Gaussian, Quadratic
from diffgames.games.market_making_input import market_making_game
from diffgames.games.mean_field import typed_game
from diffgames.games.plain import regulator
from diffgames.games.portfolio import PortfolioGame, market_of
from diffgames.solvers.recursion import Recursion

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0], [0.0, -1.0]])
TYPED = {name: [0.5] for name in ("a", "b", "kappa", "sigma", "q", "r", "s", "q_T")}


def lqr():
    return regulator(A=[[0.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], horizon=2.0)


def flocking(kernel):
    rates = np.array([0.3, 0.2, 0.2, 0.2])
    return crowd_game(kernel, networks.complete(4), TARGETS, terminal_weight=40.0, rates=rates, normalise=False)


def test_a_regulator_is_solved_and_verified_in_two_words():
    solution = solve(lqr())
    np.testing.assert_allclose(solution.gain("controller", "x"), [[-np.tanh(2.0)]], rtol=1e-8)
    found = verify(solution).certificate
    assert abs(found.gap) < 1e-8 and not found.significant  # rounding is no gain


def test_a_solvers_program_calls_no_python_back_and_is_kept():
    """XLA's cache keeps no program that can call Python back; `runtime.NO_CALLBACK` is what tests and commands set."""
    program = eqx.filter_jit(lambda game: solve(game).value(0.0)).lower(lqr())
    assert "while" in program.as_text() and "callback" not in program.as_text()


def test_a_market_maker_a_portfolio_and_a_crowd_are_solved_by_their_own():
    maker = solve(market_making_game(switching="none"))
    np.testing.assert_allclose(maker.theta[0, 0, 10], 65.0807297901, atol=1e-9)  # formulas' reference at zero inventory
    assert solve(flocking(Quadratic())).potential == pytest.approx(0.8470033861, abs=1e-9)
    one = np.array([2.0])
    alone = PortfolioGame(market_of([0.1], [[0.04]]), 0 * one, 0 * one, one, one / 2, one / 2, one, 1.0)
    np.testing.assert_allclose(solve(alone).z, [0.5])  # M/(γ c): Markowitz


@pytest.mark.parametrize(
    ("game", "named"),
    [
        (flocking(Gaussian()), "learn_potential"),
        (lqr().as_differential(), "solve_hjb"),
        (typed_game(share=[1.0], horizon=1.0, **TYPED), "typed_linear_quadratic"),
        ("a game", "diffgames.games"),
    ],
    ids=["crowd", "differential", "typed", "text"],
)
def test_what_needs_a_choice_is_refused_with_the_name_of_what_takes_it(game, named):
    with pytest.raises(InvalidInput, match=named) as refused:
        solve(game)
    assert "None" not in str(refused.value), "the user gave a game, not a solver"


def test_a_solver_of_ones_own_is_any_function_and_a_wrong_one_is_named():
    assert solve(jnp.asarray(3.0), lambda game: game + 1) == 4.0
    with pytest.raises(InvalidInput, match="Recursion"):
        solve(lqr(), Recursion())
    with pytest.raises(InvalidInput, match="Recursion"):
        solve(market_making_game(switching="none"), Recursion())


def test_the_verbs_are_at_the_top_and_nothing_else_is():
    for name in diffgames.__all__:
        assert getattr(diffgames, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sovle'"):
        diffgames.sovle  # noqa: B018 - the access is the test


def test_a_solution_refuses_what_its_game_does_not_have():
    """It would clamp indices and times, and hand back a number of something else."""
    solution = solve(regulator(A=np.zeros((2, 2)), B=np.eye(2), Q=np.eye(2), R=np.eye(2), horizon=1.0))
    for key, wrong in (("regime", 3), ("regime", -1), ("regime", 0.5), ("t", 2.0), ("t", -1.0), ("t", np.nan)):
        for read, where in ((solution.matrix, ("x", "x")), (solution.gain, ("x",)), (solution.cost, ([1.0, 1.0],))):
            with pytest.raises(InvalidInput) as told:
                read("controller", *where, **{key: wrong})
            assert told.value.key == key
    for state in ([1.0], [1.0, np.nan], "x"):
        with pytest.raises(InvalidInput) as told:
            solution.cost("controller", state)
        assert told.value.key == "x"
    assert float(solution.cost("controller", [1.0, 0.0], 1.0)) == 0.0
    cost = jax.jit(lambda x: solution.cost("controller", x))(jnp.asarray([1.0, 0.0]))
    np.testing.assert_allclose(cost, solution.cost("controller", [1.0, 0.0]))
