"""Impact and resilience from a record: planted propagators and decays recovered, no round trip that pays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import Level2
from diffgames.markets.lobster import LobsterMessages
from diffgames.markets.resilience import (
    autocorrelation,
    closing_of_spread,
    decay_of_shock,
    fit_propagator,
    order_flow,
    trade_flow,
)

LAGS = np.array([0.0, 1.0, 5.0, 30.0])


def quotes(bid, ask, bid_size, ask_size) -> Level2:
    column = lambda values: np.asarray(values)[:, None]  # noqa: E731 - shorthand in a test
    rows = np.arange(len(bid))
    return Level2(
        rows, rows.astype(float), column(ask), column(ask_size), column(bid), column(bid_size), tick=1, source="by hand"
    )


def test_a_planted_propagator_is_recovered_through_autocorrelated_flow():
    """Flow that foreshadows flow makes the plain response rise where the propagator falls; the fit tells them apart."""
    rng, size = np.random.default_rng(0), 40_000
    flow = np.zeros(size)
    for n in range(1, size):
        flow[n] = 0.6 * flow[n - 1] + rng.normal()
    kept, weights = np.exp(-1 / np.array([1.0, 5.0, 25.0])), np.array([0.0, 0.03, 0.02, 0.01])
    state, mid = np.zeros(3), np.zeros(size)
    for n in range(size):
        state = kept * state + flow[n]
        mid[n] = weights[:3] @ state + weights[3] * flow[: n + 1].sum()
    change = np.diff(mid, prepend=0.0) + 0.05 * rng.normal(size=size)
    fit = fit_propagator(flow, change, np.array([1.0, 5.0, 25.0]))
    found, error = fit.response(LAGS)
    truth = weights[1] * np.exp(-LAGS / 5) + weights[2] * np.exp(-LAGS / 25) + weights[3]
    assert (np.abs(found - truth) < 4 * error).all() and (error < 0.1 * truth).all()
    share, _ = fit.stays(LAGS)
    np.testing.assert_allclose(share, truth / truth[0], atol=0.08)
    path = np.cumsum(change)
    plain = [np.polyfit(flow[1:-40], path[1 + lag : size - 40 + lag] - path[: size - 41], 1)[0] for lag in (0, 5)]
    assert plain[1] > 1.1 * plain[0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),
    st.lists(st.floats(-10.0, 10.0), min_size=2, max_size=12),
)
def test_no_round_trip_earns_against_a_fitted_propagator(weights, orders):
    """Σ_t q_t (G(0) q_t/2 + Σ_{s<t} G(t − s) q_s) ≥ 0 for every schedule that ends flat: G ≥ 0 falls and is convex."""
    orders = np.array([*orders, -np.sum(orders)])
    lag = np.abs(np.subtract.outer(np.arange(len(orders)), np.arange(len(orders))))
    response = weights[3] + sum(w * np.exp(-lag / time) for w, time in zip(weights, (1.0, 5.0, 25.0), strict=False))
    assert orders @ response @ orders / 2 >= -1e-9


def test_order_flow_counts_queues_and_moves_of_the_best_quotes():
    bid, ask = [100, 100, 101, 101, 100, 100], [102, 102, 102, 103, 103, 103]
    data = quotes(bid, ask, [10, 14, 6, 6, 9, 9], [20, 17, 17, 5, 5, 5])
    # +4 at the bid and 3 fewer at the ask; a better bid of 6; an ask of 17 gone; a bid of 6 gone; nothing
    np.testing.assert_array_equal(
        np.clip([7.0, 6.0, 17.0, -6.0, 0.0], *_cut([7.0, 6.0, 17.0, -6.0, 0.0])), order_flow(data)
    )


def _cut(values):
    return np.quantile(values, [0.01, 0.99])


def test_executions_fall_between_the_snapshots_around_them_with_the_taker_s_sign():
    time, kind = np.array([0.5, 1.0, 1.5, 1.7, 9.0]), np.array([4, 4, 4, 5, 4])
    size, direction = np.array([3, 2, 10, 100, 7]), np.array([-1, 1, -1, -1, 1])
    messages = LobsterMessages(time, kind, np.arange(5), size, np.full(5, 100), direction)
    np.testing.assert_array_equal(trade_flow(messages, np.array([0.0, 1.0, 2.0])), [3 - 2, 10])
    with pytest.raises(InvalidInput, match=r"^messages: 'no execution between 100 and 102 s'"):
        trade_flow(messages, np.array([100.0, 101.0, 102.0]))


def test_the_decay_of_shocks_to_an_autoregression_is_its_coefficient():
    rng, size = np.random.default_rng(1), 20_000
    level = np.zeros((size, 1))
    shock = rng.exponential(size=(size - 1, 1)) * (rng.random((size - 1, 1)) < 0.3)
    for n in range(1, size):
        level[n] = 0.8 * level[n - 1] + shock[n - 1] + 0.2 * rng.normal()
    decay = decay_of_shock(level, shock, 12)
    truth = 0.8 ** np.arange(13)
    assert (np.abs(decay.share - truth)[1:] < 4 * decay.error[1:]).all() and decay.error.max() < 0.03
    assert decay.kept == pytest.approx(0.8, abs=0.02)
    assert autocorrelation(level, 1) == pytest.approx(0.8, abs=0.02)


def test_a_record_without_shocks_tells_nothing_and_one_too_short_is_refused():
    still = closing_of_spread(quotes([100] * 500, [101] * 500, [5] * 500, [5] * 500))
    assert np.isnan(still.share).all() and still.kept == 0.0
    with pytest.raises(InvalidInput, match="at least 111"):
        decay_of_shock(np.ones((20, 1)), np.ones((19, 1)), 10)


def test_autocorrelation_is_the_plain_one_and_finds_a_planted_memory():
    noise = np.random.default_rng(1)
    x = noise.normal(size=(60, 500))
    for t in range(1, 60):
        x[t] = 0.6 * x[t - 1] + 0.8 * x[t]
    assert autocorrelation(x, 3) == pytest.approx(0.6**3, abs=0.031)  # four of Bartlett's errors
    y, m = x[:, :2], x[:, :2].mean()
    pairs = [(y[t, b] - m) * (y[t + 3, b] - m) for t in range(57) for b in range(2)]
    assert autocorrelation(y, 3) == pytest.approx(np.mean(pairs) / np.mean((y - m) ** 2))
    assert np.isnan(autocorrelation(x, 60)) and np.isnan(autocorrelation(np.ones((5, 2)), 1))
