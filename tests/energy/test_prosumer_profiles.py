"""A zone's day as a crowd: types' loads add up, the supply curve is found again, gaps and wrong units are told."""

from dataclasses import replace

import numpy as np
import pytest

from diffgames.energy.hours import read_hours, synthetic_hours
from diffgames.energy.prosumer_profiles import Supply, crowd_of_day, day_of, fit_supply
from diffgames.errors import InvalidInput

SIZES = {"pv": 2.0, "capacity": 4.0, "power": 1.0, "start": (0.0, 4.0), "flexible": 0.2, "efficiency": 0.95,
         "wear": 2.0, "moving": 10.0, "members": 5, "spread": 0.4}  # fmt: skip
SHARE = (0.45, 0.15, 0.2, 0.2)


@pytest.fixture(scope="module")
def record():
    return synthetic_hours("Europe/Madrid", 0, 60)


def test_the_types_loads_add_up_to_the_zones(record):
    profile = day_of(record)
    crowd = crowd_of_day(profile, Supply(0.0, 100.0), SHARE, **SIZES)
    np.testing.assert_allclose(crowd.load @ crowd.weight, profile.load, rtol=1e-12)
    np.testing.assert_allclose(crowd.solar @ crowd.weight, 0.35 * 2.0 * profile.sun, atol=1e-12)
    assert crowd.start.max() < 4.0 and crowd.start[crowd.kind == 2].mean() == pytest.approx(2.0)


def test_the_supply_curve_is_found_again(record):
    series = dict(record.series)
    left = (series["load"] - series["solar"] - series["wind"]) / series["load"].mean()
    found = fit_supply(replace(record, series=series | {"price": 7.0 + 55.0 * left}))
    assert (found.intercept, found.slope, found.r2) == pytest.approx((7.0, 55.0, 1.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p / 1000.0, "€/kWh"),
        (lambda p: -p, "rises with load"),
        (lambda p: np.full_like(p, np.nan), "48 at least"),
    ],
)
def test_prices_that_make_no_supply_curve_are_told(record, change, words):
    series = record.series | {"price": change(record.series["price"])}
    with pytest.raises(InvalidInput, match=words):
        fit_supply(replace(record, series=series))


@pytest.mark.parametrize(
    ("day", "words"), [("20-6-2021", "a date like"), ("1999-01-01", "without gaps"), ("2021-01-05", "without gaps")]
)
def test_days_that_are_not_there_are_told(record, day, words):
    gap = record.series["wind"].copy()
    gap[24 * 4 + 12] = np.nan
    with pytest.raises(InvalidInput, match=words):
        day_of(replace(record, series=record.series | {"wind": gap}), day)


@pytest.mark.parametrize(
    ("share", "start", "words"),
    [((0.5, 0.5), (0.0, 1.0), "4 shares"), ((0.02, 0.01, 0.01, 0.96), (0.0, 1.0), "negative load"),
     (SHARE, (0.0, 5.0), "battery's capacity")],
)  # fmt: skip
def test_crowds_that_cannot_be_are_told(record, share, start, words):
    with pytest.raises(InvalidInput, match=words):
        crowd_of_day(day_of(record), Supply(0.0, 100.0), share, **(SIZES | {"start": start}))


def test_a_real_zone(shared_data):
    columns = {"load": "DE_load", "solar": "DE_solar", "wind": "DE_wind", "price": "DE_LU_price_da"}
    record = read_hours(shared_data / "energy/opsd_de_2018_hourly.csv.gz", "DE", columns=columns)
    supply = fit_supply(record)
    assert supply.slope == pytest.approx(76.7, abs=0.1) and supply.r2 == pytest.approx(0.817, abs=0.001)
    assert day_of(record).day == "2018-07-02" and day_of(record, "2018-11-20").price is not None
