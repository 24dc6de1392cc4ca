"""Populations: moments of the McKean–Vlasov limit, fluctuations of order N^{-1/2}, costs, jumps, bounded memory."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.jumps import FixedMark, JumpLaw, NormalMarks
from diffgames.simulation import population as module
from diffgames.simulation.population import Population, simulate_population

HORIZON, PULL, NOISE, RATE = 1.0, 1.5, 0.6, 3.0


def flock(dtype=jnp.float32, common: bool = False, jumps: bool = True) -> Population:
    """dX = (PULL (M − X) + u) dt + NOISE dW + jumps in ℝ², started from N((1, −1), 0.3²)."""
    fixed = JumpLaw(
        lambda t, x, u, i: jnp.asarray(RATE, x.dtype),
        lambda t, x, u, z, i: z,
        FixedMark(jnp.asarray([0.2, -0.1], dtype)),
    )
    normal = JumpLaw(
        lambda t, x, u, i: jnp.asarray(RATE, x.dtype),
        lambda t, x, u, z, i: jnp.concatenate([z, 0 * z]),
        NormalMarks(jnp.asarray(0.1, dtype), jnp.asarray(0.2, dtype)),
        compensated=False,
    )
    return Population(
        drift=lambda t, x, m, u: PULL * (m - x) + u,
        diffusion=lambda t, x, m, u: NOISE * jnp.eye(2, dtype=x.dtype),
        running_cost=lambda t, x, m, u: jnp.sum((x - m) ** 2) + jnp.sum(u**2),
        terminal_cost=lambda x, m: jnp.sum(x**2),
        statistic=lambda x: x,
        initial=lambda key: jnp.asarray([1.0, -1.0], dtype) + 0.3 * jax.random.normal(key, (2,), dtype),
        horizon=HORIZON,
        common=(lambda t, x, m, u: jnp.full((2, 1), 0.5, x.dtype)) if common else None,
        jumps=(fixed, normal) if jumps else (),
        discount=0.1,
    )


def still(t, x, m):
    return jnp.asarray([0.5, 0.0], x.dtype)


@pytest.fixture(scope="module")
def crowd():
    return simulate_population(flock(), still, jax.random.key(0), players=70_000, steps=50, chunk=16_384)


def test_moments_are_those_of_the_limit(crowd):
    """m moves by the control and the uncompensated jumps; v̇ = −2 PULL v + NOISE² + intensity of the squared jumps."""
    time = np.asarray(crowd.time)
    mean = np.array([1.0, -1.0]) + time[:, None] * np.array([0.5 + RATE * 0.1, 0.0])
    np.testing.assert_allclose(crowd.statistic, mean, atol=0.01)
    inflow = NOISE**2 + RATE * np.array([0.2**2 + 0.1**2 + 0.2**2, 0.1**2])
    rest = inflow / (2 * PULL)
    variance = rest + (0.3**2 - rest) * np.exp(-2 * PULL * time[:, None])
    np.testing.assert_allclose(crowd.spread, np.sqrt(variance), rtol=0.03)
    assert crowd.state.shape == (70_000, 2)
    np.testing.assert_allclose(np.asarray(crowd.state).mean(axis=0), crowd.statistic[-1], atol=1e-4)
    grid = np.linspace(0, HORIZON, 2001)
    v = rest + (0.3**2 - rest) * np.exp(-2 * PULL * grid[:, None])
    running = np.trapezoid(np.exp(-0.1 * grid) * (v.sum(axis=1) + 0.25), grid)
    cost = running + np.exp(-0.1) * (variance[-1].sum() + (mean[-1] ** 2).sum())
    assert abs(float(crowd.cost) - cost) < 4 * float(crowd.standard_error) + 0.02 * cost


def test_common_noise_moves_everybody():
    """The mean follows the common noise, of variance 0.25 t, and the spread stays that of the own noise."""
    population = flock(common=True, jumps=False)
    lasts = [
        float(simulate_population(population, still, jax.random.key(k), players=500, steps=10).statistic[-1, 1])
        for k in range(60)
    ]
    ratio = np.var(lasts, ddof=1) / 0.25
    assert 0.55 < ratio < 1.65  # chi-square with 59 degrees of freedom, 99.9%


def test_the_same_key_repeats_and_a_part_empty_chunk_counts_nobody_twice():
    population = flock(jumps=False)
    runs = [
        simulate_population(population, still, jax.random.key(3), players=1_000, steps=5, chunk=chunk)
        for chunk in (1_000, 1_000, 700)
    ]
    assert np.array_equal(runs[0].state, runs[1].state)
    np.testing.assert_allclose(runs[2].statistic[-1], np.asarray(runs[2].state).mean(axis=0), atol=1e-5)


def test_memory_does_not_grow_with_the_steps():
    def bytes_needed(players, steps):
        lowered = eqx.filter_jit(module._simulate).lower(flock(), still, jax.random.key(0), (players, steps, 16_384))
        return lowered.compile().compiled.memory_analysis().temp_size_in_bytes

    few, many = bytes_needed(200_000, 10), bytes_needed(200_000, 1_000)
    assert many < 1.1 * few + 1e5
    assert few < 200_000 * 4 * 2 * 8 + 16_384 * 4 * 200  # a few copies of the state, and the work of one chunk


def test_many_jumps_a_step_are_all_counted():
    """Rate 50 in ten steps, of size one and of normal sizes; a rate that turns negative is told."""
    mark = FixedMark(jnp.asarray([0.0, 1.0], jnp.float32))
    count = JumpLaw(lambda t, x, u, i: jnp.asarray(50.0, x.dtype), lambda t, x, u, z, i: z, mark, False)
    marks = NormalMarks(jnp.asarray(1.0, jnp.float32), jnp.asarray(0.5, jnp.float32))
    normal = JumpLaw(count.rate, lambda t, x, u, z, i: jnp.concatenate([z, 0 * z]), marks, False)
    population = dataclasses.replace(flock(jumps=False), jumps=(count, normal), drift=lambda t, x, m, u: 0 * x)
    found = simulate_population(population, still, jax.random.key(0), players=5_000, steps=10)
    spread = np.array([50 * 1.25, 50.0]) + 0.3**2 + NOISE**2
    np.testing.assert_allclose(found.statistic[-1], [51.0, 49.0], atol=4 * np.sqrt(spread.max() / 5_000))
    np.testing.assert_allclose(found.spread[-1] ** 2, spread, rtol=0.1)
    turning = dataclasses.replace(population, jumps=(dataclasses.replace(count, rate=lambda t, x, u, i: 0.5 - t),))
    with pytest.raises(InvalidInput, match="rate"):
        simulate_population(turning, still, jax.random.key(0), players=10, steps=10)


def test_slips_are_named():
    with pytest.raises(InvalidInput, match="players"):
        simulate_population(flock(), still, jax.random.key(0), players=0, steps=5)
