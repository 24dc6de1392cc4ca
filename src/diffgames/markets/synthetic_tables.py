"""Synthetic tables in the formats of a user's own data, with stated parameters: quotes, trades, level-2 snapshots.

The mid moves by a random walk of volatility σ, rounded to ticks. Market orders come on each side at rate A and reach a
depth that is exponential with rate k, cut to whole ticks: a quote n ticks from the mid fills at rate A e^{−k n tick}.
"""

import numpy as np
import pandas as pd

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import Level2
from diffgames.markets.ticks import Number, in_currency, positive
from diffgames.markets.top_of_book import Quotes, Trades

PACE = 0.5  # seconds between quotes


def synthetic_quotes(
    *,
    seconds: Number = 3600.0,
    sigma: Number = 0.03,
    A: Number = 1.0,
    k: Number = 40.0,
    price: Number = 100.0,
    tick: Number = 0.001,
    half_spread: int = 10,
    start: int = 0,
    seed: int = 0,
) -> tuple[Quotes, Trades]:
    """Quotes every half second, `half_spread` ticks to either side of the mid, and trades with their sides.

    σ is in currency/√s, A in 1/s per side, k in 1/currency; `start` is the time of the first quote in nanoseconds.
    """
    for name, value in (("seconds", seconds), ("tick", tick), ("price", price), ("k", k)):
        positive(name, value)
    count = round(seconds / PACE)
    if not 2 <= count <= 10**7:
        raise InvalidInput("seconds", seconds, f"at least {2 * PACE:g}, at most {1e7 * PACE:g}")
    rng = np.random.default_rng(seed)
    walk = sigma * np.sqrt(PACE) / tick * np.concatenate([[0.0], rng.normal(size=count - 1)])
    mid = np.rint(price / tick + np.cumsum(walk)).astype(np.int64)
    if mid.min() <= half_spread:
        raise InvalidInput("sigma", sigma, f"a volatility at which a price of {price:g} stays above zero")
    clock = start + (np.arange(count) * PACE * 1e9).astype(np.int64)
    lots = rng.integers(1, 10, (2, count)).astype(float)
    quotes = Quotes(clock, mid - half_spread, mid + half_spread, *lots, tick=tick, source=f"synthetic, seed {seed}")
    times, sides, depths = [], [], []
    for side in (1, -1):
        orders = rng.poisson(A * (count - 1) * PACE)
        times.append(np.sort(rng.uniform(0.0, (count - 1) * PACE, orders)))
        sides.append(np.full(orders, side))
        depths.append(np.floor(rng.exponential(1.0 / k, orders) / tick))
    seconds_of = np.concatenate(times)
    order = np.argsort(seconds_of, kind="stable")
    side, at = np.concatenate(sides)[order], (seconds_of[order] / PACE).astype(int)
    paid = in_currency(mid[at] + side * np.concatenate(depths)[order], tick)
    size = rng.integers(1, 5, len(order)).astype(float)
    trades = Trades(start + (seconds_of[order] * 1e9).astype(np.int64), paid, size, side, source=quotes.source)
    return quotes, trades


def snapshot_frame(data: Level2) -> pd.DataFrame:
    """Snapshots as a data frame with the columns that `markets.snapshots.read_snapshots` reads by themselves."""
    columns = {"time": np.arange(len(data), dtype=float) if data.seconds is None else data.seconds}
    for level in range(data.levels):
        for side in ("bid", "ask"):
            price, size = (getattr(data, f"{side}_{part}")[:, level] for part in ("price", "size"))
            columns[f"{side}_{level + 1}"] = in_currency(price, 1.0 / data.price_unit)
            columns[f"{side}_size_{level + 1}"] = size * data.lot
    return pd.DataFrame(columns)
