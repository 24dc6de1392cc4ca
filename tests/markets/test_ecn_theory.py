"""Long-run moments of order-book volumes against simulation, limits and hand computation."""

import jax
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.ecn_scores import simulate_levels
from diffgames.markets.ecn_theory import (
    VolumeLaw,
    long_run_covariance,
    long_run_mean,
    noise_covariance,
    quadratic_covariation,
    regime_bounds,
    variance_impact,
)


def draws(generator: np.random.Generator, count: int) -> np.ndarray:
    """Changes of three dependent levels: each rises, falls or stays, by amounts that share a common factor."""
    common = generator.uniform(0, 1, (count, 1))
    kind = generator.uniform(0, 1, (count, 3)) + 1.5 * (common - 0.5)
    rise = 4.0 * (0.5 * common + generator.exponential(1.0, (count, 3)))
    fall = np.minimum(generator.beta(1.0, 3.0, (count, 3)) + 0.3 * common, 1.0)
    return np.where(kind < 0.35, -fall, np.where(kind > 0.6, rise, 0.0))


@pytest.fixture(scope="module")
def law() -> VolumeLaw:
    return VolumeLaw.of_samples(draws(np.random.default_rng(0), 400_000))


def test_long_run_moments_are_those_of_a_simulation(law):
    """Independent books after 200 steps: mean and covariance within four Monte-Carlo standard errors."""
    generator, books = np.random.default_rng(1), 20_000
    volume = np.full((books, 3), 5.0)
    for _ in range(200):
        change = draws(generator, books)
        volume = (1 - np.maximum(-change, 0)) * volume + np.maximum(change, 0)
    centred = volume - volume.mean(axis=0)
    error = volume.std(axis=0) / books**0.5
    assert (np.abs(volume.mean(axis=0) - long_run_mean(law)) < 4 * error + 0.01 * long_run_mean(law)).all()
    products = centred[:, :, None] * centred[:, None, :]
    noise = products.std(axis=0) / books**0.5
    theory = long_run_covariance(law)
    assert (np.abs(products.mean(axis=0) - theory) < 4 * noise + 0.01 * np.abs(theory)).all()
    assert (np.abs(theory) > 5 * noise).all()  # the test can tell


def test_the_diffusion_limit_is_reached_at_first_order(law):
    """Discrete formulas of the law scaled by ε tend to the continuous ones, with an error in proportion to ε."""
    limit = long_run_covariance(law, "continuous")
    gaps = [np.abs(long_run_covariance(law.scaled(epsilon)) - limit).max() for epsilon in (0.02, 0.01)]
    assert gaps[1] == pytest.approx(gaps[0] / 2, rel=0.02) and gaps[1] < 0.02 * np.abs(limit).max()
    np.testing.assert_allclose(long_run_mean(law.scaled(0.01)), long_run_mean(law))


def test_the_noise_is_that_of_one_step(law):
    """Q at a deviation x is the covariance of V' − V given V = μ∞ + x, whatever x: the definition of the limit."""
    change = draws(np.random.default_rng(2), 400_000)
    rise, fall = np.maximum(change, 0), np.maximum(-change, 0)
    np.testing.assert_allclose(quadratic_covariation(law, np.zeros(3)), noise_covariance(law), rtol=1e-12)
    for deviation in (np.zeros(3), np.asarray([3.0, -2.0, 5.0])):
        step = rise - fall * (long_run_mean(law) + deviation)
        np.testing.assert_allclose(
            np.cov(step, rowvar=False), quadratic_covariation(law, deviation), rtol=0.03, atol=0.3
        )


def test_regimes_are_where_the_variance_is_below_and_above_that_at_the_mean(law):
    for level in range(3):
        low, high = regime_bounds(law, level)
        mean = long_run_mean(law)[level]
        assert low <= mean <= high and (low == pytest.approx(mean) or high == pytest.approx(mean))
        inside, outside = np.linspace(low, high, 9)[1:-1], np.asarray([low - 1.0, high + 1.0])
        assert (variance_impact(law, inside, level) < 0).all() and (variance_impact(law, outside, level) > 0).all()
        at = np.eye(3)[level] * 2.0
        expected = quadratic_covariation(law, at)[level, level] - noise_covariance(law)[level, level]
        assert variance_impact(law, np.asarray([mean + 2.0]), level)[0] == pytest.approx(expected)


def test_without_rises_in_noise_the_volatility_is_multiplicative():
    """Remark 2.5: σ⁺ = 0 gives Q = (σ⁻ V)², as in Cont and Müller."""
    law = VolumeLaw(*(np.asarray(m, float) for m in ([2.0], [0.1], [[0.0]], [[0.03]], [[0.0]])))
    assert quadratic_covariation(law, np.asarray([7.0]))[0, 0] == pytest.approx(0.03 * (20.0 + 7.0) ** 2)


def test_what_has_no_limit_is_refused():
    law = VolumeLaw(*(np.asarray(m, float) for m in ([2.0], [0.1], [[1.0]], [[0.3]], [[0.0]])))
    with pytest.raises(InvalidInput, match=r"^law"):
        long_run_covariance(law)
    with pytest.raises(InvalidInput, match=r"^change"):
        VolumeLaw.of_samples(np.ones((10, 2)))
    with pytest.raises(InvalidInput, match=r"^time"):
        long_run_covariance(law, "weekly")


def test_a_fitted_exchange_settles_where_the_theory_says(exchange):
    """The compiled agent, rounding and mirroring included: its law's mean within 5%, its deviation within 15%."""
    law = VolumeLaw.of_exchange(exchange, jax.random.key(0), 50_000)
    paths = simulate_levels(exchange, exchange.mean_volume, np.float32(1.0), jax.random.key(1), paths=64, steps=500)
    volume = np.asarray(paths.volume, float)[:, 100:].reshape(-1, 2 * exchange.levels)
    np.testing.assert_allclose(volume.mean(axis=0), long_run_mean(law), rtol=0.05)
    np.testing.assert_allclose(volume.std(axis=0), np.sqrt(np.diag(long_run_covariance(law))), rtol=0.15)
