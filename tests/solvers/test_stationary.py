"""Games without end, with regimes, jumps and noise in the state, against SciPy's long horizons and their own flow."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded, tracking
from diffgames.solvers import mean_square_abscissa, solve
from diffgames.solvers.riccati import values_to_go
from quadratic_games import Data, nash, random_data

DATA = random_data(5, 2, (1, 2), 2)


def as_matrices(data: Data, discount: float, horizon: float = math.inf, pull: float = 0.0) -> LinearQuadraticGame:
    """The game on z = (x, 1): its uncompensated jumps of random size are a drift and, for values, a size √E z²."""
    mean, second = data.mark[0], data.mark[0] ** 2 + data.mark[1] ** 2
    shift = data.shift + data.mark_rate * mean * data.mark_jump
    (m, n), total = data.shift.shape, sum(b.shape[2] for b in data.b)
    marked = np.broadcast_to(np.sqrt(second) * data.mark_jump, (m, n))
    places = np.cumsum([0, *(b.shape[2] for b in data.b)])
    players = []
    for p, (b, q, r) in enumerate(zip(data.b, data.q, data.r, strict=True)):
        control = np.zeros((m, total, total))
        control[:, places[p] : places[p + 1], places[p] : places[p + 1]] = r
        target = np.asarray(data.target[p])
        cost = [np.asarray(tracking(q[i], target[i])) for i in range(m)]
        players.append(
            Player(
                name=f"player {p}",
                own_input=padded(b),
                state_cost=jnp.asarray(cost),
                control_cost=jnp.asarray(control),
                terminal_cost=jnp.zeros((m, n + 1, n + 1)),
            )
        )
    noise = np.zeros((m, n + 1, n + 1, n + 1))
    noise[:, :n, :n, n], noise[:, n, :n, :n] = data.noise.T, data.state_noise
    drift = affine(data.a - pull * np.eye(n), shift)
    return LinearQuadraticGame(
        drift=drift,
        players=tuple(players),
        horizon=horizon,
        diffusion=jnp.asarray(noise),
        jump_scale=jnp.stack([affine(data.jump), affine(np.zeros((m, n, n)), marked)], axis=1),
        jump_rate=jnp.stack([jnp.asarray(data.rate), jnp.full(m, data.mark_rate)], axis=1),
        generator=jnp.asarray(data.generator),
        discount=discount,
    )


@pytest.fixture(scope="module")
def stationary():
    return solve(as_matrices(DATA, DATA.discount))


def test_gains_are_the_limit_of_long_horizons(stationary):
    nothing = DATA._replace(terminal=tuple(0 * g for g in DATA.terminal), horizon=60.0)
    gains = nash(nothing, knots=3).gains
    for p, gain in enumerate(gains):
        rows = stationary.game.control_slices[p]
        np.testing.assert_allclose(stationary.profile.gain(0.0)[:, rows], gain[0], atol=1e-7)


def test_second_moments_grow_at_the_rate_that_is_told(stationary):
    """Ṁ_i = 𝒜M + M𝒜ᵀ + noise, jumps, switches, followed until one mode is left."""
    n = DATA.a.shape[1]
    play = np.asarray(stationary.profile.gain(0.0))[:, :, :n]
    closed = DATA.a + np.concatenate(DATA.b, axis=2) @ play

    def flow(_, y):
        second = y.reshape(2, n, n)
        out = np.tensordot(DATA.generator.T, second, 1)
        for i in range(2):
            out[i] += closed[i] @ second[i] + second[i] @ closed[i].T
            out[i] += DATA.state_noise @ second[i] @ DATA.state_noise.T
            out[i] += DATA.rate[i] * DATA.jump[i] @ second[i] @ DATA.jump[i].T
        return out.ravel()

    y, logs = np.eye(n)[None].repeat(2, 0).ravel(), []
    for _ in range(2):
        y = solve_ivp(flow, (0, 30), y, "DOP853", rtol=1e-11, atol=1e-30).y[:, -1]
        logs.append(np.log(np.abs(y).sum()))
        y = y / np.abs(y).sum()
    assert mean_square_abscissa(stationary) == pytest.approx(logs[1] / 30, rel=1e-5)


@pytest.mark.slow
def test_average_costs_are_what_a_long_horizon_adds_per_unit_of_time():
    found = solve(as_matrices(DATA, 0.0, pull=0.5))
    assert mean_square_abscissa(found) < 0

    values, _ = values_to_go(as_matrices(DATA, 0.0, 31.0, pull=0.5), jnp.asarray([30.0, 31.0]))
    added = np.asarray(values)[1, :, :, -1, -1] - np.asarray(values)[0, :, :, -1, -1]
    np.testing.assert_allclose(added, found.average_cost, rtol=1e-7)


@pytest.mark.slow
def test_gradients_pass_through_the_fixed_point():
    """By the implicit function theorem, in a direction that moves the drift, the jumps and the switching rates."""
    base = as_matrices(DATA, DATA.discount)
    push = jnp.asarray(np.random.default_rng(0).normal(size=base.drift.shape)).at[:, -1].set(0.0)

    def gain(e):
        moved = LinearQuadraticGame(
            drift=base.drift + e * push,
            players=base.players,
            horizon=math.inf,
            diffusion=base.diffusion,
            jump_scale=(1 + e) * base.jump_scale,
            jump_rate=base.jump_rate,
            generator=(1 - e) * base.generator,
            discount=base.discount,
        )
        return jnp.sum(solve(moved).profile.gain(0.0) ** 2)

    slope, step = float(jax.grad(gain)(0.0)), 1e-4
    assert slope == pytest.approx(float(gain(step) - gain(-step)) / (2 * step), rel=1e-6)
