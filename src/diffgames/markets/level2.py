"""Level-2 order-book data: best prices and sizes on both sides, one row per snapshot.

Two layouts are read, plain or gzip CSV, prices in dollars × 10,000 (LOBSTER's units):

* one row per second: second, then (ask price, ask size, bid price, bid size) per level;
* LOBSTER order-book file, one row per event, (ask price, ask size, bid price, bid size) per level; the times come from
  the message file beside it (same name up to `_orderbook`), and the book is sampled once a second.

Empty levels (price ±9999999999) get size zero. Rows with a crossed or empty touch, and `SETTLING` rows after each (an
auction's aftermath), are dropped and counted.
"""

import csv
import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput

EMPTY_PRICE = 9_999_999_999
SETTLING = 4


@dataclass(frozen=True)
class Level2:
    """Snapshots in time order: prices (dollars × 10,000), sizes (lots), both [rows, levels], best level first.

    `tick` is the price grid in the prices' units; `segment` numbers stretches without dropped rows: variations are
    taken inside a segment only. `notes` are warnings about the data.
    """

    second: Float[np.ndarray, " rows"]
    ask_price: Float[np.ndarray, "rows levels"]
    ask_size: Float[np.ndarray, "rows levels"]
    bid_price: Float[np.ndarray, "rows levels"]
    bid_size: Float[np.ndarray, "rows levels"]
    segment: Float[np.ndarray, " rows"]
    tick: float
    dropped: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def spread(self) -> Float[np.ndarray, " rows"]:
        """Best ask minus best bid, in ticks."""
        return (self.ask_price[:, 0] - self.bid_price[:, 0]) / self.tick

    @property
    def mid(self) -> Float[np.ndarray, " rows"]:
        """Mid price, in ticks."""
        return (self.ask_price[:, 0] + self.bid_price[:, 0]) / (2 * self.tick)


def read_level2(path: str | Path, tick: float | None = None) -> Level2:
    """Read a level-2 file; `tick` (dollars × 10,000) is inferred from the price differences when not given.

    Raises `InvalidInput` naming the file and the line for malformed rows, and the file when it cannot be read.
    """
    path = Path(path)
    rows = _numbers(path)
    width = rows.shape[1]
    if width % 4 == 1:
        second, rows = rows[:, 0], rows[:, 1:]
        if np.any(np.diff(second) <= 0):
            line = int(np.argmax(np.diff(second) <= 0)) + 2
            raise InvalidInput("data", f"{path.name} line {line}", "seconds that increase from row to row")
    elif width % 4 == 0:
        second = _event_times(path, len(rows))
        last = np.append(np.flatnonzero(np.diff(np.floor(second)) > 0), len(rows) - 1)
        second, rows = np.floor(second[last]), rows[last]
    else:
        raise InvalidInput("data", f"{path.name} with {width} columns", "4 columns per level, after a second or none")
    return _snapshots(second, rows, tick, path.name)


def _snapshots(second: np.ndarray, rows: np.ndarray, tick: float | None, name: str) -> Level2:
    ask_price, ask_size, bid_price, bid_size = (rows[:, column::4] for column in range(4))
    ask_size = np.where(np.abs(ask_price) >= EMPTY_PRICE, 0.0, ask_size)
    bid_size = np.where(np.abs(bid_price) >= EMPTY_PRICE, 0.0, bid_size)
    bad = (ask_price[:, 0] <= bid_price[:, 0]) | (ask_size[:, 0] <= 0) | (bid_size[:, 0] <= 0)
    unsettled = np.convolve(bad, np.ones(SETTLING + 1))[: len(bad)] > 0
    kept = ~unsettled
    if kept.sum() < 50:
        raise InvalidInput("data", name, f"at least 50 rows with an uncrossed book; {int(kept.sum())} are left")
    tick = _infer_tick(ask_price[kept], ask_size[kept]) if tick is None else tick
    notes = [f"{int(unsettled.sum())} of {len(bad)} rows dropped: crossed or one-sided, and {SETTLING} rows after each"]
    both = (ask_size[kept][:, 1:] > 0) & (ask_size[kept][:, :-1] > 0)
    adjacent = np.mean(np.diff(ask_price[kept], axis=1)[both] <= tick * 1.001) if both.any() else 1.0
    spread = (ask_price[kept, 0] - bid_price[kept, 0]) / tick
    if adjacent < 0.8 or np.median(spread) > 3:
        notes.append(
            f"levels are one tick apart in {adjacent:.0%} of cases and the median spread is {np.median(spread):.0f} ticks: "
            "the exchange model's assumption of adjacent levels (Section 2.3.1) does not hold for this file"
        )
    return Level2(
        second=second[kept],
        ask_price=ask_price[kept],
        ask_size=ask_size[kept],
        bid_price=bid_price[kept],
        bid_size=bid_size[kept],
        segment=np.cumsum(unsettled)[kept].astype(float),
        tick=float(tick),
        dropped=int(unsettled.sum()),
        notes=tuple(notes if unsettled.any() else notes[1:]),
    )


def _infer_tick(price: np.ndarray, size: np.ndarray) -> float:
    """Greatest common divisor of the differences between occupied levels."""
    differences = np.diff(price, axis=1)[(size[:, 1:] > 0) & (size[:, :-1] > 0)]
    steps = np.unique(differences[differences > 0].astype(np.int64))
    if len(steps) == 0:
        raise InvalidInput("data", "one level per side", "at least two levels, or the tick given")
    return float(np.gcd.reduce(steps))


def _event_times(path: Path, rows: int) -> np.ndarray:
    prefix = path.name.split("_orderbook")[0]
    beside = sorted(path.parent.glob(f"{prefix}_message*"))
    if "_orderbook" not in path.name or not beside:
        raise InvalidInput("data", path.name, "a file of seconds, or an order-book file with its message file beside it")
    times = _numbers(beside[0])[:, 0]
    if len(times) != rows:
        raise InvalidInput("data", path.name, f"as many rows as {beside[0].name} ({len(times)}); it has {rows}")
    return times


def _numbers(path: Path) -> np.ndarray:
    """The file as a matrix of finite numbers; the first malformed line is named."""
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw).decode() if path.suffix == ".gz" else raw.decode()
    except (OSError, EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise InvalidInput("data", str(path), f"a readable .csv or .csv.gz file ({type(error).__name__})") from error
    try:
        matrix = np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
        if matrix.size and np.isfinite(matrix).all():
            return matrix
    except ValueError:
        pass
    width = None
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        width = width or len(row)
        if len(row) != width:
            raise InvalidInput("data", f"{path.name} line {number}", f"{width} columns like the first line, not {len(row)}")
        for cell in row:
            try:
                finite = np.isfinite(float(cell))
            except ValueError:
                finite = False
            if not finite:
                raise InvalidInput("data", f"{path.name} line {number}", f"numbers only, not {cell!r}")
    raise InvalidInput("data", str(path), "a file with rows of numbers; it is empty")
