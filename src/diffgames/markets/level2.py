"""Level-2 data: recorded order-book snapshots, read from files and checked.

Two layouts are read, by `diffgames.tables`:

* LOBSTER order-book files, one row per event: ask price, ask size, bid price, bid size of level 1, of level 2, …
  (times are those of the message file beside it, whose name has `message` for `orderbook`, where there is one);
* snapshots in time: the same after a leading column of seconds.

Prices are integers (dollars × 10,000); 9999999999 and −9999999999 mark an empty level. Tables whose columns have names
are read by `markets.snapshots`. Rows in which the book is crossed or locked (before the opening auction, for instance)
are dropped and counted, and so are the seconds right after one, in which the book refills.
"""

import glob
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from diffgames.errors import InvalidInput
from diffgames.tables import read_table

EMPTY_PRICE = 9_999_999_999
PRICE_UNIT = 10_000.0  # integer prices per unit of money
LATEST = 1e11  # seconds; beyond, a clock is of another unit
MOST_INTERVALS = 10**7


def ticks_of(seconds: np.ndarray) -> np.ndarray:
    """Times in whole microseconds, which floats near a boundary cannot cross."""
    return np.rint(seconds * 1e6).astype(np.int64)


@dataclass(frozen=True)
class Level2:
    """Order-book snapshots in time order.

    Attributes:
        row: number of each snapshot among the rows of the file; it skips those left out.
        seconds: time of each snapshot; None where rows are events without a time.
        ask_price, bid_price: integer prices, best level first.
        ask_size, bid_size: lots.
        tick: tick size in the units of the prices.
        source: where the data come from.
        dropped: number of rows left out, by reason.
        price_unit: integer prices per unit of currency.
        lot: units per lot, in which sizes are counted.
        size_name: what a unit is: shares, contracts; None where it was not said.
    """

    row: np.ndarray
    seconds: np.ndarray | None
    ask_price: np.ndarray
    ask_size: np.ndarray
    bid_price: np.ndarray
    bid_size: np.ndarray
    tick: int
    source: str
    dropped: dict[str, int] = field(default_factory=dict)
    price_unit: float = PRICE_UNIT
    lot: float = 1.0
    size_name: str | None = None

    def __len__(self) -> int:
        return len(self.ask_price)

    @property
    def levels(self) -> int:
        """Recorded levels per side."""
        return self.ask_price.shape[1]

    @property
    def spread(self) -> np.ndarray:
        """Best ask minus best bid, in ticks."""
        return (self.ask_price[:, 0] - self.bid_price[:, 0]) // self.tick

    @property
    def double_mid(self) -> np.ndarray:
        """Best ask plus best bid in ticks: the mid in half-ticks."""
        return (self.ask_price[:, 0] + self.bid_price[:, 0]) // self.tick

    def every(self, step: float) -> "Level2":
        """The book as it stood every `step` seconds: of rows that lie closer together, the last of each interval."""
        if self.seconds is None or len(self) < 2:
            return self
        clock, pace = ticks_of(self.seconds), max(round(step * 1e6), 1)
        if np.median(np.diff(clock)) >= 0.75 * pace:  # snapshots on this clock already, early or late by a little
            return self
        interval = clock // pace
        if interval[-1] - interval[0] > MOST_INTERVALS:
            said = f"times from {self.seconds[0]:.6g} to {self.seconds[-1]:.6g} s"
            raise InvalidInput(self.source, said, f"at most {MOST_INTERVALS} intervals of {step:g} s")
        times = np.arange(interval[0], interval[-1] + 1)
        last = np.searchsorted(interval, times, side="right") - 1
        gap = np.diff(self.row[last]) != np.diff(last)  # rows were left out in between
        return replace(
            self,
            row=np.concatenate([[0], np.cumsum(1 + gap)]),
            seconds=times * step,
            ask_price=self.ask_price[last],
            ask_size=self.ask_size[last],
            bid_price=self.bid_price[last],
            bid_size=self.bid_size[last],
        )

    def adjacent(self, levels: int) -> float:
        """Share of neighbouring pairs among the best `levels` levels that lie exactly one tick apart."""
        steps = [np.diff(self.ask_price[:, :levels], axis=1), -np.diff(self.bid_price[:, :levels], axis=1)]
        return float(np.mean(np.concatenate(steps) == self.tick)) if levels > 1 else 1.0


def read_level2(path: str | Path, *, tick: int | None = None, settle: float = 4.0) -> Level2:
    """Read a level-2 file.

    `tick` (integer price units) is inferred from the prices when it is not given. Rows within `settle` seconds after a
    crossed one are dropped with it. Raises `InvalidInput` naming the file, the line and what is wrong with it.
    """
    seconds, book = _table(Path(path))
    if seconds is None:
        seconds = _event_times(Path(path), len(book))
    found = level2_of(str(path), seconds, book, settle=settle)
    return replace(found, tick=_tick(Path(path), found.ask_price, found.bid_price, tick))


