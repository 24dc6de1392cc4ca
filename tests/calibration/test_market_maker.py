"""Estimates of A, k, σ and the generator: from records of the model itself they come back, from a LOBSTER day too."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import logsumexp

from diffgames.calibration.hidden_markov import fit_volatility_regimes, generator_of_transitions
from diffgames.calibration.market_maker import (
    fit_market,
    intervals,
    record_from_lobster,
    record_of,
    synthetic_record,
)
from diffgames.calibration.observed_information import deviation_errors
from diffgames.errors import InvalidInput
from diffgames.markets.lobster import LobsterBook, LobsterMessages, read_pair
from diffgames.markets.synthetic_tables import synthetic_quotes
from diffgames.markets.top_of_book import as_events


def test_the_model_is_recovered_from_its_own_record():
    fit = fit_market(synthetic_record(seconds=14_400.0, seed=3), 2)
    np.testing.assert_allclose(fit.sigma, [0.02, 0.06], rtol=0.05)
    np.testing.assert_allclose(fit.k, [40.0, 25.0], rtol=0.06)
    np.testing.assert_allclose(fit.A, [1.0, 1.5], rtol=0.08)
    leave = -np.diag(fit.generator)
    assert np.all(leave > 0.3 / np.array([300, 120])) and np.all(leave < 3 / np.array([300, 120]))
    assert np.all(fit.misfit < 2.0 / np.sqrt(0.75 * fit.orders)) and fit.share.sum() == pytest.approx(1.0)


def test_one_regime_is_the_sample_variance():
    returns = np.random.default_rng(0).normal(size=500) * 0.3
    fit = fit_volatility_regimes(returns, 4.0, 1)
    assert fit.sigma[0] == pytest.approx(np.sqrt((returns**2).mean() / 4.0))
    assert fit.log_likelihood == pytest.approx(-250 * (np.log(2 * np.pi * (returns**2).mean()) + 1))


def likelihood(returns, variance, transition, start):
    """log p(r) by the forward recursion, in logarithms."""
    density = -0.5 * returns[:, None] ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
    row = np.log(np.maximum(start, 1e-300)) + density[0]
    for one in density[1:]:
        row = logsumexp(row[:, None] + np.log(transition), axis=0) + one
    return logsumexp(row)


def test_the_fit_maximises_the_likelihood():
    """No prior pulls the small variances of returns in dollars; the reported likelihood is the recursion's."""
    returns = np.diff(synthetic_record(seconds=1500.0, seed=1).mid)
    fit = fit_volatility_regimes(returns, 1.0, 2)
    start = np.eye(2)[int(fit.probability[0].argmax())]
    best = likelihood(returns, fit.sigma**2, fit.transition, start)
    assert fit.log_likelihood == pytest.approx(best, abs=1e-3)
    for factor in (0.97, 1.03):
        assert likelihood(returns, (factor * fit.sigma) ** 2, fit.transition, start) < best
        stay = np.diag(fit.transition) ** factor
        moved = np.array([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]])
        assert likelihood(returns, fit.sigma**2, moved, start) < best + 1e-3


def test_generators_come_back_from_their_transitions():
    generator = np.array([[-0.5, 0.4, 0.1], [0.6, -0.9, 0.3], [0.2, 0.8, -1.0]])
    np.testing.assert_allclose(generator_of_transitions(expm(0.5 * generator), 0.5), generator, atol=1e-10)
    flip = np.array([[0.1, 0.9], [0.9, 0.1]])  # has no real logarithm
    np.testing.assert_allclose(generator_of_transitions(flip, 1.0), flip - np.eye(2))
    never = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]])  # its logarithm has negative rates
    for step in (1e-10, 1.0, 3e10):  # whatever the unit of time
        np.testing.assert_allclose(generator_of_transitions(never, step) * step, never - np.eye(3), atol=1e-12)


def test_a_market_order_is_its_executions_of_one_instant():
    """Two executions at 10.0 s walk the ask to depth 0.03; a hidden one inside the spread reaches no quote."""
    events = LobsterMessages(
        time=np.array([0.0, 10.0, 10.0, 11.0, 20.0]),
        type=np.array([1, 4, 4, 5, 1]),
        order_id=np.arange(5),
        size=np.full(5, 100),
        price=np.array([100_0000, 100_0100, 100_0300, 99_9900, 100_0000]),
        direction=np.array([1, -1, -1, -1, 1]),
    )
    ask, bid = np.array([[100_0100], [100_0300], [100_0500], [100_0500], [100_0500]]), np.full((5, 1), 99_9900)
    book = LobsterBook(ask, np.full((5, 1), 100), bid, np.full((5, 1), 100))
    record = record_of(events, book, 5.0)
    np.testing.assert_allclose(record.mid, [100.0, 100.0, 100.02, 100.02])
    np.testing.assert_allclose(record.depth, [0.03])
    assert record.side.tolist() == [1] and record.trade_time.tolist() == [10.0]


