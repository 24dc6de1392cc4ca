"""Stylised facts against planted series, direct formulas, and the same books recorded and simulated."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.markets import facts
from diffgames.markets.ecn_scores import LevelPaths
from diffgames.markets.facts import BookSeries, of_level2, of_paths, of_record, statistics
from diffgames.markets.market_state import StepRecord
from diffgames.markets.synthetic import synthetic_level2


def series_of(mid, spread=None, bid=None, ask=None) -> BookSeries:
    """Blocks in columns; a spread of one tick and constant volumes unless given."""
    mid = np.asarray(mid, float)
    volume = np.ones((*mid.shape, 1))
    given = lambda value: volume if value is None else np.asarray(value, float)[..., None]  # noqa: E731 - in a test
    return BookSeries(mid, np.ones(mid.shape) if spread is None else np.asarray(spread, float), given(bid), given(ask))


def test_a_random_walk_has_the_facts_of_its_law():
    """Steps of ±1 with probability p each: variance 2p, kurtosis 1/2p, a flat signature plot, no autocorrelation."""
    p = 0.1
    steps = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], p=[p, 1 - 2 * p, p], size=(99, 2000))
    values = facts.with_intervals(series_of(np.cumsum(steps, axis=0)))
    truth = {"unchanged_share": 1 - 2 * p, "kurtosis": 1 / (2 * p), "change_autocorrelation": 0.0}
    truth |= {name: np.sqrt(2 * p) for name in ("mid_deviation", "mid_deviation_5", "mid_deviation_30")}
    for name, true in truth.items():
        value, half = values[name]
        assert abs(value - true) < 2 * half and half < 0.1 * max(true, 0.1), name


def test_a_full_queue_foretells_the_price_as_planted():
    """The mid follows the sign of the imbalance with probability p and stays otherwise: correlation √p, then none."""
    rng, p, shape = np.random.default_rng(4), 0.3, (101, 2000)
    sign, follows = rng.choice([-1.0, 1.0], shape), rng.random(shape) < p
    mid = np.cumsum(np.where(follows, sign, 0.0), axis=0)
    values = facts.with_intervals(series_of(mid[:-1], bid=2 + sign[1:], ask=2 - sign[1:]))
    for name, truth in (("imbalance_correlation", p**0.5), ("imbalance_correlation_5", (p / 5) ** 0.5)):
        value, half = values[name]
        assert abs(value - truth) < 2 * half < 0.05, name
    assert np.isnan(statistics(series_of(mid))["imbalance_correlation"])  # queues that never differ tell nothing


def test_order_flow_and_resilience_of_a_hand_made_book():
    """Bid stays and gains 3; ask's last 2 lots go and 7 stand a tick above; two steps on the spread is back."""
    mid = np.array([0.5, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5])[:, None]
    spread = np.array([1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0])[:, None]
    bid = np.array([4.0, 7, 7, 7, 7, 7, 7])[:, None]
    ask = np.array([2.0, 7, 7, 5, 5, 5, 5])[:, None]
    found = statistics(series_of(mid, spread, bid, ask))
    assert found["volume_per_step"] == pytest.approx((3 + 2 + 0 + 5) / 6)
    assert found["resilience"] == 1.0
    spread[4:] = 1.5  # half of it comes back for good
    assert statistics(series_of(mid, spread, bid, ask))["resilience"] == 0.5


def test_the_jackknife_covers():
    noise, hits = np.random.default_rng(2), 0
    for _ in range(60):
        value, half = facts.with_intervals(series_of(np.cumsum(noise.normal(size=(30, 40)), axis=0)))["mid_deviation"]
        hits += abs(value - 1.0) <= half
    assert hits >= 51  # of 57 expected; binomial deviation 1.7


def test_one_book_as_record_and_as_data_and_a_warning_that_names_what_differs():
    data = synthetic_level2(seconds=1600, seed=1)
    recorded = of_level2(data, 3, 100)
    assert recorded.mid.shape == (100, 16)
    np.testing.assert_array_equal(recorded.mid[:, 0], data.double_mid[:100] / 2)
    record = object.__new__(StepRecord)  # with the fields that books have
    books = {
        "best_bid": recorded.mid - recorded.spread / 2,
        "best_ask": recorded.mid + recorded.spread / 2,
        "level_volume": np.concatenate([recorded.bid, recorded.ask], axis=-1),
    }
    for name, values in books.items():
        object.__setattr__(record, name, values[:, :, None])
    same = facts.compare(recorded, of_record(record))
    np.testing.assert_array_equal(same.value[:, 0], same.value[:, 1])
    assert not facts.warnings(same)
    other = facts.compare(recorded, recorded._replace(mid=3 * recorded.mid))
    (said,) = facts.warnings(other)
    assert "mid_deviation " in said and "unchanged_share" not in said and "depth" not in said


def test_paths_of_an_exchange_alone_are_books_after_each_step():
    """Half-ticks add up to the mid; the steps of settling go; bid levels come first."""
    moves, volume = np.array([[1.0, -2.0, 3.0], [0.0, 1.0, 1.0]]), np.arange(24.0).reshape(2, 3, 4)
    series = of_paths(LevelPaths(*map(jnp.asarray, (volume, moves + 5, moves))), settling=1)
    np.testing.assert_array_equal(series.mid, [[-0.5, 0.5], [1.0, 1.0]])
    np.testing.assert_array_equal(series.spread, [[3.0, 6.0], [8.0, 6.0]])
    np.testing.assert_array_equal(series.bid[:, 0], [[4.0, 5.0], [8.0, 9.0]])
    np.testing.assert_array_equal(series.ask[:, 1], [[18.0, 19.0], [22.0, 23.0]])


def test_a_record_with_gaps_gives_blocks_without(shared_data):
    """Every block is a stretch of the record whose rows follow one another; the ES file's facts as published."""
    from diffgames.markets.level2 import read_level2

    data = read_level2(shared_data / "es" / "ESH4_2023-12-25_82800000_86400000_l2_10_1s.csv.gz")
    found = statistics(of_level2(data, 5, 100))
    assert found["mid_deviation"] == pytest.approx(0.311, abs=0.01)
    assert found["unchanged_share"] == pytest.approx(0.896, abs=0.01)
    assert found["kurtosis"] == pytest.approx(25.6, abs=1.0)
