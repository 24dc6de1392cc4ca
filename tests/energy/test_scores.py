"""Scores against numerical integration, brute force, closed forms and the values that they were specified with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from diffgames.energy import scores
from diffgames.errors import InvalidInput

SLOPES = jax.jit(jax.vmap(jax.grad(scores.crps_t, argnums=(1, 2, 3))))

SPECIFIED = [
    ((1.3, 0.2, 0.7, 3.5), 0.71199842259214, (0.00565879636119, -0.798852016373, -0.238198279169)),
    ((-2.0, 0.5, 1.5, 2.2), 1.6166673674241, (0.0209531814935, 0.773890184663, -0.212038729489)),
    ((0.1, 0.0, 1.0, 30.0), 0.24120111981514, (-0.0001194216312, -0.0789903882097, 0.233302080994)),
]


@pytest.mark.parametrize(("case", "value", "slopes"), SPECIFIED)
def test_crps_of_the_t_law_and_its_derivatives_have_the_specified_digits(case, value, slopes):
    with jax.enable_x64(True):
        found = jax.grad(scores.crps_t, argnums=(3, 1, 2))(*map(jnp.float64, case))
    assert float(scores.crps_t(*case)) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose([float(one) for one in found], slopes, rtol=2e-12, atol=5e-14)


def integrated(law, y):
    """∫ (F(x) − 1{x ≥ y})² dx."""
    below = quad(lambda x: law.cdf(x) ** 2, -np.inf, y, epsabs=1e-11, limit=400)[0]
    return below + quad(lambda x: law.sf(x) ** 2, y, np.inf, epsabs=1e-11, limit=400)[0]


@pytest.mark.parametrize("df", [1.3, 2.0, 4.5, 60.0, 5e4, np.inf])
@pytest.mark.parametrize("y", [-9.0, 0.4, 2.5])
def test_crps_is_its_integral(df, y):
    law = stats.norm(0.3, 1.2) if np.isinf(df) else stats.t(df, 0.3, 1.2)
    assert float(scores.crps_t(y, 0.3, 1.2, df)) == pytest.approx(integrated(law, y), rel=1e-7)


@settings(max_examples=15, deadline=None)
@given(df=st.floats(1.2, 200.0), scale=st.floats(0.1, 10.0))
def test_derivatives_are_finite_differences(df, scale):
    z = np.concatenate([-np.geomspace(40.0, 0.01, 20), np.geomspace(0.02, 30.0, 21)])
    place = [z * scale + 0.3, np.full(41, 0.3), np.full(41, scale), np.full(41, df)]
    with jax.enable_x64(True):
        slopes = SLOPES(*map(jnp.asarray, place))
    for n, (slope, step) in enumerate(zip(slopes, (1e-5 * scale, 1e-5 * scale, 1e-5 * df), strict=True), start=1):
        ahead, behind = ([one + sign * step * (m == n) for m, one in enumerate(place)] for sign in (1, -1))
        moved = (scores.crps_t(*ahead) - scores.crps_t(*behind)) / (2 * step)
        np.testing.assert_allclose(slope, moved, rtol=1e-5, atol=1e-7)


def test_the_normal_law_is_the_limit_and_no_finite_mean_scores_infinity():
    y = np.linspace(-6.0, 6.0, 25)
    np.testing.assert_allclose(scores.crps_t(y, 0.5, 2.0, np.inf), scores.crps_normal(y, 0.5, 2.0), rtol=1e-14)
    np.testing.assert_allclose(scores.crps_t(y, 0.5, 2.0, 1e8), scores.crps_normal(y, 0.5, 2.0), rtol=1e-7)
    assert np.isinf(scores.crps_t(0.0, 0.0, 1.0, 1.0)) and np.isnan(scores.crps_t(0.0, 0.0, 1.0, np.nan))
    with jax.enable_x64(True):
        assert float(jax.grad(scores.crps_t, argnums=3)(1.0, 0.0, 1.0, jnp.inf)) == 0.0


def test_training_in_single_precision_sees_the_same_slopes():
    place = [np.linspace(-30.0, 30.0, 41), np.zeros(41), np.ones(41), np.geomspace(2.0, 1e4, 41)]
    single = SLOPES(*(jnp.asarray(one, jnp.float32) for one in place))
    with jax.enable_x64(True):
        double = SLOPES(*map(jnp.asarray, place))
    for low, high in zip(single, double, strict=True):
        assert low.dtype == jnp.float32
        np.testing.assert_allclose(low, high, atol=2e-4, rtol=1e-3)


def test_density_and_distribution_are_scipys():
    y = np.linspace(-50.0, 50.0, 60)
    for df in (1.1, 2.0, 7.0, 3e5):
        law = stats.t(df, 0.3, 1.7)
        np.testing.assert_allclose(scores.pit(y, 0.3, 1.7, df), law.cdf(y), atol=1e-14)
        np.testing.assert_allclose(scores.log_score_t(y, 0.3, 1.7, df), -law.logpdf(y), rtol=1e-10)
    np.testing.assert_allclose(scores.pit(y, 0.3, 1.7, np.inf), stats.norm(0.3, 1.7).cdf(y), atol=1e-14)


def test_an_ensemble_is_scored_as_by_all_its_pairs_and_tends_to_the_law():
    rng = np.random.default_rng(0)
    y, members = rng.normal(size=5), rng.normal(size=(5, 12))
    pairs = np.abs(members[:, :, None] - members[:, None, :]).mean((1, 2))
    expected = np.abs(members - y[:, None]).mean(1) - 0.5 * pairs
    np.testing.assert_allclose(scores.crps_ensemble(y, members), expected, rtol=1e-12)
    quantiles = stats.t(4.0).ppf((np.arange(4000) + 0.5) / 4000)
    assert float(scores.crps_ensemble(0.7, quantiles)) == pytest.approx(float(scores.crps_t(0.7, 0.0, 1.0, 4.0)), 1e-3)


def test_pinball_losses_average_to_half_the_crps():
    levels = (np.arange(20_000) + 0.5) / 20_000
    mean = float(np.mean(scores.pinball(1.4, stats.norm.ppf(levels), levels)))
    assert 2.0 * mean == pytest.approx(float(scores.crps_normal(1.4, 0.0, 1.0)), rel=1e-4)


def test_energy_and_variogram_scores_by_brute_force():
    rng = np.random.default_rng(1)
    y, members = rng.normal(size=(3, 4)), rng.normal(size=(3, 7, 4))
    for day in range(3):
        x = members[day]
        energy = np.linalg.norm(x - y[day], axis=1).mean()
        energy -= 0.5 * np.mean([[np.linalg.norm(a - b) for b in x] for a in x])
        assert float(scores.energy_score(y, members)[day]) == pytest.approx(energy, rel=1e-12)
        variogram = sum(
            (abs(y[day, i] - y[day, j]) ** 0.5 - np.mean(np.abs(x[:, i] - x[:, j]) ** 0.5)) ** 2
            for i in range(4)
            for j in range(4)
        )
        assert float(scores.variogram_score(y, members)[day]) == pytest.approx(variogram, rel=1e-12)
    one_hour = scores.energy_score(y[:, :1], members[:, :, :1])
    np.testing.assert_allclose(one_hour, scores.crps_ensemble(y[:, 0], members[:, :, 0]), rtol=1e-12)


def test_the_variogram_score_sees_a_wrong_dependence():
    rng = np.random.default_rng(2)
    truth = np.linalg.cholesky(0.9 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8))))
    y = rng.normal(size=(200, 8)) @ truth.T
    joint = rng.normal(size=(200, 100, 8)) @ truth.T
    apart = rng.permuted(joint, axis=1)
    for score in (scores.variogram_score, scores.energy_score):
        assert float(np.mean(score(y, joint))) < float(np.mean(score(y, apart)))


def test_coverage_counts_the_ends():
    assert float(scores.coverage([1.0, 2.0, 3.0, 4.0], [1.0, 2.5, 0.0, 0.0], [2.0, 3.0, 3.0, 3.5])) == 0.5


def test_the_comparison_has_the_specified_digits():
    t = np.arange(1, 201)
    difference = 0.1 + np.sin(t) + 0.5 * np.sin(3 * t)
    assert scores.long_run_variance(difference, 24) == pytest.approx(0.0418843578, abs=5e-11)
    assert scores.long_run_variance(difference, 24, "rectangular") == pytest.approx(-0.8058082786, abs=5e-11)
    assert scores.small_sample_factor(200, 24) == pytest.approx(0.8824964589, abs=5e-11)
    statistic, p = scores.diebold_mariano(difference, 24)
    assert statistic == pytest.approx(6.1223497115, abs=5e-11)
    assert p == pytest.approx(2.0 * stats.t(199).sf(6.1223497115), rel=1e-8)


def test_the_comparison_holds_its_level_and_finds_a_difference():
    """2,000 pairs of equal forecasts whose score differences depend on each other over two days."""
    noise = np.random.default_rng(3).normal(size=(2000, 366))
    equal = noise[:, 1:] + 0.5 * noise[:, :-1]
    rejected = np.mean([scores.diebold_mariano(one, 2)[1] < 0.05 for one in equal])
    assert 0.03 < rejected < 0.08
    statistic, p = scores.diebold_mariano(equal[0] - 0.5, 2)
    assert statistic < 0 and p < 1e-4


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=40), st.integers(1, 5))
def test_the_long_run_variance_is_never_negative(values, horizon):
    size = np.square(values).sum()
    assert scores.long_run_variance(np.array(values), horizon) >= -1e-12 * size
    statistic, p = scores.diebold_mariano(np.array(values), horizon)
    assert not np.isnan(statistic) and 0.0 <= p <= 1.0


def test_equal_differences_and_slips():
    assert scores.diebold_mariano(np.zeros(9), 2) == (0.0, 1.0)
    assert scores.diebold_mariano(np.full(9, -0.25), 2) == (-np.inf, 0.0)
    for difference, horizon, key in (([1.0], 1, "difference"), ([1.0, np.nan, 2.0], 1, "difference"),
                                     ([1.0, 2.0, 3.0], 3, "horizon"), ([1.0, 2.0, 3.0], 0, "horizon")):  # fmt: skip
        with pytest.raises(InvalidInput) as told:
            scores.diebold_mariano(np.array(difference), horizon)
        assert told.value.key == key


def test_many_tests_are_adjusted_by_holms_steps():
    np.testing.assert_allclose(scores.holm(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.09, 0.09, 0.5])