def test_intervals_of_the_estimates_hold_the_truth():
    """95% intervals of 20 records: fewer than 34 of 40 would have a chance below 0.5%."""
    truth = {"sigma": [0.02, 0.06], "A": [1.0, 1.5], "k": [40.0, 25.0]}
    found = [intervals([fit_market(synthetic_record(seconds=2400.0, seed=seed), 2)]) for seed in range(20)]
    for name, wanted in truth.items():
        bounds = np.stack([one[name] for one in found])
        assert np.sum((bounds[..., 0] <= wanted) & (wanted <= bounds[..., 1])) >= 34, name
    moves = np.random.default_rng(0).normal(size=400)
    deviation = np.sqrt((moves**2).mean())
    alone = deviation_errors(moves, np.asarray([deviation]), np.ones((1, 1)), np.ones(1))
    np.testing.assert_allclose(alone, deviation / np.sqrt(800), rtol=1e-9)


def test_a_grid_that_begins_later_moves_no_estimate_out_of_its_interval(shared_data):
    """Apple's calm volatility, by a grid of 5 s, is .029 from the first quote on and .015 from 3 s later."""
    stem = str(shared_data / "lobster" / "AAPL_2012-06-21_34200000_37800000_")
    events, book = read_pair(stem + "message_50.csv.gz", stem + "orderbook_10_rebuilt.csv.gz")
    fits = [fit_market(record_of(events, book, 5.0, wait), 2) for wait in (0.0, 3.0)]
    assert fits[0].sigma[0] > 1.5 * fits[1].sigma[0]
    for name, bounds in intervals(fits).items():
        for fit in fits:
            assert np.all((bounds[:, 0] <= getattr(fit, name)) & (getattr(fit, name) <= bounds[:, 1]))
    with pytest.raises(InvalidInput, match="wait"):
        record_of(events, book, 5.0, 5.0)


def test_apple_is_two_regimes(shared_data):
    stem = str(shared_data / "lobster" / "AAPL_2012-06-21_34200000_37800000_")
    record = record_from_lobster(stem + "message_50.csv.gz", stem + "orderbook_10_rebuilt.csv.gz", 5.0)
    fit = fit_market(record, 2)
    assert 584 < record.mid.min() < record.mid.max() < 589
    assert fit.sigma[1] > 2 * fit.sigma[0] > 0.03 and fit.A[1] > fit.A[0]
    assert np.all((fit.k > 10) & (fit.k < 40)) and fit.share[0] > 0.7


def test_bad_input_is_named():
    record = synthetic_record(seconds=120.0)
    for match, call in (
        ("regimes", lambda: fit_market(record, 6)),
        ("cutoff", lambda: fit_market(record, 1, cutoff=1.0)),
        ("interval", lambda: fit_volatility_regimes(np.zeros(100), 1.0, 1)),
        ("regimes", lambda: fit_volatility_regimes(np.ones(30), 1.0, 2)),
    ):
        with pytest.raises(InvalidInput, match=match):
            call()


def test_a_record_has_the_intervals_it_was_asked_for():
    """0.3 / 0.1 is 2.9999… in floating point."""
    assert synthetic_record(seconds=0.3, interval=0.1).mid.size == 3
    for seconds, interval in ((600.0, 1000.0), (1.0, 0.0), (np.inf, 1.0), (1e18, 1.0)):
        with pytest.raises(InvalidInput, match=r"seconds|interval"):
            synthetic_record(seconds=seconds, interval=interval)


def day(steps=4000, seed=0):
    """A LOBSTER day of one level: an event a second on average, each with a quote; every fourth one is an execution."""
    rng = np.random.default_rng(seed)
    mid = 100_0000 + 100 * np.cumsum(rng.integers(-2, 3, steps))
    bought = rng.choice([-1, 1], steps)
    kind = np.where(np.arange(steps) % 4 == 3, np.where(np.arange(steps) % 8 == 3, 5, 4), 1)
    events = LobsterMessages(
        time=34_200 + np.cumsum(rng.exponential(size=steps)),
        type=kind,
        order_id=np.arange(steps),
        size=np.full(steps, 100),
        price=np.roll(mid, 1) + bought * 100 * rng.integers(1, 6, steps),
        direction=-bought,
    )
    size = np.full((steps, 1), 100)
    return events, LobsterBook(mid[:, None] + 100, size, mid[:, None] - 100, size)


