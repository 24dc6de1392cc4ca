"""Quotes played on a record by hand: fills, mark-outs, wealth, the grid of prices, and a regime known in time."""

from dataclasses import replace

import numpy as np
import pytest

from diffgames.calibration.back_test import Quoter, filtered_regime, play
from diffgames.calibration.hidden_markov import fit_volatility_regimes
from diffgames.calibration.market_maker import MarketRecord, batch_mean, fit_market, synthetic_record


@pytest.fixture
def record():
    """Three buyers reach 3, 1 and 5 ticks, one seller 2; the mid goes up by a dollar at the end."""
    return MarketRecord(
        interval=1.0,
        mid=np.array([10.0, 10.0, 10.0, 10.0, 11.0]),
        trade_time=np.array([0.5, 1.5, 2.5, 3.2]),
        depth=np.array([0.03, 0.01, 0.02, 0.05]),
        side=np.array([1, 1, -1, 1]),
        before=np.full(4, 10.0),
        markout=np.array([0.01, 0.0, 0.02, np.nan]),
        touch=np.full(4, 0.01),
        source="by hand",
    )


def test_a_fill_needs_the_depth_and_room_for_the_inventory(record):
    offset = np.array([[0.02, 0.02, 0.02]])
    quoter = Quoter(offset, offset, np.array([0.005]))
    fills = play(record, np.zeros(5, int), quoter, most=1)
    np.testing.assert_allclose(fills.time, [0.5, 2.5, 3.2])
    np.testing.assert_allclose(fills.wealth, [0.0, 0.02, 0.02, 0.04, 0.06 - 1.0], atol=1e-12)
    edge = fills.edge()
    assert edge["fills"] == 2 and edge["realised"] == pytest.approx(0.005) and edge["promised"] == pytest.approx(0.015)
    own = play(record, np.zeros(5, int), None, most=1)
    np.testing.assert_allclose(own.offset, 0.01)
    assert own.time.tolist() == [0.5, 2.5, 3.2]  # short at the limit, it does not sell to the second buyer
    coarse = play(record, np.zeros(5, int), quoter, grid=0.03, most=1)
    assert coarse.time.tolist() == [0.5] and coarse.offset[0] == pytest.approx(0.02, abs=0.0101)


def test_the_regime_is_known_from_the_past_alone():
    record = synthetic_record(seconds=3000.0, seed=1)
    fit = fit_volatility_regimes(record.moves, record.interval, 2)
    known = filtered_regime(fit, record.moves, record.interval)
    agree = np.mean(known[1:] == fit.probability.argmax(axis=1))
    assert agree > 0.85
    changed = record.moves.copy()
    changed[1500:] *= 50
    np.testing.assert_array_equal(filtered_regime(fit, changed, record.interval)[:1501], known[:1501])


def test_a_planted_impact_is_found_with_an_interval_that_holds_it():
    """95% intervals of ten records of two regimes: fewer than 16 of 20 would have a chance below 0.3%."""
    held = 0
    for seed in range(10):
        fit = fit_market(synthetic_record(seconds=3600.0, seed=seed, impact=0.01), 2)
        held += int(np.sum(np.abs(fit.impact - 0.01) < 2.1 * fit.impact_error))
    assert held >= 16
    assert np.isnan(batch_mean(np.arange(5.0), np.ones(5))[1])
    part = synthetic_record(seconds=600.0).part(100, 200)
    assert part.mid.size == 100 and np.all(np.isnan(part.markout[part.trade_time > 95.0]))
    assert replace(part, spread=np.ones(100)).part(0, 50).spread.size == 50
