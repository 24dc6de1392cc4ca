"""Control under partial observation against SciPy's Riccati equations and simulated costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_are, solve_discrete_are

from diffgames.errors import InvalidInput
from diffgames.games.partial_observation import partially_observed
from diffgames.games.plain import regulator
from diffgames.simulation import simulate
from diffgames.solvers import solve

A = np.asarray([[0.2, 1.0], [-0.5, 0.1]])
B, C = np.asarray([[0.0], [1.0]]), np.asarray([[1.0, 0.0]])
Q, R = np.diag([1.0, 0.5]), np.asarray([[0.7]])
NOISE, SEEN = np.diag([0.2, 0.3]), np.asarray([[0.4]])
MEAN, START = np.asarray([1.0, -0.5]), np.diag([0.3, 0.2])


def observed(horizon, discrete=False, discount=0.0):
    drift = np.eye(2) + 0.3 * A if discrete else A
    plant = regulator(A=drift, B=B, Q=Q, R=R, noise=NOISE, horizon=horizon, discrete=discrete, discount=discount)
    return partially_observed(plant, C, SEEN, MEAN, START)


@pytest.mark.parametrize("discrete", [False, True])
def test_without_end_both_halves_are_the_algebraic_riccati_equations(discrete):
    found = solve(observed(np.inf, discrete))
    riccati = solve_discrete_are if discrete else solve_continuous_are
    drift = np.eye(2) + 0.3 * A if discrete else A
    value, spread = riccati(drift, B, Q, R), riccati(drift.T, C.T, NOISE @ NOISE.T, SEEN @ SEEN.T)
    np.testing.assert_allclose(found.covariance(), spread, rtol=1e-9)
    if discrete:
        bend = R + B.T @ value @ B
        gain = -np.linalg.solve(bend, B.T @ value @ drift)
        error = spread - spread @ C.T @ np.linalg.solve(C @ spread @ C.T + SEEN @ SEEN.T, C @ spread)
    else:
        bend, gain, error = R, -np.linalg.solve(R, B.T @ value), spread
    np.testing.assert_allclose(found.gain()[:, :-1], gain, rtol=1e-9)
    cost = np.trace(value @ NOISE @ NOISE.T) + np.trace(gain.T @ bend @ gain @ error)
    assert float(found.cost) == pytest.approx(cost, rel=1e-9)


def test_the_cost_is_that_of_simulated_paths():
    found = solve(observed(1.5, discount=0.2))
    game, profile = found.closed_loop()
    paths = simulate(game, profile, jax.random.key(3), paths=20_000, steps=100, antithetic=True, keep=0)
    assert abs(float(paths.cost[0] - found.cost)) < 4 * float(paths.standard_error[0]) + 0.01 * float(found.cost)
    seeing = float(found.control.cost("controller", jnp.asarray(MEAN)))
    assert float(found.cost) > seeing  # not to see the state costs something


def test_the_cost_in_discrete_time_is_that_of_simulated_paths():
    steps, count, rng = 6, 200_000, np.random.default_rng(4)
    found = solve(observed(steps, discrete=True, discount=0.1))
    drift = np.eye(2) + 0.3 * A
    x = MEAN + rng.normal(size=(count, 2)) @ np.sqrt(START)
    guess, cost = np.broadcast_to(MEAN, x.shape), np.zeros(count)
    for t in range(steps):
        seen = x @ C.T + rng.normal(size=(count, 1)) @ SEEN.T
        guess = guess + (seen - guess @ C.T) @ np.asarray(found.filter_gain(float(t))).T
        u = guess @ np.asarray(found.gain(float(t)))[:, :-1].T
        cost += np.exp(-0.1 * t) * (np.einsum("pi,ij,pj->p", x, Q, x) + R[0, 0] * u[:, 0] ** 2)
        guess = guess @ drift.T + u @ B.T
        x = x @ drift.T + u @ B.T + rng.normal(size=(count, 2)) @ NOISE
    assert abs(cost.mean() - float(found.cost)) < 4 * cost.std() / count**0.5


def test_slips_are_told_by_name():
    plant = regulator(A=A, B=B, Q=Q, R=R, horizon=1.0)
    with pytest.raises(InvalidInput, match="observation_noise"):
        partially_observed(plant, C, [[0.0]])
    with pytest.raises(InvalidInput, match="observation"):
        partially_observed(plant, [[1.0]], SEEN)
    with pytest.raises(InvalidInput, match="covariance"):
        partially_observed(plant, C, SEEN, covariance=-START)
    for unit in (1.0, 1e-7, 1e7):  # of both states, and of the second alone
        for part in (np.diag([unit, unit]), np.diag([1.0, unit])):
            partially_observed(plant, C, SEEN, covariance=part @ [[0.3, 0.1], [0.1, 0.2]] @ part)
            for wrong in ([[0.3, 0.3], [0.3, 0.2]], [[0.3, 0.1], [0.05, 0.2]]):
                with pytest.raises(InvalidInput, match="covariance"):
                    partially_observed(plant, C, SEEN, covariance=part @ wrong @ part)
