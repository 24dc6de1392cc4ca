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


def test_orders_take_their_lots_and_every_fill_pays_the_fee(record):
    """Orders of 1½, 1, 1 and 4 lots meet a quoter with room for two: 1½ are sold, 1 bought back, 1½ sold."""
    offset = np.full((1, 5), 0.02)
    quoter = Quoter(offset, offset, np.array([0.005]))
    sized = replace(record, size=np.array([150.0, 100.0, 100.0, 400.0]))
    fills = play(sized, np.zeros(5, int), quoter, most=2, lot=100.0, fee=0.003)
    np.testing.assert_allclose(fills.lots, [1.5, 1.0, 1.5])
    np.testing.assert_allclose(fills.offset, 0.017)
    assert fills.wealth[-1] == pytest.approx(4.0 * 0.017 - 2.0 * 1.0)
    edge = fills.edge()
    assert edge["realised"] == pytest.approx((1.5 * 0.007 - 0.003) / 2.5) and edge["promised"] == pytest.approx(0.012)
    rebate = play(sized, np.zeros(5, int), quoter, most=2, lot=100.0, fee=-0.003)
    assert rebate.wealth[-1] - fills.wealth[-1] == pytest.approx(4.0 * 0.006)


def test_profits_of_the_regimes_add_up(record):
    offset = np.full((2, 3), 0.02)
    fills = play(record, np.array([0, 1, 1, 0, 0]), Quoter(offset, offset, np.zeros(2)), most=1)
    gains = np.diff(fills.wealth)
    assert fills.profit()[0] == pytest.approx(gains.mean())
    assert fills.profit(0)[0] == pytest.approx(gains[[0, 3]].mean())
    assert fills.profit(1)[0] == pytest.approx(gains[[1, 2]].mean())


def test_a_weighted_batch_mean_is_that_of_the_values_repeated():
    value, weight = np.random.default_rng(0).normal(size=400), np.tile([1.0, 2.0], 200)
    mean, error = batch_mean(np.arange(400.0), value, weight)
    assert mean == pytest.approx(np.repeat(value, weight.astype(int)).mean())
    parts = np.split(weight * (value - mean), 20)
    assert error == pytest.approx(np.std([part.sum() for part in parts], ddof=1) * np.sqrt(20) / 600)
