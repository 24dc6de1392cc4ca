"""The compiled order book against its plain-Python twin, message by message."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.markets.book_views import best_ask, best_bid, queue_place
from diffgames.markets.order_book import (
    ASKS,
    BIDS,
    BUY,
    NO_PRICE,
    SELL,
    Kind,
    Message,
    Status,
    empty_book,
    message,
    process,
    submit,
)
from diffgames.markets.plain_book import PlainBook

CAPACITY, LENGTH = 16, 500
COLUMNS = ("kind", "side", "order_id", "originator", "size", "price")


def _draw_messages(rng: np.random.Generator, length: int, aggression: float, spread: int) -> dict[str, np.ndarray]:
    """Random messages around a mid price, of all kinds; many cross, some are unknown, repeated or malformed."""
    kind = rng.choice([0, 1, 2, 3, 4, 9], p=[0.01, 0.53, 0.1, 0.28, 0.07, 0.01], size=length)
    side = np.where(rng.random(length) < 0.01, 0, rng.choice([BUY, SELL], size=length))
    offset = np.where(
        rng.random(length) < aggression, -rng.integers(0, spread, length), rng.integers(0, spread, length)
    )
    number = np.arange(length)
    recent = number - rng.integers(0, 3 * CAPACITY, length)
    fresh = (kind == Kind.LIMIT) & (rng.random(length) < 0.98)
    return {
        "kind": kind,
        "side": side,
        "order_id": np.where(fresh, number, recent),
        "originator": rng.integers(0, 4, length),
        "size": np.where(rng.random(length) < 0.02, rng.integers(-1, 1, length), rng.integers(1, 9, length)),
        "price": np.where(rng.random(length) < 0.005, NO_PRICE, 1000 - side * offset),
    }


def _rows(drawn: dict[str, np.ndarray]) -> list[tuple[int, ...]]:
    """The messages one by one, as the twin takes them."""
    return list(zip(*(drawn[name].tolist() for name in COLUMNS), strict=True))


@functools.cache
def _compiled(dtype: str):
    """The engine with every trade kept, and the queues after every message; traced once per type of size."""

    def step(book, one):
        book, report = submit(book, one)
        return book, (report, book)

    return jax.jit(lambda messages: jax.lax.scan(step, empty_book(CAPACITY, np.dtype(dtype)), messages))


def _queue(book, side: int, n: int) -> list[tuple[int, int, float, int]]:
    """The resting orders of a side after message n."""
    fields = (book.order_id, book.originator, book.size, book.price)
    rows = zip(*(field[n, side].tolist() for field in fields), strict=True)
    return [row for row in rows if row[2] > 0]


def _trades(fills, n: int) -> list[tuple[int, int, int, int, float]]:
    fields = (fills.maker_order, fills.maker, fills.taker, fills.price, fills.size)
    rows = zip(*(field[n].tolist() for field in fields), strict=True)
    return [row for row in rows if row[4] > 0]


def _check_sequence(drawn: dict[str, np.ndarray], dtype: str) -> None:
    """Both books through the same messages: equal statuses, fills, amounts and queues after every one of them."""
    messages = message(**drawn, dtype=np.dtype(dtype))
    final, (reports, books) = _compiled(dtype)(messages)
    reports, books = jax.tree.map(np.asarray, (reports, books))
    twin = PlainBook(CAPACITY)
    rows = zip(
        *(drawn[name].tolist() for name in ("kind", "side", "order_id", "originator", "size", "price")), strict=True
    )
    for n, row in enumerate(rows):
        expected = twin.submit(*row)
        amounts = (reports.filled[n], reports.resting[n], reports.cancelled[n], reports.dropped[n])
        assert reports.status[n] == expected.status, (n, row)
        assert amounts == (expected.filled, expected.resting, expected.cancelled, expected.dropped), (n, row)
        trades = [(t.maker_order, t.maker, t.taker, t.price, t.size) for t in expected.trades]
        assert _trades(reports.fills, n) == trades, (n, row)
        assert _queue(books, BIDS, n) == twin.queue(BUY), (n, row)
        assert _queue(books, ASKS, n) == twin.queue(SELL), (n, row)
    assert int(final.overflow) == twin.overflow


def _check_conservation(drawn: dict[str, np.ndarray]) -> None:
    """What was admitted is traded, resting, withdrawn or dropped; shares and cash of all parties net to zero."""
    messages = message(**drawn)
    final, (reports, _) = _compiled("int32")(messages)
    reports = jax.tree.map(np.asarray, reports)
    sent = np.isin(drawn["kind"], [Kind.LIMIT, Kind.MARKET]) & ~np.isin(
        reports.status, [Status.INVALID, Status.DUPLICATE]
    )
    total = (drawn["size"] * sent).sum()
    assert (
        total
        == 2 * reports.filled.sum() + reports.cancelled.sum() + reports.dropped.sum() + np.asarray(final.size).sum()
    )
    assert np.array_equal(reports.fills.size.sum(axis=1), reports.filled)
    shares, cash = np.zeros(4, np.int64), np.zeros(4, np.int64)
    value = reports.fills.size.astype(np.int64) * reports.fills.price
    for n in np.flatnonzero(reports.filled):
        here = reports.fills.size[n] > 0
        for party, sign in ((reports.fills.taker[n, here], 1), (reports.fills.maker[n, here], -1)):
            np.add.at(shares, party, sign * drawn["side"][n] * reports.fills.size[n, here])
            np.add.at(cash, party, -sign * drawn["side"][n] * value[n, here])
    assert shares.sum() == 0 and cash.sum() == 0 and np.any(shares != 0)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    aggression=st.floats(0.0, 0.9),
    spread=st.integers(1, 12),
    dtype=st.sampled_from(["int32", "int32", "float32"]),
)
def test_book_equals_its_plain_twin(seed, aggression, spread, dtype):
    """200 sequences of 500 messages, 10⁵ in all; sizes are whole lots, so both types are exact."""
    drawn = _draw_messages(np.random.default_rng(seed), LENGTH, aggression, spread)
    _check_sequence(drawn, dtype)
    _check_conservation(drawn)


def test_random_messages_reach_every_status():
    drawn = _draw_messages(np.random.default_rng(1), 4000, 0.3, 6)
    _, report = process(empty_book(CAPACITY), message(**drawn))
    assert set(np.asarray(report.status).tolist()) == {int(status) for status in Status}
    assert int(jnp.sum(report.status == Status.OVERFLOW)) > 50


def _limit(side, price, size, order_id, originator=0):
    return message(Kind.LIMIT, side=side, price=price, size=size, order_id=order_id, originator=originator)


def _sequence(*messages: Message) -> Message:
    return jax.tree.map(lambda *fields: jnp.stack(fields), *messages)


def test_crossing_limit_order_trades_first_then_rests():
    book, report = process(
        empty_book(8),
        _sequence(
            _limit(SELL, 101, 5, 1, 7),
            _limit(SELL, 101, 4, 2, 8),
            _limit(SELL, 103, 9, 3, 7),
            _limit(BUY, 102, 12, 4, 9),
        ),
    )
    last = jax.tree.map(lambda field: field[-1], report)
    assert (int(last.filled), int(last.resting), int(last.dropped)) == (9, 3, 0)
    assert last.fills.maker_order[:3].tolist() == [1, 2, -1]
    assert last.fills.maker[:3].tolist() == [7, 8, -1] and last.fills.taker[:3].tolist() == [9, 9, -1]
    assert last.fills.price[:3].tolist() == [101, 101, 0] and last.fills.size[:3].tolist() == [5, 4, 0]
    assert int(best_bid(book)) == 102 and int(best_ask(book)) == 103


def test_partial_cancel_keeps_the_place_and_a_new_order_goes_behind():
    book, _ = process(
        empty_book(8),
        _sequence(
            _limit(BUY, 99, 5, 1),
            _limit(BUY, 99, 5, 2),
            _limit(BUY, 100, 1, 3),
            message(Kind.CANCEL, order_id=1, size=2),
            message(Kind.CANCEL, order_id=3, size=1),
            _limit(BUY, 99, 4, 4),
        ),
    )
    places = [queue_place(book, order) for order in (1, 2, 4, 3)]
    assert [int(place.size) for place in places] == [3, 5, 4, 0]
    assert [int(place.orders_ahead) for place in places[:3]] == [0, 1, 2]
    assert [int(place.size_ahead) for place in places[:3]] == [0, 3, 8]


def test_cancelling_an_unknown_order_says_so_and_changes_nothing():
    book, _ = submit(empty_book(4), _limit(BUY, 99, 5, 1))
    after, report = submit(book, message(Kind.CANCEL, order_id=2, size=5))
    assert int(report.status) == Status.UNKNOWN_ORDER and int(report.cancelled) == 0
    assert all(bool(jnp.array_equal(a, b)) for a, b in zip(jax.tree.leaves(book), jax.tree.leaves(after), strict=True))


def test_overflow_is_counted_and_leaves_the_queue_alone():
    orders = _sequence(*(_limit(BUY, 90 + n, 1, n) for n in range(6)))
    book, report = process(empty_book(4), orders)
    assert report.status.tolist() == [Status.DONE] * 4 + [Status.OVERFLOW] * 2
    assert report.dropped.tolist() == [0] * 4 + [1] * 2 and int(book.overflow) == 2
    assert book.order_id[BIDS].tolist() == [3, 2, 1, 0] and int(best_bid(book)) == 93


def test_a_full_side_takes_a_new_order_where_an_old_one_left():
    orders = [_limit(SELL, 100 + n, 1, n) for n in range(4)]
    book, _ = process(
        empty_book(4), _sequence(*orders, message(Kind.CANCEL, order_id=0, size=1), _limit(SELL, 102, 1, 9))
    )
    assert book.order_id[ASKS].tolist() == [1, 2, 9, 3] and int(book.overflow) == 0


def test_market_order_beyond_the_book_drops_the_rest():
    book, _ = submit(empty_book(4), _limit(SELL, 101, 5, 1))
    after, report = submit(book, message(Kind.MARKET, side=BUY, size=8))
    assert int(report.status) == Status.UNFILLED and (int(report.filled), int(report.dropped)) == (5, 3)
    assert int(best_ask(after)) == NO_PRICE and int(best_bid(after)) == -NO_PRICE


def test_only_the_first_fills_are_kept_and_the_others_counted():
    orders = _sequence(*(_limit(SELL, 101, 1, n) for n in range(6)), message(Kind.MARKET, side=BUY, size=6))
    _, report = process(empty_book(8), orders, keep=4)
    assert report.fills.maker_order[-1].tolist() == [0, 1, 2, 3]
    assert report.fills_omitted.tolist() == [0] * 6 + [2] and int(report.filled[-1]) == 6


def test_many_books_at_once_equal_one_by_one():
    rng = np.random.default_rng(5)
    drawn = [message(**_draw_messages(rng, 200, 0.3, 6)) for _ in range(5)]
    stacked = jax.tree.map(lambda *fields: jnp.stack(fields), *drawn)
    together = jax.vmap(lambda messages: process(empty_book(CAPACITY), messages))(stacked)
    alone = process(empty_book(CAPACITY), drawn[3])
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(a[3], b)


def test_capacity_need_not_be_a_power_of_two():
    drawn = _draw_messages(np.random.default_rng(2), 300, 0.3, 4)
    for capacity in (1, 13, 20):
        book, report = process(empty_book(capacity), message(**drawn), keep=capacity)
        twin = PlainBook(capacity)
        assert report.status.tolist() == [twin.submit(*row).status for row in _rows(drawn)]
        assert int(jnp.sum(book.size)) == sum(order[2] for side in (BUY, SELL) for order in twin.queue(side))


def test_wrong_types_are_refused():
    with pytest.raises(InvalidInput, match="capacity"):
        empty_book(0)
    with pytest.raises(InvalidInput, match="dtype"):
        empty_book(4, np.float64)
    with pytest.raises(InvalidInput, match=r"message\.size"):
        submit(empty_book(4), message(Kind.MARKET, side=BUY, size=1.0, dtype=np.float32))


@pytest.mark.parametrize(
    ("field", "value"),
    [("price", 100.5), ("price", 2**40), ("order_id", 2**31), ("originator", [1, 2**33]), ("size", 1.5),
     ("size", 2**31), ("price", np.nan), ("kind", 1.5)],
)  # fmt: skip
def test_what_the_book_would_round_or_wrap_is_refused_by_name(field, value):
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        message(**({"kind": Kind.LIMIT, "side": SELL, "price": 100, "size": 1} | {field: value}))


def test_whole_numbers_of_any_type_are_taken():
    sent = message(Kind.LIMIT, side=SELL, price=np.float64(100.0), size=np.int64(3), order_id=np.int64(7))
    assert (int(sent.price), int(sent.size), int(sent.order_id)) == (100, 3, 7) and sent.price.dtype == jnp.int32
