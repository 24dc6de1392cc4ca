"""LOBSTER files: the messages of a trading day and the order book after each of them, read strictly.

A day is two CSV files without headers, plain or gzip-compressed, with a row per event:

    messages      seconds after midnight, type, order identity, size, price, direction of the order (1 buy, −1 sell)
    order book    ask price, ask size, bid price, bid size of level 1, of level 2, …, after the event

Prices are dollars × 10,000; ±9999999999 marks a level that does not exist. The types are those of `EventType`. A row
that breaks the format raises `InvalidInput` with the file and the line: nothing is guessed, dropped or repaired.
"""

import enum
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import EMPTY_PRICE


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
    text = _text("messages", Path(path))
    time, *integers = _parse(path, text, [np.float64, *5 * [np.int64]])
    events = LobsterMessages(time, *integers, source=str(path))
    order = (events.type >= EventType.NEW_ORDER) & (events.type <= EventType.HIDDEN_EXECUTION)
    later = np.concatenate([[True], events.time[1:] >= events.time[:-1]])
    checks = (
        (np.isfinite(events.time) & (events.time >= 0), "a finite time, in seconds after midnight"),
        (later, "a time no earlier than the line before's"),
        (np.isin(events.type, list(EventType)), f"an event type from {min(EventType)} to {max(EventType)}"),
        (events.size >= 0, "a size that is not negative"),
        (~order | (events.size > 0), "a positive size"),
        (~order | (events.price > 0), "a positive price"),
        (~order | (np.abs(events.direction) == 1), "a direction of 1 (buy) or -1 (sell)"),
    )
    _check(path, text, checks)
    return events


def read_orderbook(path: str | Path) -> LobsterBook:
    """Read an order-book file; raises `InvalidInput` with the file, the line and what is allowed there."""
    text = _text("orderbook", Path(path))
    columns = text.partition("\n")[0].count(",") + 1
    if columns % 4:
        raise _malformed(
            path, text, 1, "a multiple of four columns (ask price, ask size, bid price, bid size per level)"
        )
    table = _parse(path, text, columns * [np.int64])
    ask_price, ask_size, bid_price, bid_size = (np.stack(table[column::4], axis=1) for column in range(4))
    checks = (
        ((ask_size >= 0).all(axis=1) & (bid_size >= 0).all(axis=1), "sizes that are not negative"),
        (_ordered(ask_price) & _ordered(-bid_price), "asks in rising and bids in falling order of price"),
    )
    _check(path, text, checks)
    return LobsterBook(ask_price, ask_size, bid_price, bid_size, source=str(path))


def read_pair(messages: str | Path, orderbook: str | Path) -> tuple[LobsterMessages, LobsterBook]:
    """Read both files of a day, which must have a row for each other's."""
    events, book = read_messages(messages), read_orderbook(orderbook)
    if len(events) != len(book):
        raise InvalidInput("orderbook", f"{orderbook}: {len(book)} rows", f"{len(events)} rows, as in {messages}")
    return events, book


def _ordered(price: np.ndarray) -> np.ndarray:
    """Whether the levels of each row have rising prices; levels that do not exist come last."""
    rising = (price[:, 1:] > price[:, :-1]) | (price[:, 1:] == EMPTY_PRICE)
    return rising.all(axis=1)


def _text(key: str, path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        text = raw.decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}, it is damaged or no text"
        raise InvalidInput(key, str(path), f"a readable .csv or .csv.gz file ({reason})") from error
    if not text.strip():
        raise InvalidInput(key, str(path), "a file with at least one row")
    return text.replace("\r\n", "\n").rstrip("\n") + "\n"


def _parse(path: str | Path, text: str, types: Sequence[type]) -> list[np.ndarray]:
    """The columns, in one pass of numpy's parser; where that refuses, the first bad line is looked for and named."""
    names = [f"column{number}" for number in range(len(types))]
    try:
        table = np.loadtxt(
            io.StringIO(text), delimiter=",", dtype=list(zip(names, types, strict=True)), comments=None, ndmin=1
        )
        if len(table) == text.count("\n"):  # the parser passes over blank lines
            return [np.ascontiguousarray(table[name]) for name in names]
    except ValueError:
        pass
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        words = line.split(",")
        if len(words) != len(types):
            found = len(words) if line.strip() else "a blank line"
            raise _malformed(path, text, number, f"{len(types)} columns; found {found}")
        for word, kind in zip(words, types, strict=True):
            try:
                kind(word.replace("_", "?"))  # Python reads 1_000 as a number, the format does not
            except (ValueError, OverflowError):
                what = "a number" if kind is np.float64 else "an integer"
                raise _malformed(path, text, number, f"{what} where {word!r} stands") from None
    raise InvalidInput("file", str(path), "comma-separated numbers")


def _check(path: str | Path, text: str, checks: Sequence[tuple[np.ndarray | np.bool, str]]) -> None:
    """Raise for the first line that fails a check."""
    failed = [(int(np.argmin(holds)), allowed) for holds, allowed in checks if not np.all(holds)]
    if failed:
        row, allowed = min(failed, key=lambda found: found[0])
        raise _malformed(path, text, row + 1, allowed)


def _malformed(path: str | Path, text: str, number: int, allowed: str) -> InvalidInput:
    return InvalidInput(f"{path}, line {number}", text.split("\n", number)[number - 1], allowed)
