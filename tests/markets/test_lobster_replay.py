"""Replay of recorded messages: what the record shows is reproduced, what it does not show is recovered or counted."""

import dataclasses

import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages, read_pair
from diffgames.markets.lobster_replay import NAMELESS, attributed, recover_orders, replay
from diffgames.markets.plain_replay import replay_plainly
from diffgames.markets.synthetic_orders import synthetic_orders

LEVELS = 5


@pytest.fixture(scope="module")
def day():
    """A synthetic day that begins in the midst of things."""
    return synthetic_orders(6_000, seed=3)


def test_a_synthetic_day_is_reproduced_event_by_event(day):
    replayed = replay(*day, levels=LEVELS)
    assert replayed.match.all() and not any(replayed.unexplained.values())
    assert len(replayed.recovered) > 20


def test_recovered_orders_are_not_read_off_the_compiled_book(day):
    """The twin, from the same recovered orders, shows the same; and it meets every execution in its turn."""
    messages, orderbook = day
    twin = replay_plainly(messages, orderbook, recover_orders(messages, orderbook), LEVELS)
    assert twin.match.all() and twin.not_first == 0 and twin.executions > 500


def test_the_plain_replay_misses_what_lies_beyond_the_first_row():
    """A narrow record: orders below its two levels surface later, unknown to the plain replay."""
    messages, orderbook = synthetic_orders(6_000, levels=2, seed=4)
    whole, plain = replay(messages, orderbook, levels=2), replay(messages, orderbook, levels=2, reveal=False)
    assert whole.match.mean() > plain.match.mean()
    recovered = recover_orders(messages, orderbook, reveal=False)
    assert np.all(recovered.order_id <= NAMELESS) and len(recovered) <= 4
    twin = replay_plainly(attributed(messages, recovered), orderbook, recovered, 2)
    np.testing.assert_array_equal(twin.match, plain.match)


def test_the_real_day_is_reproduced_event_by_event(shared_data):
    folder, name = shared_data / "lobster", "AAPL_2012-06-21_34200000_37800000"
    messages, orderbook = read_pair(
        folder / f"{name}_message_50.csv.gz", folder / f"{name}_orderbook_10_rebuilt.csv.gz"
    )
    replayed = replay(messages, orderbook, levels=LEVELS)
    assert replayed.match.all() and replayed.capacity == 256
    found = {reason: count for reason, count in replayed.unexplained.items() if count}
    assert found == {"not_first": 24}  # executions out of turn in the exchange's own record; the twin finds the same
    plain = replay(messages, orderbook, levels=LEVELS, reveal=False)
    assert plain.match[:, 0].all()
    np.testing.assert_allclose(plain.match[:, 4].mean(), 0.9987, atol=5e-5)


def tiny(*rows: tuple[int, int, int, int, int]) -> tuple[LobsterMessages, LobsterBook]:
    """Events (type, identity, size, price, direction) before a book that always shows 10 at 99 and 20 at 101."""
    events = [(EventType.NEW_ORDER, 1, 10, 99, 1), (EventType.NEW_ORDER, 2, 20, 101, -1), *rows]
    kind, order, size, price, direction = (np.array(column, np.int64) for column in zip(*events, strict=True))
    shape = (len(events), 1)
    side = [np.full(shape, value, np.int64) for value in (101, 20, 99, 10)]
    book = LobsterBook(*side)
    time = np.arange(len(events), dtype=np.float64)
    # Before the second event the ask is already there: the first row shows it, recovered without identity at 101.
    return LobsterMessages(time, kind, order, size, price, direction), book


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((EventType.PARTIAL_CANCEL, 1, 4, 99, 1), None),
        ((EventType.EXECUTION, 1, 10, 99, 1), None),
        ((EventType.HIDDEN_EXECUTION, 0, 5, 100, 1), None),
        ((EventType.HALT, 0, 0, -1, -1), None),
        ((EventType.DELETION, 1, 10, 98, 1), "wrong_price"),
        ((EventType.DELETION, 1, 7, 99, 1), "wrong_size"),
        ((EventType.PARTIAL_CANCEL, 1, 11, 99, 1), "wrong_size"),
        ((EventType.EXECUTION, 2, 5, 101, -1), "not_first"),
        ((EventType.NEW_ORDER, 3, 5, 101, 1), "crossing"),
        ((EventType.NEW_ORDER, 1, 5, 98, 1), "repeated_order"),
    ],
)
def test_what_the_book_does_not_reproduce_is_counted_by_reason(row, reason):
    replayed = replay(*tiny(row), levels=1)
    assert {name: n for name, n in replayed.unexplained.items() if n} == ({reason: 1} if reason else {})


def test_events_of_orders_already_gone_are_unknown():
    gone = (EventType.DELETION, 1, 10, 99, 1)
    replayed = replay(*tiny(gone, gone), levels=1)
    assert replayed.unexplained["unknown_order"] == 1


def test_a_damaged_record_is_noticed(day):
    """One size changed in the record: that event, and no other, fails to match."""
    messages, orderbook = day
    sizes = orderbook.ask_size.copy()
    sizes[700, 2] += 100
    replayed = replay(messages, dataclasses.replace(orderbook, ask_size=sizes), levels=LEVELS)
    failing = np.flatnonzero(~replayed.match.all(axis=1))
    assert failing.tolist() == [700] and replayed.match[700].tolist() == [True, True, False, False, False]


def test_more_levels_than_recorded_are_refused(day):
    with pytest.raises(InvalidInput, match="levels"):
        replay(*day, levels=11)
    with pytest.raises(InvalidInput, match="one per message"):
        replay(day[0].head(10), day[1], levels=1)
