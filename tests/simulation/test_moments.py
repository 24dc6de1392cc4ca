"""Exact moments against closed forms, their own adjoint, and simulated paths of the same linear loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.simulation.moments import LinearFlow, closed_loop, mean_and_covariance, quadratic_cost, second_moments
from diffgames.simulation.paths import simulate
from diffgames.solvers import solve
from linear_quadratic_games import random_game


def random_flow(seed: int, n: int = 3, m: int = 2, switch: bool = True) -> LinearFlow:
    """A stable random flow; the last component of the state stays 1."""
    rng = np.random.default_rng(seed)

    def keep_one(matrices):
        matrices[..., -1, :] = 0.0
        return jnp.asarray(matrices)

    base = keep_one(0.4 * rng.standard_normal((m, n, n)) - 0.8 * np.eye(n))
    wave = keep_one(0.3 * rng.standard_normal((m, n, n)))
    rates = rng.uniform(0.2, 1.5, (m, m)) * (1 - np.eye(m))
    maps = np.eye(n) + 0.2 * rng.standard_normal((m, m, n, n))
    maps[..., -1, :] = np.eye(n)[-1]
    return LinearFlow(
        drift=waving(base, wave),
        diffusion=keep_one(0.3 * rng.standard_normal((m, 2, n, n))),
        jump_scale=keep_one(0.3 * rng.standard_normal((m, 2, n, n))),
        jump_rate=jnp.asarray(rng.uniform(0.2, 1.5, (m, 2))),
        generator=jnp.asarray(rates - np.diag(rates.sum(axis=1))),
        switch=jnp.asarray(maps) if switch else None,
    )


def waving(base, wave):
    return lambda t: base + jnp.sin(3.0 * t) * wave


def test_geometric_brownian_motion_with_jumps():
    """E X² = exp((2a + c² + λe²) T) for dX = aX dt + cX dW + eX dÑ."""
    one = jnp.ones((1, 1, 1, 1))
    flow = LinearFlow(lambda t: -0.3 * one[0], 0.5 * one, 0.4 * one, jnp.full((1, 1), 2.0), jnp.zeros((1, 1)))
    found = second_moments(flow, one[0], jnp.array([0.0, 0.5, 2.0]))[:, 0, 0, 0]
    np.testing.assert_allclose(found, np.exp((-0.6 + 0.25 + 0.32) * np.array([0.0, 0.5, 2.0])), rtol=1e-9)


@pytest.mark.parametrize(("length", "second"), [(1.0, 1.0), (1e-8, 1.0), (1e9, 1e-7), (1e-6, 1e7)])
def test_moments_and_costs_have_any_unit(length, second):
    """dx = −30 (x − 1) dt + 0.4 dW from 0: variance σ² (1 − e^{−60t}) / 60, mean 1 − e^{−30t}, and ∫ x² − x dt."""
    rate, noise, level, horizon = 30.0 / second, 0.4 * length / second**0.5, length, 0.5 * second
    drift = jnp.asarray([[[-rate, rate * level], [0.0, 0.0]]])
    diffusion = jnp.zeros((1, 1, 2, 2)).at[0, 0, 0, 1].set(noise)
    flow = LinearFlow(drift, diffusion, jnp.zeros((1, 0, 2, 2)), jnp.zeros((1, 0)), jnp.zeros((1, 1)))
    start = jnp.zeros((1, 2, 2)).at[0, 1, 1].set(1.0)
    mean, covariance = mean_and_covariance(second_moments(flow, start, jnp.asarray([0.0, 0.1, 0.5]) * second))
    wanted = 0.16 / 60 * (1 - np.exp([-6.0, -30.0]))
    np.testing.assert_allclose(np.asarray(covariance[1:, 0, 0]) / length**2, wanted, rtol=1e-8)
    np.testing.assert_allclose(np.asarray(mean[1:, 0]) / length, 1 - np.exp([-3.0, -15.0]), rtol=1e-8)
    weight = jnp.asarray([[[1.0 / length**2, -0.5 / length], [-0.5 / length, 0.0]]])
    cost = quadratic_cost(flow, lambda t: weight, jnp.zeros((1, 2, 2)), horizon)[0, 1, 1] / second
    paid = (1 - np.exp(-30.0)) / 60 - (1 - np.exp(-15.0)) / 30 + 0.16 / 60 * (0.5 - (1 - np.exp(-30.0)) / 60)
    np.testing.assert_allclose(float(cost), paid, rtol=1e-8)


def test_costs_forward_and_backward_agree():
    for switch in (False, True):
        flow = random_flow(3, switch=switch)
        rng = np.random.default_rng(7)
        weights = rng.standard_normal((2, 2, 3, 3))
        weight, terminal = jnp.asarray(weights @ np.swapaxes(weights, -1, -2))
        start = jnp.zeros((2, 3, 3)).at[0].set(jnp.outer(*[jnp.array([1.0, -0.5, 1.0])] * 2))
        time = jnp.linspace(0.0, 1.5, 1501)
        second = second_moments(flow, start, time)
        rate = jnp.exp(-0.2 * time) * jnp.einsum("tiab,iba->t", second, weight) * (1 + time)
        simpson = jnp.where(jnp.arange(1501) % 2 == 1, 4.0, 2.0).at[jnp.array([0, -1])].set(1.0) / 3000.0
        forward = jnp.sum(simpson * rate) + jnp.exp(-0.3) * jnp.sum(second[-1] * terminal)
        value = quadratic_cost(flow, lambda t, w=weight: (1 + t) * w, terminal, 1.5, 0.2)
        np.testing.assert_allclose(jnp.sum(start * value), forward, rtol=1e-8)


def test_simulated_paths_have_the_exact_moments():
    """Two regimes, maps at switches, multiplicative noise and jumps; bias in the step hides in the error."""
    flow, steps, paths = random_flow(5), 400, 40_000
    laws = tuple(
        JumpLaw(
            rate=lambda t, x, u, i, k=k: flow.jump_rate[i, k],
            size=lambda t, x, u, z, i, k=k: flow.jump_scale[i, k] @ x,
            marks=FixedMark(jnp.zeros(1)),
        )
        for k in range(2)
    )
    start = jnp.array([1.0, -0.5, 1.0])
    game = DifferentialGame(
        players=("only",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: flow.drift(t)[i] @ x,
        diffusion=lambda t, x, u, i: (flow.diffusion[i] @ x).T,
        running_cost=lambda t, x, u, i: (x @ x)[None],
        terminal_cost=lambda x, i: x[:1] * x[1:2],
        initial=PointLaw(start),
        horizon=1.0,
        jumps=laws,
        generator=flow.generator,
        switch=lambda t, x, i, j: flow.switch[i, j] @ x,
    )
    found = simulate(game, lambda t, x, i: (jnp.zeros(1),), jax.random.key(0), paths=paths, steps=steps, keep=steps)
    second0 = jnp.zeros((2, 3, 3)).at[0].set(jnp.outer(start, start))
    exact = second_moments(flow, second0, jnp.array([0.0, 1.0]))[-1]
    products = jnp.einsum("pa,pb->pab", found.state[:, -1], found.state[:, -1])
    for regime in range(2):
        sample = jnp.where((found.regime[:, -1] == regime)[:, None, None], products, 0.0)
        error = jnp.std(sample, axis=0) / np.sqrt(paths)
        assert bool(jnp.all(jnp.abs(sample.mean(axis=0) - exact[regime]) < 4 * error + 2e-3))
    cost = quadratic_cost(
        flow, lambda t: jnp.broadcast_to(jnp.eye(3), (2, 3, 3)), jnp.zeros((2, 3, 3)).at[:, 0, 1].set(1.0), 1.0
    )
    assert abs(float(found.cost[0] - start @ cost[0] @ start)) < 4 * float(found.standard_error[0]) + 2e-3


def test_the_closed_loop_of_a_solved_game_costs_what_its_value_says():
    """A leader and a crowd, two regimes, jumps and oscillating coefficients, by the adjoint of the moments."""
    game = random_game(4, 2, 2, ((0,), (1,)), (1, 1), crowd=True, waves=True)
    rates = jnp.asarray([[-0.4, 0.4], [0.9, -0.9]])
    game = eqx.tree_at(lambda g: g.generator, game, lambda t, values: rates * (1.5 + jnp.cos(t)))
    solution = solve(game)

    def spent(t):
        c, play = game.coefficients(t), solution.profile.gain(t)
        crossed = c.cross_cost[0] @ play
        own = c.state_cost[0] + jnp.swapaxes(play, 1, 2) @ c.control_cost[0] @ play
        return own + crossed + jnp.swapaxes(crossed, 1, 2)

    flow = closed_loop(game, solution.profile)
    found = quadratic_cost(flow, spent, game.terminal[0], game.horizon, game.discount)
    np.testing.assert_allclose(found, solution.value(0.0)[0], rtol=1e-7, atol=1e-9)
    start = jnp.zeros((2, 3, 3)).at[1].set(jnp.outer(*[jnp.array([1.0, -0.5, 1.0])] * 2))
    mean, covariance = mean_and_covariance(second_moments(flow, start, jnp.linspace(0.0, 0.7, 3)))
    np.testing.assert_allclose(mean[0], [1.0, -0.5])
    assert np.all(np.linalg.eigvalsh(covariance[1:]) > 0) and np.allclose(covariance[0], 0.0)
