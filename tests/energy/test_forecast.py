"""Day-ahead forecasts: nothing is seen early, laws are found again, scenarios keep laws and ranks."""

import numpy as np
import pytest

from diffgames.energy.forecast import (
    YEAR,
    Covariates,
    Fitted,
    Forecast,
    by_day,
    covariates_of,
    drift_factor,
    fit_head,
    fit_location,
    holidays,
)
from diffgames.energy.hours import synthetic_hours
from diffgames.energy.scores import crps_t
from diffgames.errors import InvalidInput


def test_what_is_published_after_the_issue_is_refused():
    found = Covariates()
    found.add("known", np.zeros((3, 24)), -12.0)
    with pytest.raises(InvalidInput, match="published by -12 h"):
        found.add("actual of the same day", np.zeros((3, 24)), 1.0)


def test_no_covariate_moves_with_what_comes_after_the_issue():
    days, y = by_day(synthetic_hours("Europe/Madrid", 0, 80), "load")
    operator = y + 1.0
    before = covariates_of(days, y, operator).table()[60]
    later, later_operator = y.copy(), operator.copy()
    later[59, 12:], later[60:], later_operator[61:] = 0.0, 0.0, 0.0
    np.testing.assert_array_equal(covariates_of(days, later, later_operator).table()[60], before)
    later[59, 10] += 50.0
    assert not np.array_equal(covariates_of(days, later, later_operator).table()[60], before)


def test_days_of_23_and_25_hours_lie_on_24():
    record = synthetic_hours("Europe/Madrid", 1, 400)
    days, y = by_day(record, "load")
    missing = days[np.isnan(y).any(1)].astype(str).tolist()
    assert "2021-03-28" in missing and "2021-10-31" not in missing


def test_holidays_are_those_of_the_calendar():
    days = np.array(["2018-03-30", "2018-04-02", "2018-04-03", "2018-12-25"], "datetime64[D]")
    assert holidays(days).tolist() == [1.0, 1.0, 0.0, 1.0]


def drawn(nu=4.0):
    """Two years of t errors whose scale at 6:00 is twice that at 18:00."""
    hour = np.tile(np.arange(24.0), (2 * YEAR, 1))
    scale = 150.0 * np.exp(0.5 * np.log(2.0) * np.sin(2 * np.pi * hour / 24))
    y = scale * np.random.default_rng(5).standard_t(nu, size=hour.shape)
    angle = 2 * np.pi * hour / 24
    inputs = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=-1)
    return Fitted(y, np.zeros_like(y), inputs, slice(0, YEAR), slice(YEAR, 2 * YEAR), 0.0), scale


def test_the_head_finds_scale_and_tails_and_scores_like_the_true_law():
    fitted, scale = drawn()
    law = fit_head(fitted, "t", half_life=1e6, updates=300)
    y, ours = fitted.y[YEAR:], np.asarray(crps_t(fitted.y[YEAR:], law.location[YEAR:], law.scale[YEAR:], law.df[YEAR:]))
    true = np.asarray(crps_t(y, 0.0, scale[YEAR:], 4.0))
    assert ours.mean() < 1.01 * true.mean() and 2.5 < np.median(law.df) < 8.0
    assert law.scale[YEAR:, 6].mean() / law.scale[YEAR:, 18].mean() == pytest.approx(2.0, rel=0.1)
    normal = fit_head(fitted, "normal", half_life=1e6, updates=300)
    gauss = np.asarray(crps_t(y, normal.location[YEAR:], normal.scale[YEAR:], normal.df[YEAR:]))
    assert np.isinf(normal.df).all() and ours.mean() < gauss.mean()
    inside = (y >= law.quantile(0.05)[YEAR:]) & (y <= law.quantile(0.95)[YEAR:])
    assert 0.88 < inside.mean() < 0.92


def test_the_scale_follows_drift_two_days_late():
    error = np.where(np.arange(60)[:, None] < 30, 100.0, 400.0) * np.ones((60, 24))
    factor = drift_factor(error, 100.0, 3.0)
    np.testing.assert_allclose(factor[:32], 1.0)
    assert factor[32] > 1.0 and factor[-1] == pytest.approx(4.0, rel=0.01)


def test_scenarios_have_the_laws_quantiles_in_the_ranks_of_the_template():
    random = np.random.default_rng(2)
    template = random.normal(size=(31, 24)).cumsum(1)
    law = Forecast(np.full((2, 24), 5.0), np.full((2, 24), 3.0), np.full((2, 24), 4.0))
    found = law.scenarios(template)
    np.testing.assert_array_equal(np.argsort(found[1], axis=0), np.argsort(template, axis=0))
    np.testing.assert_allclose(np.median(found, axis=1), law.quantile(0.5))


def test_too_short_a_record_is_refused():
    days, y = by_day(synthetic_hours("Europe/Madrid", 0, 400), "load")
    with pytest.raises(InvalidInput, match="two years are held out"):
        fit_location(y, y, covariates_of(days, y), 5, 0)
