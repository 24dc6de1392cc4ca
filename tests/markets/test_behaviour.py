"""Measurements on recorded episodes against hand-made records with known answers."""

import numpy as np
import pytest

from diffgames.markets.behaviour import (
    clustered_quadratic,
    clustered_regression,
    flow_variance_ratio,
    holding_times,
)


def test_regression_recovers_a_planted_slope_with_an_honest_standard_error():
    """Over many data sets with within-episode correlation the clustered error covers at its stated rate."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        inventory = np.cumsum(rng.normal(size=(40, 30)), axis=0)
        common = rng.normal(size=30)[None, :] * inventory * 0.05  # an error shared by the steps of an episode
        fit = clustered_regression(inventory, -0.2 * inventory + 1.0 + common + rng.normal(size=(40, 30)))
        covered += abs(fit.slope + 0.2) <= 1.96 * fit.standard_error
    # Binomial(300, .95): 270 is over three standard deviations below; clustering with 30 episodes costs a little.
    assert covered >= 265


def test_regression_equals_least_squares():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    fit = clustered_regression(x, y)
    slope, intercept = np.polyfit(x.ravel(), y.ravel(), 1)
    assert fit.slope == pytest.approx(slope) and fit.intercept == pytest.approx(intercept)


def test_constant_inventory_has_no_slope():
    assert np.isnan(clustered_regression(np.ones((3, 2)), np.ones((3, 2))).slope)


def test_holding_times_of_a_known_path():
    inventory = np.array([0.0, 2.0, 1.0, -1.0, -2.0, 0.0, 3.0])[:, None]
    expected = np.array([np.nan, 2.0, 1.0, 2.0, 1.0, np.nan, 1.0])[:, None]
    np.testing.assert_array_equal(holding_times(inventory), expected)


def test_holding_times_against_a_double_loop():
    rng = np.random.default_rng(2)
    inventory = rng.integers(-2, 3, size=(25, 6)).astype(float)
    times = holding_times(inventory)
    for t in range(25):
        for b in range(6):
            if inventory[t, b] == 0:
                assert np.isnan(times[t, b])
                continue
            after = [s for s in range(t + 1, 25) if np.sign(inventory[s, b]) != np.sign(inventory[t, b])]
            assert times[t, b] == (after[0] if after else 25) - t


def test_the_quadratic_fit_finds_a_parabola_and_its_standard_error_covers():
    """Clustered noise: the truth lies within 1.96 standard errors about 95 times in 100."""
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        x = generator.uniform(-1, 1, (20, 30, 2))
        y = 1.0 - 2.0 * x + 3.0 * x**2 + generator.normal(size=(1, 30, 1)) * x**2 + generator.normal(size=x.shape)
        fit = clustered_quadratic(x, y, np.abs(x) <= 0.9)
        hits += abs(fit.coefficients[2] - 3.0) <= 1.96 * fit.standard_error
    assert 180 <= hits <= 200


def test_flow_variance_of_a_herd_and_of_coin_tosses():
    """All by one shared clock: the number of takers, exactly. Independent: 1 within the interval, sizes or not."""
    rng = np.random.default_rng(0)
    steps, episodes, takers = 100, 60, 12
    clock = np.where(np.arange(steps) < 50, 1.0, -1.0)
    herd = np.broadcast_to(clock[:, None, None], (steps, episodes, takers))
    assert flow_variance_ratio(herd) == (pytest.approx(12.0), pytest.approx(0.0, abs=1e-9))
    inside = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        alone = rng.choice([-1.0, 0.0, 1.0], (steps, episodes, takers), p=[0.2, 0.3, 0.5]) * np.arange(1, takers + 1)
        ratio, half = flow_variance_ratio(alone)
        inside += abs(ratio - 1.0) < half
        assert half < 0.1
    assert inside >= 16  # of 20 intervals of 95%: fewer has probability 0.003
    mixed = np.where(rng.random((steps, episodes, 1)) < 0.5, herd, rng.choice([-1.0, 1.0], herd.shape))
    ratio, half = flow_variance_ratio(mixed)
    assert abs(ratio - (0.5 * 12 + 0.5)) < 2 * half
    assert np.isnan(flow_variance_ratio(np.zeros((5, 4, 2)))[0])
