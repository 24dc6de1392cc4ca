"""Extrapolated costs: the truth is in their interval where the step's error throws the plain one off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from diffgames.games.differential import GaussianLaw
from diffgames.games.plain import nash_game
from diffgames.simulation import simulate, simulate_extrapolated
from diffgames.solvers.solve import solve

SEEDS, PATHS, STEPS, NOISE = 20, 1024, 50, 0.2


@pytest.fixture(scope="module")
def game():
    """A linear-quadratic game whose costs Riccati's equation knows."""
    return nash_game(A=0.5, B=[1.0, 1.0], Q=[1.0, 0.5], R=[1.0, 2.0], noise=[[NOISE]], horizon=1.0)


def cost_of_the_scheme(solution, steps):
    """What Euler's scheme costs the first player from x = 1: E[x²] by recursion."""
    h, second, total = 1.0 / steps, 1.0, 0.0
    for step in range(steps):
        gain = np.asarray(solution.profile.gain(step * h))[0, :, 0]
        total += h * (1.0 + gain[0] ** 2) * second
        second = (1.0 + h * (0.5 + gain.sum())) ** 2 * second + h * NOISE**2
    return total


def test_the_truth_is_in_its_interval(game):
    solution = solve(game)
    exact = np.einsum("ab,ab->", np.ones((2, 2)), np.asarray(solution.value(0.0))[0, 0])
    hub = game.as_differential(GaussianLaw(jnp.ones(1), jnp.zeros((1, 1)), 0))
    inside, moved = 0, []
    for seed in range(SEEDS):
        key = jax.random.key(seed)
        plain = simulate(hub, solution.profile, key, paths=PATHS, steps=STEPS, keep=0)
        found = simulate_extrapolated(hub, solution.profile, key, paths=PATHS, steps=STEPS)
        inside += int(abs(float(found.cost[0]) - exact) <= 1.96 * float(found.standard_error[0]))
        moved.append(np.asarray(plain.costs - found.costs)[:, 0])
        assert float(found.standard_error[0]) < 1.2 * float(plain.standard_error[0]), "on the same noise"
    assert inside >= binom.ppf(1e-4, SEEDS, 0.95)
    expected, sample = cost_of_the_scheme(solution, STEPS // 2) - cost_of_the_scheme(solution, STEPS), np.ravel(moved)
    assert abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(sample.size)


def test_odd_steps_are_made_even(game):
    found = simulate_extrapolated(game.as_differential(), lambda t, x, i: (-x, -x), jax.random.key(0), paths=4, steps=3)
    assert found.time.shape == (5,) and bool(jnp.all(jnp.isfinite(found.cost)))
