"""Verdicts on signs: Student's t and Holm's steps by hand, a planted wrong sign, and what chance alone shows."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from diffgames.verification.claims import first_critical, holm, judge, slope_on


def test_a_slope_is_that_of_least_squares_and_leaves_out_what_does_not_exist():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=9), rng.normal(size=9)
    assert slope_on(x, y) == pytest.approx(np.polyfit(x, y, 1)[0])
    y[[0, 4]] = np.nan
    assert slope_on(x, y) == pytest.approx(np.polyfit(np.delete(x, [0, 4]), np.delete(y, [0, 4]), 1)[0])
    assert np.isnan(slope_on(x, np.full(9, np.nan))) and np.isnan(slope_on(np.ones(9), rng.normal(size=9)))


def test_holm_s_steps_by_hand():
    """.005·4, .01·3, .03·2, and .04·1 raised to the one before it."""
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])


def test_p_is_student_s_over_trainings():
    slopes = np.random.default_rng(1).normal(0.3, 1.0, size=(6, 4))
    found, known = judge(slopes, [1] * 4), ttest_1samp(slopes, 0.0)
    np.testing.assert_allclose(found.p_value, known.pvalue)
    np.testing.assert_allclose(found.t, known.statistic)
    np.testing.assert_allclose(found.error, slopes.std(axis=0, ddof=1) / np.sqrt(6))


def test_a_planted_wrong_sign_is_reversed_and_its_opposite_as_claimed():
    rng = np.random.default_rng(2)
    slopes = np.column_stack([rng.normal(-1.0, 0.05, 5), rng.normal(-1.0, 0.05, 5), rng.normal(0.0, 1.0, 5)])
    assert list(judge(slopes, [+1, -1, +1]).verdict) == [-1, 1, 0]


@pytest.mark.parametrize("common", [0.0, 3.0])
def test_chance_alone_is_called_flat_at_the_stated_level(common):
    """24 claims without a slope, independent or sharing a training's luck: any false verdict in at most 5% of 600."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(600):
        slopes = rng.normal(size=(5, 24)) + common * rng.normal(size=(5, 1))
        wrong += bool(np.any(judge(slopes, [1, -1] * 12).verdict))
    assert wrong <= 46  # Binomial(600, .05) is above with probability .001


def test_without_correction_chance_would_be_taken_for_behavior():
    """The test above can fail: at an uncorrected 5% most of the families hold a false verdict."""
    rng = np.random.default_rng(4)
    raw = [judge(rng.normal(size=(5, 24)), [1] * 24).p_value.min() <= 0.05 for _ in range(200)]
    assert np.mean(raw) > 0.5


def test_what_was_not_measured_is_flat_and_still_counts():
    slopes = np.column_stack([np.full(4, np.nan), [0.1, np.nan, np.nan, np.nan], [1.0, 1.1, 0.9, 1.0], np.zeros(4)])
    found = judge(slopes, [1, 1, 1, 1])
    assert list(found.verdict) == [0, 0, 1, 0] and np.isnan(found.slope[0]) and np.isnan(found.error[1])
    assert found.adjusted[2] == pytest.approx(4 * found.p_value[2])


@pytest.mark.parametrize(("factor", "verdict"), [(1.01, 1), (0.99, 0)])
def test_the_clearest_claim_is_shown_beyond_the_first_critical_value(factor, verdict):
    noise = np.random.default_rng(5).normal(size=5)
    noise -= noise.mean()
    slope = factor * first_critical(5, 24) * noise.std(ddof=1) / np.sqrt(5)
    slopes = np.column_stack([noise + slope] + [noise] * 23)
    assert list(judge(slopes, [1] * 24).verdict) == [verdict] + [0] * 23
