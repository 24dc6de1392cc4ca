"""LOBSTER files: the messages of a trading day and the order book after each of them, read strictly.

A day is two CSV files, read by `diffgames.tables`, with a row per event:

    messages      seconds after midnight, type, order identity, size, price, direction of the order (1 buy, −1 sell)
    order book    ask price, ask size, bid price, bid size of level 1, of level 2, …, after the event

Prices are dollars × 10,000; ±9999999999 marks a level that does not exist. The types are those of `EventType`. A row
that breaks the format raises `InvalidInput` with the file and the line: nothing is guessed, dropped or repaired.
"""

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import ordered, positive
from diffgames.tables import read_table

LATEST = 7 * 86_400.0  # seconds after midnight: sessions that run into further days


class EventType(enum.IntEnum):
    """What an event did. Only the first four touch the visible book."""

    NEW_ORDER = 1
    PARTIAL_CANCEL = 2
    DELETION = 3
    EXECUTION = 4
    HIDDEN_EXECUTION = 5
    CROSS = 6  # an auction, told order by order elsewhere
    HALT = 7  # start, end of a trading halt, or resumption of quotes: no order, no size


@dataclass(frozen=True)
class LobsterMessages:
    """Events in the order of the file, one array entry each."""

    time: np.ndarray  # seconds after midnight
    type: np.ndarray
    order_id: np.ndarray
    size: np.ndarray
    price: np.ndarray
    direction: np.ndarray  # of the resting order: 1 buy, −1 sell
    source: str = ""

    def __len__(self) -> int:
        return len(self.type)

    def head(self, count: int) -> "LobsterMessages":
        """The first `count` events."""
        fields = (self.time, self.type, self.order_id, self.size, self.price, self.direction)
        return LobsterMessages(*(field[:count] for field in fields), source=self.source)


@dataclass(frozen=True)
class LobsterBook:
    """The recorded book after each event: arrays of events × levels, best level first."""

    ask_price: np.ndarray
    ask_size: np.ndarray
    bid_price: np.ndarray
    bid_size: np.ndarray
    source: str = ""

    def __len__(self) -> int:
        return len(self.ask_price)

    @property
    def levels(self) -> int:
        """Recorded levels per side."""
        return self.ask_price.shape[1]

    def head(self, count: int) -> "LobsterBook":
        """The book after each of the first `count` events."""
        fields = (self.ask_price, self.ask_size, self.bid_price, self.bid_size)
        return LobsterBook(*(field[:count] for field in fields), source=self.source)


def read_messages(path: str | Path) -> LobsterMessages:
    """Read a message file; raises `InvalidInput` with the file, the line and what is allowed there."""
    table = read_table("messages", path)
    if table.columns != 6:
        raise table.refused(0, f"6 columns; found {table.columns if table.text[0].strip() else 'a blank line'}")
    values = table.numbers()
    events = LobsterMessages(values[:, 0], *table.whole(values[:, 1:]).T.copy(), source=str(path))
    order = (events.type >= EventType.NEW_ORDER) & (events.type <= EventType.HIDDEN_EXECUTION)
    later = np.concatenate([[True], events.time[1:] >= events.time[:-1]])
    checks = (
        ((events.time >= 0) & (events.time < LATEST), f"a time in seconds after midnight, below {LATEST:g}"),
        (later, "a time no earlier than the line before's"),
        (np.isin(events.type, list(EventType)), f"an event type from {min(EventType)} to {max(EventType)}"),
        (events.size >= 0, "a size that is not negative"),
        (~order | (events.size > 0), "a positive size"),
        (~order | (events.price > 0), "a positive price"),
        (~order | (np.abs(events.direction) == 1), "a direction of 1 (buy) or -1 (sell)"),
    )
    table.check(checks)
    return events


def read_orderbook(path: str | Path) -> LobsterBook:
    """Read an order-book file; raises `InvalidInput` with the file, the line and what is allowed there."""
    table = read_table("orderbook", path)
    if table.columns % 4:
        raise table.refused(0, "a multiple of four columns (ask price, ask size, bid price, bid size per level)")
    values = table.whole(table.numbers())
    ask_price, ask_size, bid_price, bid_size = (np.ascontiguousarray(values[:, column::4]) for column in range(4))
    checks = (
        ((ask_size >= 0).all(axis=1) & (bid_size >= 0).all(axis=1), "sizes that are not negative"),
        (positive(ask_price, 1) & positive(bid_price, -1), "positive prices, or 9999999999 and -9999999999 for none"),
        (ordered(ask_price) & ordered(-bid_price), "asks in rising and bids in falling order of price"),
    )
    table.check(checks)
    return LobsterBook(ask_price, ask_size, bid_price, bid_size, source=str(path))


def read_pair(messages: str | Path, orderbook: str | Path) -> tuple[LobsterMessages, LobsterBook]:
    """Read both files of a day, which must have a row for each other's."""
    events, book = read_messages(messages), read_orderbook(orderbook)
    if len(events) != len(book):
        raise InvalidInput("orderbook", f"{orderbook}: {len(book)} rows", f"{len(events)} rows, as in {messages}")
    return events, book
