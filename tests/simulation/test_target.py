"""What may be handed to `simulate` and `verify`: solutions, games without end and in discrete time, starts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames import simulate, solve, verify
from diffgames.errors import InvalidInput
from diffgames.games.differential import GaussianLaw, PointLaw
from diffgames.games.plain import nash_game, regulator
from diffgames.verification.linear_response import RESOLUTION

KEY = jax.random.key(0)


def halved(solution):
    """The solution's profile with all gains halved."""
    gain = solution.profile.gain
    return dataclasses.replace(solution.profile, gain=dataclasses.replace(gain, value=gain.value / 2))


def test_discrete_games_are_verified_and_simulated():
    """x⁺ = x/2 + u, cost Σ x² + u² over two steps from x = 1: u = −x/4 at first, then 0, and the cost is 1 + 1/8."""
    game = regulator(A=0.5, B=1.0, Q=1.0, R=1.0, horizon=2, discrete=True)
    solution = solve(game)
    assert float(solution.gain("controller", "x")[0, 0]) == pytest.approx(-0.25)
    paths = simulate(solution, key=KEY, paths=2, initial=[1.0])
    assert float(paths.cost[0]) == pytest.approx(1.125)
    assert verify(solution, initial=[1.0]).gap <= 2 * RESOLUTION
    worse = 1 + 0.125**2 + 0.375**2  # u = −x/8, then 0
    assert verify(game, halved(solution), initial=[1.0]).gap == pytest.approx(worse - 1.125)


def test_discrete_noise_jumps_and_regimes_cost_what_the_recursion_says():
    game = nash_game(
        A=[0.5, 0.8],
        B=[1.0, 0.5],
        Q=[1.0, 0.5],
        R=[1.0, 1.0],
        noise=0.3,
        jump_rate=[0.4],
        jump_shift=[[0.5]],
        generator=[[-0.2, 0.2], [0.5, -0.5]],
        horizon=4,
        discrete=True,
        discount=0.1,
    )
    solution = solve(game)
    paths = simulate(game, solution, KEY, paths=20_000, initial=PointLaw(jnp.asarray([1.0]), 1), keep=0)
    exact = [float(solution.cost(p, jnp.asarray([1.0]), regime=1)) for p in (0, 1)]
    assert np.all(np.abs(np.asarray(paths.cost) - exact) < 4 * np.asarray(paths.standard_error))
    np.testing.assert_allclose(paths.occupation[1], [0.5, 0.5], atol=0.02)


def test_games_without_end_are_cut_with_their_values():
    """dx = u dt, cost ∫ x² + u²: S = 1 whatever the horizon; half the gain from x = 1 costs up to T = 1 and then S."""
    game = regulator(A=0.0, B=1.0, Q=1.0, R=1.0)
    solution = solve(game)
    assert verify(solution, initial=[1.0], horizon=1.0).gap < 1e-7
    assert float(simulate(solution, key=KEY, paths=1, steps=4000, horizon=1.0, initial=[1.0]).cost[0]) == pytest.approx(
        1.0, abs=1e-3
    )
    slow = dataclasses.replace(solution, profile=halved(solution))
    costs = 1.25 * (1 - np.exp(-1.0)) + np.exp(-1.0)
    assert verify(slow, initial=[1.0], horizon=1.0).gap == pytest.approx(costs - 1.0, rel=1e-6)
    steps = regulator(A=0.5, B=1.0, Q=1.0, R=1.0, discrete=True)
    assert verify(solve(steps), initial=[1.0], horizon=3).gap < 1e-9
    for demand in (lambda: verify(solution), lambda: simulate(solve(steps), key=KEY, paths=1)):
        with pytest.raises(InvalidInput, match="horizon"):
            demand()


def test_a_start_is_a_list_an_array_or_a_law_of_any_precision():
    game = regulator(A=[[0.0, 1.0], [0.0, 0.0]], B=[[0.0], [1.0]], Q=np.eye(2), R=1.0, horizon=1.0)
    solution = solve(game)
    starts = [
        [1.0, 0.5],
        np.asarray([1.0, 0.5]),
        PointLaw(jnp.asarray([1.0, 0.5], jnp.float32)),
        GaussianLaw(jnp.asarray([1.0, 0.5], jnp.float32), jnp.zeros((2, 1), jnp.float32)),
    ]
    costs = [float(simulate(game, solution, KEY, paths=2, steps=8, initial=start).cost[0]) for start in starts]
    assert costs == [costs[0]] * 4
    gaps = [verify(game, halved(solution), initial=start).gap for start in starts]
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)
    for key, start in (("initial", [1.0]), ("initial", [1.0, np.nan]), ("regime", PointLaw(jnp.zeros(2), 3))):
        with pytest.raises(InvalidInput) as told:
            simulate(game, solution, KEY, paths=2, steps=8, initial=start)
        assert told.value.key == key


def test_another_horizon_or_discount_is_no_other_program():
    traces = []

    def drift(t):
        traces.append(t)
        return 0.1 * t

    def run(horizon, discount):
        game = regulator(A=drift, B=1.0, Q=1.0, R=1.0, noise=0.1, horizon=horizon, discount=discount)
        solution = solve(game)
        return float(solution.value(0.0)[0, 0, 0, 0]), simulate(game, solution, KEY, paths=2, steps=4).cost

    def built():  # what building a game and reading its shapes takes
        regulator(A=drift, B=1.0, Q=1.0, R=1.0, noise=0.1, horizon=1.0)

    first = run(1.0, 0.1)[0]
    counted = []
    for horizon, discount in ((2.0, 0.1), (3.0, 0.2)):
        before = len(traces)
        assert run(horizon, discount)[0] != first
        counted.append(len(traces) - before)
    assert counted[0] == counted[1]
    assert counted[0] < len(traces) - sum(counted)
