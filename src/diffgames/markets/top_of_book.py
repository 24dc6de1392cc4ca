"""Quotes and trades: the top of a book over time, and what was executed, read from tables by the names of columns.

    quotes      time, bid, ask[, bid_size, ask_size]
    trades      time, price, size[, side]

`side` is that of the order that took: 1, B, buy or −1, S, sell. A quoted size of zero is a side without a quote.
Crossed and locked quotes are kept, and told by `Quotes.crossed`; what uses them leaves them out and counts them.
`as_events` makes both one record of events with a book of one level, as a LOBSTER day is (`markets.lobster`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import EMPTY_PRICE
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages
from diffgames.markets.quoted import RESUMED
from diffgames.markets.ticks import MOST, Number, in_currency, in_ticks, positive
from diffgames.markets.timestamps import times
from diffgames.tables import read_columns

PAUSE = 1800.0
"""Seconds without a quote after which the market is taken to have been closed."""

SIDES = {"1": 1, "+1": 1, "b": 1, "buy": 1, "-1": -1, "s": -1, "sell": -1}


@dataclass(frozen=True)
class Quotes:
    """Best quotes in time order, one array entry each: nanoseconds, whole ticks, sizes in units (1 where not recorded).

    `tick` is in currency.
    """

    time: np.ndarray
    bid: np.ndarray
    ask: np.ndarray
    bid_size: np.ndarray
    ask_size: np.ndarray
    tick: float
    source: str = ""

    def __len__(self) -> int:
        return len(self.time)

    @property
    def crossed(self) -> np.ndarray:
        """Where both sides are quoted and the bid is not below the ask: crossed or locked."""
        return (self.bid >= self.ask) & (self.bid_size > 0) & (self.ask_size > 0)

    def frame(self) -> pd.DataFrame:
        """The quotes as a data frame in currency, that `read_quotes(…, time_unit="ns")` reads."""
        money = {name: in_currency(getattr(self, name), self.tick) for name in ("bid", "ask")}
        return pd.DataFrame({"time": self.time, **money, "bid_size": self.bid_size, "ask_size": self.ask_size})


@dataclass(frozen=True)
class Trades:
    """Trades in time order: nanoseconds, price in currency, size in units, side (0: not recorded)."""

    time: np.ndarray
    price: np.ndarray
    size: np.ndarray
    side: np.ndarray
    source: str = ""

    def __len__(self) -> int:
        return len(self.time)

    def frame(self) -> pd.DataFrame:
        """The trades as a data frame that `read_trades(…, time_unit="ns")` reads; without `side` where none is."""
        found = pd.DataFrame({"time": self.time, "price": self.price, "size": self.size, "side": self.side})
        return found if np.any(self.side) else found.drop(columns="side")


def read_quotes(
    source: Any,
    *,
    columns: Mapping[str, Any] | None = None,
    price_unit: Number = 1.0,
    tick: Number | None = None,
    time_unit: str = "s",
    zone: str = "UTC",
) -> Quotes:
    """Quotes from a file or a data frame (`tables.read_columns`, `markets.timestamps`, `markets.ticks` say how).

    Raises `InvalidInput` naming the line and what is allowed there.
    """
    found = read_columns("quotes", source, ("time", "bid", "ask"), ("bid_size", "ask_size"), columns)
    table = found.table
    clock = times(table, found.cells["time"], time_unit, zone)
    sizes = [found.numbers(name) if name in found else np.ones(len(table)) for name in ("bid_size", "ask_size")]
    size = np.column_stack(sizes)
    table.check([((size >= 0).all(axis=1), "sizes that are not negative")])
    raw = np.column_stack([found.numbers("bid"), found.numbers("ask")])
    ticks, step = in_ticks(table, np.where(size > 0, raw, np.nan), price_unit, tick)
    return Quotes(clock, *ticks.T.copy(), *size.T.copy(), tick=step, source=table.source)


def read_trades(
    source: Any,
    *,
    columns: Mapping[str, Any] | None = None,
    price_unit: Number = 1.0,
    time_unit: str = "s",
    zone: str = "UTC",
) -> Trades:
    """Trades from a file or a data frame; a price need not be a multiple of a tick (mid-point prints).

    Raises `InvalidInput` naming the line and what is allowed there.
    """
    positive("price_unit", price_unit)
    found = read_columns("trades", source, ("time", "price", "size"), ("side",), columns)
    table = found.table
    clock = times(table, found.cells["time"], time_unit, zone)
    price, size = found.numbers("price"), found.numbers("size")
    pairs = ((price, "price"), (size, "size"))
    side = np.zeros(len(table), np.int64)
    if "side" in found:
        words = [cell.strip().lower().removesuffix(".0") for cell in found.cells["side"]]
        known = np.array([word in SIDES for word in words])
        table.check([(known, "a side: 1, B or buy, −1, S or sell")])
        side = np.array([SIDES[word] for word in words], np.int64)
    table.check([((part > 0) & (part < MOST), f"a positive {what} below {MOST:g}") for part, what in pairs])
    return Trades(clock, price * price_unit, size, side, source=table.source)


def as_events(quotes: Quotes, trades: Trades, pause: Number = PAUSE) -> tuple[LobsterMessages, LobsterBook]:
    """Quotes and trades as the events of a LOBSTER day, prices in ticks, times in seconds from the first quote.

    A trade without a side has that of the mid before it on which its price lies. Where no quote comes for `pause`
    seconds a halt begins with the last one and ends with the next. Raises `InvalidInput` where the two records do not
    overlap in time or in price.
    """
    if not (quotes.time[0] < trades.time[-1] and trades.time[0] < quotes.time[-1]):
        raise InvalidInput(
            "trades", trades.source, f"trades within the time of {quotes.source}: look at units and zone"
        )
    place = np.maximum(np.searchsorted(quotes.time, trades.time, side="left") - 1, 0)
    mid = 0.5 * (quotes.bid + quotes.ask)[place]
    price = trades.price / quotes.tick
    if not 0.5 < float(np.median(price / np.maximum(mid, 0.5))) < 2.0:
        raise InvalidInput("trades", trades.source, f"prices near those of {quotes.source}: look at price_unit")
    side = np.where(trades.side != 0, trades.side, np.where(price < mid, -1, 1))
    long = np.flatnonzero(np.diff(quotes.time) > pause * 1e9)
    begins, ends = np.full(len(long), EventType.HALT), np.full(len(long), EventType.HALT)
    kinds = [ends, np.full(len(quotes), EventType.NEW_ORDER), np.full(len(trades), EventType.EXECUTION), begins]
    clock = np.concatenate([quotes.time[long + 1], quotes.time, trades.time, quotes.time[long]])
    known = np.clip(np.searchsorted(quotes.time, trades.time, side="right") - 1, 0, None)
    rows = np.concatenate([long, np.arange(len(quotes)), known, long])
    paid = np.concatenate([np.full(len(long), float(RESUMED)), quotes.bid, price, np.full(len(long), -1.0)])
    taken = np.concatenate([0.0 * long, 0.0 * quotes.bid, trades.size, 0.0 * long])
    resting = np.concatenate([0 * long, np.ones(len(quotes), np.int64), -side, 0 * long])
    rank = np.concatenate([np.full(len(part), place) for place, part in enumerate(kinds)])
    order = np.lexsort((rank, clock))
    events = LobsterMessages(
        (clock[order] - quotes.time[0]) / 1e9,
        np.concatenate(kinds)[order],
        order,
        taken[order],
        paid[order],
        resting[order],
        source=f"{quotes.source}, {trades.source}",
    )
    ask = np.where(quotes.ask_size > 0, quotes.ask, EMPTY_PRICE)
    bid = np.where(quotes.bid_size > 0, quotes.bid, -EMPTY_PRICE)
    levels = (column[rows[order], None] for column in (ask, quotes.ask_size, bid, quotes.bid_size))
    return events, LobsterBook(*levels, source=quotes.source)
