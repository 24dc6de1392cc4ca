"""The linear-quadratic engine against SciPy, closed forms, limits and the Hamilton–Jacobi equation itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_are, solve_discrete_are

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player
from diffgames.games.plain import nash_game, regulator
from diffgames.solvers import mean_square_abscissa, solve
from diffgames.solvers.backward import Accuracy
from diffgames.solvers.riccati import values_to_go
from diffgames.solvers.stage import stage_games
from diffgames.verification.linear_response import matrix_gaps


def random_game(seed: int, states: int, regimes: int, tiers, sizes, crowd: bool = False) -> LinearQuadraticGame:
    """Random stable-ish data with regimes, affine terms, noise, jumps, cross terms and a switch of the state."""
    rng = np.random.default_rng(seed)
    n, total = states + 1, sum(sizes)

    def matrix(*shape, scale=0.4, moves=True):
        value = rng.normal(size=shape) * scale
        if moves:
            value[..., -1, :] = 0.0
        return jnp.asarray(value)

    def positive(*shape, scale=0.5):
        root = rng.normal(size=shape) * scale
        return jnp.asarray(root @ np.swapaxes(root, -1, -2))

    generator = rng.uniform(0.2, 1.0, (regimes, regimes)) * (1 - np.eye(regimes))
    switch = np.broadcast_to(np.eye(n), (regimes, regimes, n, n)).copy()
    switch[:, :, :-1, :] += 0.1 * rng.normal(size=(regimes, regimes, n - 1, n))
    crowd_map = np.eye(n)
    crowd_map[0] = np.eye(n)[1]
    players = tuple(
        Player(
            name=f"p{p}",
            own_input=matrix(regimes, n, size),
            crowd_input=matrix(regimes, n, size) if crowd and p in tiers[-1] else None,
            state_cost=positive(regimes, n, n),
            control_cost=positive(regimes, total, total, scale=0.2) + jnp.asarray([[1.5 * np.eye(total)]])[0],
            cross_cost=matrix(regimes, n, total, scale=0.1, moves=False),
            terminal_cost=positive(regimes, n, n),
        )
        for p, size in enumerate(sizes)
    )
    return LinearQuadraticGame(
        drift=matrix(regimes, n, n),
        players=players,
        horizon=0.7,
        diffusion=matrix(regimes, 2, n, n, scale=0.2),
        jump_scale=matrix(regimes, 2, n, n, scale=0.3),
        jump_rate=jnp.asarray(rng.uniform(0.2, 1.0, (regimes, 2))),
        generator=jnp.asarray(generator - np.diag(generator.sum(axis=1))),
        switch=jnp.asarray(switch),
        crowd_map=jnp.asarray(crowd_map) if crowd else None,
        discount=0.15,
        tiers=tiers,
    )


@pytest.mark.parametrize(
    ("seed", "states", "regimes", "sizes"),
    [(0, 2, 2, (1, 2, 1)), pytest.param(1, 3, 3, (2, 1, 1), marks=pytest.mark.slow)],
)
def test_values_solve_the_hamilton_jacobi_equations(seed, states, regimes, sizes):
    """Two tiers, regimes, jumps, noise, affine terms at once: −∂V/∂t = H at random points, written out apart."""
    game = random_game(seed, states, regimes, ((0,), (1, 2)), sizes)
    t, h = 0.3, 2e-3
    values, _ = values_to_go(game, 0.7 - t + h * jnp.arange(-2.0, 3.0), Accuracy(rtol=1e-13, atol=1e-14))
    stage = stage_games(game, game.coefficients(t), values[2])
    a, s = {key: np.asarray(v) for key, v in game.coefficients(t)._asdict().items()}, np.asarray(values)
    rng = np.random.default_rng(9)
    for _ in range(4):
        i = int(rng.integers(regimes))
        z = np.append(rng.normal(size=states), 1.0)
        u = np.asarray(stage.gain[i]) @ z
        moved = a["drift"][i] @ z + a["input"][i] @ u
        for p in range(3):
            value = lambda x, k=i, p=p: x @ s[2, p, k] @ x  # noqa: E731 - the formula below reads as it is written
            gradient = 2 * s[2, p, i] @ z
            right = z @ a["state_cost"][p, i] @ z + u @ a["control_cost"][p, i] @ u
            right += 2 * z @ a["cross_cost"][p, i] @ u + gradient @ moved - 0.15 * value(z)
            right += sum(value(c @ z) for c in a["diffusion"][i])  # half the trace of cc' and the Hessian 2S
            for e, rate in zip(a["jump_scale"][i], a["jump_rate"][i], strict=True):
                right += rate * (value(z + e @ z) - value(z) - gradient @ (e @ z))
            for j in range(regimes):
                if j != i:
                    rate = float(game.generator[i, j])
                    right += rate * (value(np.asarray(game.switch[i, j]) @ z, j) - value(z))
            left = z @ (8 * (s[3, p, i] - s[1, p, i]) - (s[4, p, i] - s[0, p, i])) @ z / (12 * h)  # fourth order
            assert abs(left - right) <= 1e-6 * (1 + abs(right))


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
    with pytest.raises(InvalidInput, match=r"player 0\.own_input"):
        nash_game(A=np.eye(2), B=[np.ones((3, 1))], Q=[np.eye(2)], R=[np.eye(1)], horizon=1.0)
    with pytest.raises(InvalidInput, match="tiers"):
        nash_game(A=np.eye(1), B=[np.eye(1)], Q=[np.eye(1)], R=[np.eye(1)], horizon=1.0, tiers=((0, 1),))
    with pytest.raises(InvalidInput, match=r"player 0\.control_cost"):
        solve(nash_game(A=np.eye(1), B=[np.eye(1)], Q=[np.eye(1)], R=[-np.eye(1)], horizon=1.0))
    coupled = [np.array([[1.0, 1.0], [1.0, 1.0]])] * 2
    with pytest.raises(InvalidInput, match="singular"):
        solve(nash_game(A=np.eye(1), B=[np.eye(1)] * 2, Q=[np.eye(1)] * 2, R=coupled, horizon=1.0))


def test_a_growing_state_that_nobody_moves_has_no_stationary_cost():
    with pytest.raises(RunFailed, match="no stationary solution"):
        solve(regulator(A=[[1.0]], B=[[0.0]], Q=[[1.0]], R=[[1.0]]))


def test_open_loop_nash_of_one_player_is_the_regulator_and_of_two_solves_its_boundary_problem():
    from scipy.integrate import solve_ivp

    from diffgames.solvers.open_loop import open_loop_nash

    alone = regulator(A=[[0.3]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], Q_T=[[0.5]], horizon=1.0)
    _, matrices = open_loop_nash(alone, times=3)
    np.testing.assert_allclose(matrices[0, 0], solve(alone).value(0.0)[0, 0], atol=1e-9)
    weights = [np.eye(1), 2 * np.eye(1)]
    game = nash_game(A=[[0.3]], B=[[[1.0]], [[0.7]]], Q=weights, R=[np.eye(1)] * 2, Q_T=[np.eye(1)] * 2, horizon=1.0)
    _, matrices = open_loop_nash(game, times=3)
    start = [1.0, float(matrices[0, 0, 0, 0]), float(matrices[0, 1, 0, 0])]

    def flow(_, y):
        x, one, two = y
        return [0.3 * x - one - 0.49 * two, -x - 0.3 * one, -2 * x - 0.3 * two]

    end = solve_ivp(flow, (0, 1), start, rtol=1e-11, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(end[1:], end[0], rtol=1e-8)  # λ_p(T) = x(T)
    feedback = solve(game).value(0.0)[:, 0, 0, 0]
    assert np.abs(np.asarray(feedback) - start[1:]).max() > 1e-3, "feedback Nash is another equilibrium"