def with_halt(events, book, at, length):
    """The day with a halt before event `at`; what follows comes later by its length."""

    def insert(values, added):
        return np.concatenate([values[:at], added, values[at:]])

    later = events.time + np.where(np.arange(len(events)) >= at, length, 0.0)
    start, none = events.time[at - 1], np.zeros(2, int)
    halted = LobsterMessages(
        time=insert(later, [start, start + length]),
        type=insert(events.type, none + 7),
        order_id=insert(events.order_id, none),
        size=insert(events.size, none),
        price=insert(events.price, [-1, 1]),
        direction=insert(events.direction, none - 1),
    )
    rows = insert(np.arange(len(events)), [at - 1, at - 1])
    return halted, LobsterBook(book.ask_price[rows], book.ask_size[rows], book.bid_price[rows], book.bid_size[rows])


def same_market(record, base, **tolerance):
    one, two = fit_market(record, 1), fit_market(base, 1)
    for name in ("sigma", "A", "k", "orders"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), err_msg=name, **tolerance)


def test_a_halt_is_cut_out_with_the_price_that_moved_across_it():
    events, book = day()
    base = record_of(events, book, 5.0)
    assert base.notes == ()
    record = record_of(*with_halt(events, book, 2000, 600.0), 5.0)
    same_market(record, base, rtol=0.005)  # the move of the one event that ends the halt lies across the cut
    assert any("2 in a halt" in note for note in record.notes) and any(
        "s without quotes in 1 pieces" in n for n in record.notes
    )
    higher = np.where(np.arange(len(events)) >= 2000, 50_0000, 0)  # reopens at another price
    lifted = replace(events, price=events.price + higher)
    moved = LobsterBook(
        book.ask_price + higher[:, None], book.ask_size, book.bid_price + higher[:, None], book.bid_size
    )
    np.testing.assert_allclose(
        fit_market(record_of(*with_halt(lifted, moved, 2000, 600.0), 5.0), 1).sigma,
        fit_market(base, 1).sigma,
        rtol=0.02,
    )


def test_time_with_an_empty_side_is_cut_out():
    events, book = day()
    ask = book.ask_price.copy()
    ask[1990:2000] = 9_999_999_999
    later = replace(events, time=events.time + np.where(np.arange(len(events)) >= 2000, 600.0, 0.0))
    record = record_of(later, LobsterBook(ask, book.ask_size, book.bid_price, book.bid_size), 5.0)
    same_market(record, record_of(events, book, 5.0), rtol=0.02)
    assert any("10 with an empty side" in note for note in record.notes)


def test_crossed_rows_are_left_out_and_counted():
    events, book = day()
    bid = book.bid_price.copy()
    bid[50::100, 0] = book.ask_price[50::100, 0] + 3_0000
    record = record_of(events, LobsterBook(book.ask_price, book.ask_size, bid, book.bid_size), 5.0)
    same_market(record, record_of(events, book, 5.0), rtol=0.03)
    assert record.notes == ("rows of the order book left out: 40 crossed or locked",)


def test_hidden_executions_without_a_side_take_that_of_the_mid_they_lie_on():
    events, book = day()
    unsaid = replace(events, direction=np.where(events.type == 5, 1, events.direction))
    record, base = record_of(unsaid, book, 5.0), record_of(events, book, 5.0)
    np.testing.assert_array_equal(record.side, base.side)
    np.testing.assert_array_equal(record.depth, base.depth)
    assert "give no side" in record.notes[-1]


def test_the_criterion_says_no_regimes_where_there_are_none():
    """Moves of one tick either way: two regimes gain nothing, and BIC asks for a gain of 11.4 from 2,000 returns."""
    returns = np.random.default_rng(1).choice([-1.0, 1.0], 2000)
    fit = fit_volatility_regimes(returns, 1.0, 2)
    assert fit.supported == 1 and fit.converged
    alone = fit_volatility_regimes(returns, 1.0, 1)
    assert fit.criterion[0] == pytest.approx(-2 * alone.log_likelihood + np.log(2000))
    assert fit.criterion[1] == pytest.approx(-2 * fit.log_likelihood + 4 * np.log(2000))
    assert not fit_volatility_regimes(np.diff(synthetic_record(seconds=600.0).mid), 1.0, 2, iterations=2).converged
    assert fit_volatility_regimes(np.diff(synthetic_record(seconds=1500.0, seed=1).mid), 1.0, 2).supported == 2


