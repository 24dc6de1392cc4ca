"""The linear-quadratic engine against SciPy, closed forms, limits and the Hamilton–Jacobi equation itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_are, solve_discrete_are

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player
from diffgames.games.plain import h_infinity_game, nash_game, regulator
from diffgames.solvers import mean_square_abscissa, solve
from diffgames.solvers.backward import Accuracy
from diffgames.solvers.base import Status
from diffgames.solvers.riccati import values_to_go
from diffgames.verification.linear_response import matrix_gaps
from linear_quadratic_games import random_game


def test_no_player_gains_by_deviating_when_crowds_answer():
    game = random_game(3, 3, 2, ((0,), (1,)), (1, 1), crowd=True)
    solution = solve(game)
    second = jnp.broadcast_to(jnp.eye(4) + 1.0, (2, 4, 4))
    assert matrix_gaps(game, solution.profile, second).gap < 1e-9


def test_two_regulators_that_do_not_meet_are_two_regulators():
    rng = np.random.default_rng(2)
    a, b, c, d = rng.normal(size=(2, 2)), rng.normal(size=(2, 1)), rng.normal(size=(1, 1)), np.ones((1, 1))
    both = np.block([[a, np.zeros((2, 1))], [np.zeros((1, 2)), c]])
    first, second = np.concatenate([b, [[0.0]]]), np.concatenate([np.zeros((2, 1)), d])
    q = [np.diag([1.0, 1.0, 0.0]), np.diag([0.0, 0.0, 2.0])]
    game = nash_game(A=both, B=[first, second], Q=q, R=[[[1.0]], [[0.5]]], noise=0.3 * np.eye(3))
    solution = solve(game)
    one = solve_continuous_are(a, b, np.eye(2), np.eye(1))
    np.testing.assert_allclose(solution.value(0.0)[0, 0, :2, :2], one, rtol=1e-8)
    two = solve_continuous_are(c, d, 2 * np.eye(1), 0.5 * np.eye(1))
    np.testing.assert_allclose(solution.value(0.0)[1, 0, 2:3, 2:3], two, rtol=1e-8)
    np.testing.assert_allclose(solution.average_cost, [0.09 * np.trace(one), 0.09 * two[0, 0]], rtol=1e-8)
    closed = np.linalg.eigvals(a - b @ b.T @ one).real.max()
    other = float((c - d @ d.T @ two / 0.5)[0, 0])
    assert mean_square_abscissa(solution) == pytest.approx(2 * max(closed, other), rel=1e-6)


def test_discrete_regulator_is_scipys():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    solution = solve(regulator(A=a, B=b, Q=np.eye(3), R=np.eye(2), discrete=True))
    exact = solve_discrete_are(a, b, np.eye(3), np.eye(2))
    np.testing.assert_allclose(solution.value(0.0)[0, 0, :3, :3], exact, rtol=1e-9)


def test_quantecons_duopoly():
    """Judd's duopoly as QuantEcon states it; values published there."""
    a0, a1, beta, d = 10.0, 2.0, 0.96, 12.0
    b = [np.array([[0.0], [1.0], [0.0]]), np.array([[0.0], [0.0], [1.0]])]
    r = [
        np.array([[0.0, -a0 / 2, 0.0], [-a0 / 2, a1, a1 / 2], [0.0, a1 / 2, 0.0]]),
        np.array([[0.0, 0.0, -a0 / 2], [0.0, 0.0, a1 / 2], [-a0 / 2, a1 / 2, a1]]),
    ]
    game = nash_game(A=np.eye(3), B=b, Q=r, R=[[[d]], [[d]]], discount=-np.log(beta), discrete=True)
    solution = solve(game)
    gain = -np.asarray(solution.gain("player 0", "x"))[0]
    np.testing.assert_allclose(gain, [-0.66846615, 0.29512482, 0.07584666], atol=5e-9)


def test_thousands_at_once_and_the_gradient():
    def cost(weight):
        game = regulator(A=[[0.3]], B=[[1.0]], Q=[[weight]], R=[[1.0]], horizon=1.0, shift=[0.2], target=[0.5])
        values, outcome = values_to_go(game, jnp.asarray([1.0]), Accuracy(rtol=1e-9, atol=1e-11))
        return values[-1, 0, 0, 0, 0], outcome.code

    weights = jnp.linspace(0.5, 2.0, 1000)
    many, codes = jax.vmap(cost)(weights)
    assert int(codes.max()) == 0
    w, rate = np.asarray(weights), np.sqrt(0.09 + np.asarray(weights))
    np.testing.assert_allclose(many, w * np.tanh(rate) / (rate - 0.3 * np.tanh(rate)), rtol=1e-8)
    slope = float(jax.grad(lambda x: cost(x)[0])(jnp.asarray(1.0)))
    near = (cost(1.0001)[0] - cost(0.9999)[0]) / 2e-4
    assert slope == pytest.approx(float(near), rel=1e-6)