def level2_of(
    source: str, seconds: np.ndarray | None, book: np.ndarray, *, tick: int = 1, settle: float = 4.0
) -> Level2:
    """Snapshots from the levels of all rows, [rows, levels, 4] (ask price, ask size, bid price, bid size).

    What is empty, crossed, or within `settle` seconds after a crossed row is dropped and counted.
    """
    ask_price, ask_size, bid_price, bid_size = (book[:, :, column] for column in range(4))

    def absent(price):
        return np.abs(price) == EMPTY_PRICE

    ask_size = np.where(absent(ask_price), 0, ask_size)
    bid_size = np.where(absent(bid_price), 0, bid_size)
    empty = (ask_size[:, 0] == 0) | (bid_size[:, 0] == 0)
    crossed = ~empty & (bid_price[:, 0] >= ask_price[:, 0])
    after = np.zeros_like(crossed)
    auction = (bid_price[:, 0] > ask_price[:, 0]) & crossed  # a locked quote in passing needs no time to refill
    if seconds is not None and auction.any():
        last = np.maximum.accumulate(np.where(auction, seconds, -np.inf))
        after = ~crossed & ~empty & (seconds - last <= settle)
    keep = ~(empty | crossed | after)
    if not keep.any():
        raise InvalidInput(source, f"{len(book)} rows", "at least one row with best bid below best ask")
    reasons = {"one side empty": empty, "crossed or locked": crossed, f"within {settle:g} s after a crossed row": after}
    return Level2(
        row=np.flatnonzero(keep),
        seconds=None if seconds is None else seconds[keep],
        ask_price=ask_price[keep],
        ask_size=ask_size[keep],
        bid_price=bid_price[keep],
        bid_size=bid_size[keep],
        tick=tick,
        source=source,
        dropped={reason: int(rows.sum()) for reason, rows in reasons.items() if rows.any()},
    )


def _event_times(path: Path, rows: int) -> np.ndarray | None:
    """Times of the events of a LOBSTER order-book file, from the message file beside it; None where there is none."""
    prefix, found, _ = path.name.partition("_orderbook_")
    messages = sorted(path.parent.glob(f"{glob.escape(prefix)}_message_*")) if found else []
    if not messages:
        return None
    table = read_table("messages", messages[0])
    if len(table) != rows:
        raise InvalidInput(
            str(messages[0]), f"{len(table)} rows", f"one row for each of the {rows} rows of {path.name}"
        )
    seconds = table.numbers()[:, 0]
    table.check([(np.diff(seconds, prepend=seconds[0]) >= 0, "time that does not run back")])
    return seconds


def _table(path: Path) -> tuple[np.ndarray | None, np.ndarray]:
    """Times, None where there are none, and the book as integers, [rows, levels, 4]; checked."""
    table = read_table("data", path)
    columns, time = table.columns, table.columns % 4
    if columns < 4 or time > 1:
        raise InvalidInput(
            f"{path}, line {table.line[0]}", f"{columns} columns", "4 per level, or 1 + 4 per level with a time column"
        )
    sides = [side for name in table.names or () for side in ("ask", "bid") if side in name.lower()]
    if sides[:1] == ["bid"]:
        raise table.refused(0, "asks before bids in LOBSTER's layout; name a table's columns by columns=")
    values = table.numbers()
    seconds = values[:, 0].copy() if time else None
    book = table.whole(values[:, time:], "whole prices (dollars × 10,000) and sizes").reshape(len(table), -1, 4)
    runs = np.ones(1, bool) if seconds is None else np.diff(seconds, prepend=seconds[0]) >= 0
    near = np.ones(1, bool) if seconds is None else np.abs(seconds) < LATEST
    ask, bid = book[:, :, 0], book[:, :, 2]
    table.check(
        (
            ((book[:, :, 1::2] >= 0).all(axis=(1, 2)), "sizes ≥ 0"),
            (runs, "time that does not run back"),
            (near, f"times below {LATEST:g} seconds"),
            (positive(ask, 1) & positive(bid, -1), "positive prices, or 9999999999 and -9999999999 for none"),
            (ordered(ask) & ordered(-bid), "asks in rising and bids in falling order of price"),
        )
    )
    return seconds, book


def positive(price: np.ndarray, side: int) -> np.ndarray:
    """Whether all prices of a row are above zero or mark a level that does not exist."""
    return ((price > 0) | (price == side * EMPTY_PRICE)).all(axis=1)


def ordered(price: np.ndarray) -> np.ndarray:
    """Whether the levels of each row have rising prices; levels that do not exist come last."""
    return ((price[:, 1:] > price[:, :-1]) | (price[:, 1:] == EMPTY_PRICE)).all(axis=1)


def _tick(path: Path, ask_price: np.ndarray, bid_price: np.ndarray, tick: int | None) -> int:
    """The given tick, checked, or the greatest common divisor of all price differences."""
    prices = np.concatenate([ask_price.ravel(), bid_price.ravel()])
    prices = prices[np.abs(prices) != EMPTY_PRICE]
    common = int(np.gcd.reduce(prices - prices[0]))
    if tick is None:
        return common
    if tick < 1 or common % tick:
        raise InvalidInput("tick", tick, f"a divisor of all price differences in {path}, whose largest is {common}")
    return tick