def test_more_regimes_never_lose_likelihood(shared_data):
    stem = str(shared_data / "lobster" / "AAPL_2012-06-21_34200000_37800000_")
    moves = record_from_lobster(stem + "message_50.csv.gz", stem + "orderbook_10_rebuilt.csv.gz", 5.0).moves
    fits = [fit_volatility_regimes(moves, 5.0, count) for count in (2, 3)]
    assert fits[0].log_likelihood < 600 < 625.3 < fits[1].log_likelihood


def test_a_record_has_the_length_it_is_asked_for():
    assert synthetic_record(seconds=0.3, interval=0.1).mid.size == 3
    with pytest.raises(InvalidInput, match="interval"):
        synthetic_record(seconds=600.0, interval=1000.0)


def test_who_fills_depends_on_the_place_in_the_queue():
    """At 10 s all 100 at 100.01 are bought, at 20 s 40 of 100, at 30 s two levels of bids."""
    events = LobsterMessages(
        time=np.array([0.0, 10.0, 20.0, 30.0, 30.0, 40.0]),
        type=np.array([1, 4, 4, 4, 4, 1]),
        order_id=np.arange(6),
        size=np.array([100, 100, 40, 100, 20, 1]),
        price=np.array([1, 100_0100, 100_0300, 99_9900, 99_9800, 1]),
        direction=np.array([1, -1, -1, 1, 1, 1]),
    )
    ask = np.array([[100_0100], [100_0300], [100_0300], [100_0300], [100_0300], [100_0300]])
    bid = np.array([[99_9900], [99_9900], [99_9900], [99_9800], [99_9800], [99_9800]])
    record = record_of(events, LobsterBook(ask, 0 * ask + 1, bid, 0 * bid + 1), 5.0)
    assert record.size is not None and record.behind is not None
    np.testing.assert_allclose(record.depth, [0.01, 0.02, 0.03])  # from mids of 100, 100.01 and 100.01
    np.testing.assert_allclose(record.behind, [0.01, 0.01, 0.02])
    assert record.size.tolist() == [100, 40, 120] and record.lots(40.0).tolist() == [2.5, 1.0, 3.0]
    last = record.last_in_queue()
    np.testing.assert_allclose(last.depth, record.behind)
    touching = replace(record, behind=np.array([0.0, 0.0, 0.01])).last_in_queue()
    assert touching.trade_time.tolist() == [30.0] and touching.size.tolist() == [120]


def test_quotes_and_trades_give_the_parameters_back():
    """A, k and σ of the generator lie in the 95% intervals of ten tables in 24 of 30 cases (fewer: 0.3%)."""
    held = 0
    for seed in range(10):
        quotes, trades = synthetic_quotes(
            seconds=2400.0, sigma=0.03, A=1.0, k=40.0, tick=0.0001, half_spread=20, seed=seed
        )
        record = record_of(*as_events(quotes, trades), 1.0, unit=1.0 / quotes.tick, tick=quotes.tick)
        found = intervals([fit_market(record, 1)])
        for name, truth in (("sigma", 0.03), ("A", 1.0), ("k", 40.0)):
            held += int(found[name][0, 0] <= truth <= found[name][0, 1])
        assert np.median(record.spread) == pytest.approx(0.004)
    assert held >= 24


def test_a_table_without_sides_is_the_same_record():
    quotes, trades = synthetic_quotes(seconds=600.0)
    kept = replace(trades, side=np.zeros(len(trades), int))
    one, two = (record_of(*as_events(quotes, each), 1.0, unit=1 / quotes.tick) for each in (trades, kept))
    np.testing.assert_array_equal(one.side, two.side)
    np.testing.assert_array_equal(one.depth, two.depth)


def test_an_order_counts_as_often_as_it_has_lots():
    """Sizes of 1 and 3 lots at random: A is twice the rate of orders; its interval holds the truth in 20 records."""
    held, truth = 0, 2.0
    for seed in range(20):
        record = synthetic_record(seconds=2400.0, seed=seed, sigma=(0.02,), A=(1.0,), k=(40.0,), generator=((0.0,),))
        sizes = np.random.default_rng(seed).choice([100.0, 300.0], len(record.depth))
        fit = fit_market(replace(record, size=sizes), 1, lot=100.0)
        assert fit.k[0] == pytest.approx(40.0, rel=0.12)
        held += int(abs(fit.A[0] - truth) < 1.96 * fit.A_error[0])
    assert held >= 16  # of 20 at 95%: fewer have a chance of 0.3%
    equal = fit_market(replace(record, size=np.full(len(record.depth), 50.0)), 1, lot=50.0)
    once = fit_market(record, 1)
    for name in ("A", "k", "A_error", "k_error", "impact_error"):
        np.testing.assert_allclose(getattr(equal, name), getattr(once, name), rtol=1e-12)
