"""Prices of a record as whole ticks, and sizes as whole lots, with a question where the unit cannot be right.

A number x in a file is the price x · `price_unit` in currency (0.01: the file is in cents; 0.0001: LOBSTER's), and
x · `price_unit` / `tick` ticks. Where no tick is given it is the largest of which all price differences are multiples.
"""

import numpy as np
from jaxtyping import Float, Int

from diffgames.errors import InvalidInput
from diffgames.tables import Table

Number = float | int
DECIMALS = 9
SUSPECT = 4
"""Prices that all lie so many ticks apart, or more, are hardly in the unit that was said."""
MOST = 1e15  # a price in any unit
DISTINCT = 20  # prices from which on that is judged
ROUNDINGS = 16  # of a float's spacing, that a product of a few factors may be off


def in_ticks(
    table: Table, prices: Float[np.ndarray, "rows columns"], price_unit: Number, tick: Number | None
) -> tuple[Int[np.ndarray, "rows columns"], float]:
    """Prices in whole ticks, NaN (no price) as 0, and the tick in currency.

    Raises `InvalidInput` for a price that is not positive or no multiple of the tick, and where all of them together
    say that `tick` or `price_unit` is another.
    """
    positive("price_unit", price_unit)
    there = np.isfinite(prices)
    table.check([((~there | ((prices > 0) & (prices < MOST))).all(axis=1), f"positive prices below {MOST:g}")])
    if tick is None:
        tick = _common(table, np.unique(prices[there])) * price_unit
    positive("tick", tick)
    ratio = np.where(there, prices, 0.0) * (price_unit / tick)
    whole = np.rint(ratio)
    holds = (np.abs(ratio - whole) <= ROUNDINGS * np.spacing(ratio)) & (whole < 2.0**53) & (~there | (whole > 0))
    table.check([(holds.all(axis=1), f"prices in multiples of the tick, {tick:g}, with price_unit={price_unit:g}")])
    found = np.unique(whole[there].astype(np.int64))
    apart = int(np.gcd.reduce(np.diff(found))) if len(found) > 1 else 1
    if len(found) >= DISTINCT and apart >= SUSPECT:
        said = f"all {len(found)} prices of {table.source} lie multiples of {apart} ticks apart"
        raise InvalidInput("tick", tick, f"tick={tick * apart:g} ({said}), or price_unit={tick:g} if they are in ticks")
    return whole.astype(np.int64), tick


def in_lots(table: Table, sizes: Float[np.ndarray, "rows columns"], lot: Number) -> Int[np.ndarray, "rows columns"]:
    """Sizes in whole lots; raises `InvalidInput` for one that is negative or no multiple of a lot."""
    positive("lot", lot)
    table.check([((sizes < MOST).all(axis=1), f"sizes below {MOST:g}")])
    ratio = sizes / lot
    whole = np.rint(ratio)
    holds = (np.abs(ratio - whole) <= ROUNDINGS * np.spacing(np.abs(ratio))) & (whole >= 0) & (whole < 2.0**53)
    table.check([(holds.all(axis=1), f"sizes in multiples of the lot, {lot:g}, none negative")])
    return whole.astype(np.int64)


def in_currency(ticks: np.ndarray, tick: Number) -> Float[np.ndarray, "..."]:
    """Ticks as the shortest decimals: 114605 ticks of 0.00001 are 1.14605, not 1.1460500000000002."""
    return np.array([float(f"{value:.15g}") for value in np.ravel(ticks * tick)]).reshape(np.shape(ticks))


def positive(key: str, value: Number) -> None:
    """Raise `InvalidInput` for what is no positive, finite number."""
    if not (np.isfinite(value) and value > 0):
        raise InvalidInput(key, value, "a positive, finite number")


def _common(table: Table, prices: Float[np.ndarray, " n"]) -> float:
    """The largest step of which all differences of the prices are multiples, by their decimals."""
    for decimals in range(DECIMALS + 1):
        scaled = prices * 10.0**decimals
        whole = np.rint(scaled)
        if np.all(np.abs(scaled - whole) <= ROUNDINGS * np.spacing(scaled)) and np.all(whole < 2.0**53):
            steps = np.diff(whole.astype(np.int64))
            common = int(np.gcd.reduce(steps)) if steps.size else 1
            return common / 10.0**decimals
    raise InvalidInput("tick", None, f"the tick of {table.source}, whose prices have more than {DECIMALS} decimals")
