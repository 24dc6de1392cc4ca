"""Damage small files of every kind that is read, at random, and hold the readers to their promise.

A damaged file is read to finite numbers or refused by `InvalidInput`; anything else is printed and counted.

    python scripts/fuzz_readers.py [files] [seed]
"""

import gzip
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from diffgames.calibration.market_maker import record_of
from diffgames.errors import InvalidInput
from diffgames.games.price_calibration import calibrate, read_prices
from diffgames.markets.level2 import read_level2
from diffgames.markets.lobster import read_pair
from diffgames.markets.snapshots import read_snapshots
from diffgames.markets.top_of_book import as_events, read_quotes, read_trades

BOOK = [f"{10100 + 100 * (n % 2)},5,{9900 + 100 * (n % 2)},7,10300,6,9800,8" for n in range(8)]
EVENTS = [
    f"{34200 + n / 7:.6f},{1 + n % 5},{n + 1},{10 + n},{9900 + 100 * (n % 3)},{1 - 2 * (n % 2)}" for n in range(8)
]
PRICES = [f"2024-01-{n + 1:02d},{100 + n * n % 7},{50 + n * n % 5}" for n in range(10)]
QUOTES = ["time,bid,ask", *(f"2024-03-31T0{n}:30:00.25Z,1{n}.25,1{n + 1}.5" for n in range(8))]
TRADES = ["time;price;size;side", *(f"2024-03-31T0{n}:30:01Z;1{n}.75;{n + 1};{'BS'[n % 2]}" for n in range(8))]
NAMED = ["time,bid_1,bid_size_1,ask_1,ask_size_1", *(f"{n},10.{n},5,10.{n + 1},{n}" for n in range(8))]
PIECES = [b"", b"nan", b"inf", b"1e300", b"-1", b"9" * 25, b"$1", b'"', b",", b";", b"\t", b"\n", b"\r", b"\0", b"\xff",
          b"\xef\xbb\xbf", b"1e-320", b"0", b"1_0", b"0x1", b"\x1f\x8b", b"9999999999", b"1e9", b"--"]  # fmt: skip


def mutated(rows: list[str], rng: np.random.Generator) -> bytes:
    """The rows with one to four damages, one time in four compressed (and damaged again)."""
    raw = "\n".join(rows).encode() + b"\n"
    for _ in range(rng.integers(1, 5)):
        at, length = rng.integers(len(raw) + 1), int(rng.integers(0, 8))
        piece = PIECES[rng.integers(len(PIECES))] if rng.random() < 0.7 else bytes(rng.integers(0, 256, 2).tolist())
        raw = raw[:at] + piece + raw[at + length :]
    if rng.random() < 0.25:
        raw = gzip.compress(raw)
        if rng.random() < 0.5:
            at = rng.integers(len(raw))
            raw = raw[:at] + bytes([raw[at] ^ (1 << int(rng.integers(8)))]) + raw[at + 1 :]
    return raw


def read_all(folder: Path, kind: int, raw: bytes) -> list[np.ndarray]:
    """The numbers that a reader makes of a damaged file."""
    path = folder / "damaged.csv"
    path.write_bytes(raw)
    if kind == 0:
        data = read_level2(path).every(1.0)
        return [data.ask_price, data.spread, data.double_mid, *(() if data.seconds is None else (data.seconds,))]
    if kind == 1:
        prices = read_prices(path, periods_per_year=252.0)
        market = calibrate(prices.table, periods_per_year=252.0, rate=0.01, names=prices.names)
        return [prices.table, market.excess_at(0.0), market.total_at(0.0)]
    if kind in (4, 5):
        quotes, trades = (path, folder / "trades.csv") if kind == 4 else (folder / "quotes.csv", path)
        events, book = as_events(read_quotes(quotes), read_trades(trades))
        record = record_of(events, book, 60.0, unit=4.0, tick=0.25)
        return [events.time, events.price, record.mid, record.depth, record.size, record.moves]
    if kind == 6:
        data = read_snapshots(path)
        return [data.ask_price, data.spread, data.seconds, np.array([data.price_unit])]
    events, book = read_pair(*((path, folder / "book.csv") if kind == 2 else (folder / "events.csv", path)))
    record = record_of(events, book, 0.1)
    return [events.time, record.mid, record.depth, record.trade_time, record.moves]


def fuzz(files: int, seed: int, folder: Path) -> list[str]:
    """What went wrong in that many files, in words."""
    rng, wrong = np.random.default_rng(seed), []
    (folder / "book.csv").write_text("\n".join(BOOK) + "\n")
    (folder / "events.csv").write_text("\n".join(EVENTS) + "\n")
    (folder / "quotes.csv").write_text("\n".join(QUOTES) + "\n")
    (folder / "trades.csv").write_text("\n".join(TRADES) + "\n")
    seconds = [f"{n},{row}" for n, row in enumerate(BOOK)]
    for n in range(files):
        kind = n % 7
        plain = seconds if n % 2 else BOOK
        rows = (plain, ["date,A,B", *PRICES], EVENTS, BOOK, QUOTES, TRADES, NAMED)[kind]
        raw = mutated(rows, rng)
        try:
            if not all(np.isfinite(values).all() for values in read_all(folder, kind, raw)):
                wrong.append(f"kind {kind}: not finite: {raw!r}")
        except InvalidInput as refused:
            if "\n" in str(refused):
                wrong.append(f"kind {kind}: more than one line: {raw!r}")
        except Exception as error:
            wrong.append(f"kind {kind}: {type(error).__name__}: {error}: {raw!r}")
    return wrong


if __name__ == "__main__":
    warnings.simplefilter("error")
    count, start = [int(word) for word in sys.argv[1:]] + [100_000, 0][len(sys.argv) - 1 :]
    with tempfile.TemporaryDirectory() as name:
        found = fuzz(count, start, Path(name))
    print("\n".join(found[:20]))
    print(f"{count} files, {len(found)} that are neither read to finite numbers nor refused")
    sys.exit(bool(found))