def test_which_of_a_thousand_games_escape_and_when():
    """Ṗ = 1 + (D² − 1) P² to go: a tangent for D > 1, which escapes at π / (2 √(D² − 1)), before the horizon or not."""

    def outcome(push):
        game = h_infinity_game(A=0.0, B=1.0, D=push, Q=1.0, R=1.0, gamma=1.0, horizon=1.0)
        values, found = values_to_go(game, jnp.asarray([1.0]), Accuracy(rtol=1e-9, atol=1e-11))
        return found.code, found.escape_time, values[-1, 0, 0, 0, 0]

    pushes = np.linspace(0.5, 3.0, 1000)
    codes, times, values = map(np.asarray, jax.vmap(outcome)(jnp.asarray(pushes)))
    rate = np.sqrt(np.abs(pushes**2 - 1))
    exact = np.where(pushes > 1, np.pi / (2 * rate), np.inf)
    escaped = exact < 1.0
    assert 100 < escaped.sum() < 900
    np.testing.assert_array_equal(codes == Status.ESCAPED, escaped)
    np.testing.assert_array_equal(codes == Status.SOLVED, ~escaped)
    np.testing.assert_allclose(times[escaped], exact[escaped], rtol=1e-7)
    assert np.all(np.isinf(values[escaped])) and np.all(np.isinf(times[~escaped]))
    solved = np.where(pushes > 1, np.tan(np.minimum(rate, 1.5)), np.tanh(rate)) / rate
    near = ~escaped & (exact > 1.05)
    np.testing.assert_allclose(values[near], solved[near], rtol=1e-6)


def test_a_time_varying_coefficient():
    """ẋ = u, cost q(t) x² + u² with S = 1/(1 + T − t): q = S² − Ṡ… chosen so that S is known."""
    horizon = 1.0

    def cost(t):
        return jnp.asarray([[[1.0, 0.0], [0.0, 0.0]]]) * (1.0 / (1.0 + horizon - t)) ** 2 * 2.0

    base = regulator(A=[[0.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], Q_T=[[1.0]], horizon=horizon)
    player = base.players[0]
    varying = Player(
        name="one",
        own_input=player.own_input,
        state_cost=cost,
        control_cost=player.control_cost,
        terminal_cost=player.terminal_cost,
    )
    solution = solve(LinearQuadraticGame(drift=base.drift, players=(varying,), horizon=horizon))
    # S' (to go) = 2/(1+τ)² − S²; with S = c(τ)/(1+τ): c' (1+τ) = 2 + c − c², so that c = 1 grows towards 2
    from scipy.integrate import solve_ivp

    twin = solve_ivp(lambda tau, s: 2 / (1 + tau) ** 2 - s**2, (0, 1), [1.0], rtol=1e-11, atol=1e-12)
    assert float(solution.value(0.0)[0, 0, 0, 0]) == pytest.approx(twin.y[0, -1], rel=1e-8)


def test_slips_name_the_matrix():
    with pytest.raises(InvalidInput, match="generator"):
        random = random_game(0, 2, 2, ((0, 1, 2),), (1, 1, 1))
        LinearQuadraticGame(drift=random.drift, players=random.players, horizon=1.0, generator=jnp.ones((2, 2)))
    with pytest.raises(InvalidInput, match=r"B\[0\]"):
        nash_game(A=np.eye(2), B=[np.ones((3, 1))], Q=[np.eye(2)], R=[np.eye(1)], horizon=1.0)
    with pytest.raises(InvalidInput, match="tiers"):
        nash_game(A=np.eye(1), B=[np.eye(1)], Q=[np.eye(1)], R=[np.eye(1)], horizon=1.0, tiers=((0, 1),))
    with pytest.raises(InvalidInput, match=r"R\[0\]"):
        solve(nash_game(A=np.eye(1), B=[np.eye(1)], Q=[np.eye(1)], R=[-np.eye(1)], horizon=1.0))
    coupled = [np.array([[1.0, 1.0], [1.0, 1.0]])] * 2
    with pytest.raises(InvalidInput, match="singular"):
        solve(nash_game(A=np.eye(1), B=[np.eye(1)] * 2, Q=[np.eye(1)] * 2, R=coupled, horizon=1.0))


def test_a_growing_state_that_nobody_moves_has_no_stationary_cost():
    with pytest.raises(RunFailed, match="no stationary solution"):
        solve(regulator(A=[[1.0]], B=[[0.0]], Q=[[1.0]], R=[[1.0]]))
