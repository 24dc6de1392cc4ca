"""When a recorded book is quoted: halts, empty sides, auctions and crossed rows, told apart, cut out and counted.

A row is left out where a side is empty, where the book is crossed or locked, and while a halt lasts. Time is cut out
from the first row of a halt, of an empty side or of a book crossed for `AUCTION` seconds, until the book is quoted
again; a crossed row in passing is left out alone, and the quote before it stands.
"""

from dataclasses import dataclass, replace

import numpy as np

from diffgames.markets.level2 import EMPTY_PRICE
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages

AUCTION = 4.0
"""Seconds for which a book stays crossed in an auction."""

RESUMED = 1  # price of a halt message: −1 starts a halt, 0 lets quotes come back, 1 trades


@dataclass(frozen=True)
class Quoted:
    """`rows` that are quoted, the `cuts` [start, end] of time in between, and rows left out by reason."""

    rows: np.ndarray
    cuts: np.ndarray
    left_out: dict[str, int]

    def aligned(self, interval: float) -> "Quoted":
        """Cuts of an interval or more take whole intervals, so that a grid of them stays on the clock."""
        length = self.cuts[:, 1] - self.cuts[:, 0]
        rest = np.where(length >= interval, length - interval * np.floor(length / interval + 1e-9), 0.0)
        return replace(self, cuts=self.cuts + np.column_stack([np.maximum(rest, 0.0), np.zeros_like(rest)]))

    def clock(self, time: np.ndarray) -> np.ndarray:
        """Quoted time: the time less all that is cut out before it."""
        spent = [np.clip(time - start, 0.0, end - start) for start, end in self.cuts]
        return time - np.sum(spent, axis=0) if spent else time

    def inside(self, time: np.ndarray) -> np.ndarray:
        """Whether a time lies within a cut."""
        found = np.zeros(time.shape, bool)
        for start, end in self.cuts:
            found |= (time > start) & (time < end)
        return found

    def notes(self) -> list[str]:
        """What was left out and cut out, in words."""
        said = []
        if self.left_out:
            counted = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            said.append(f"rows of the order book left out: {counted}")
        if len(self.cuts):
            spent = float((self.cuts[:, 1] - self.cuts[:, 0]).sum())
            said.append(f"{spent:.6g} s without quotes in {len(self.cuts)} pieces are cut out of the record")
        return said


def quoted(events: LobsterMessages, book: LobsterBook) -> Quoted:
    """The quoted rows and the cuts of a LOBSTER day."""
    ask, bid, time = book.ask_price[:, 0], book.bid_price[:, 0], events.time
    halted = _halted(events)
    empty = ~halted & ((np.abs(ask) >= EMPTY_PRICE) | (np.abs(bid) >= EMPTY_PRICE))
    crossed = ~halted & ~empty & (bid >= ask)
    rows = ~(halted | empty | crossed)
    cuts = []
    for start, stop in _runs(~rows):
        end = time[stop] if stop < len(time) else time[-1]
        lasting = bool(halted[start:stop].any() or empty[start:stop].any()) or end - time[start] >= AUCTION
        if lasting and end > time[start]:
            cuts.append((time[start], end))
    reasons = {"in a halt": halted, "with an empty side": empty, "crossed or locked": crossed}
    return Quoted(
        rows=np.flatnonzero(rows),
        cuts=np.array(cuts, float).reshape(-1, 2),
        left_out={reason: int(found.sum()) for reason, found in reasons.items() if found.any()},
    )


def _halted(events: LobsterMessages) -> np.ndarray:
    """Rows of halts, from their first message to the one that trading resumes (or, unsaid, to the next event)."""
    halt = events.type == EventType.HALT
    inside = halt.copy()
    places = np.flatnonzero(halt)
    starts = [n for n in places if events.price[n] < 0]
    for n in starts:
        later = places[places > n]
        resumed = later[events.price[later] == RESUMED] if len(later) else later
        again = later[events.price[later] < 0] if len(later) else later
        if len(resumed) and not (len(again) and again[0] < resumed[0]):
            inside[n : resumed[0]] = True
    return inside


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of the runs of true values."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return list(zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True))
