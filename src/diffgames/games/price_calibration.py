"""Drift, covariance and jumps of a market from a table of prices.

Simple returns R_k = S_k/S_{k−1} − 1 over steps of dt years. A step is a jump where a return lies further from the
median than `threshold` times a robust deviation (1.4826 median |R − median|) of its asset; every such step is one
atom of the jump measure, of rate 1/(years) and with the returns of all assets, less their median, as its size. The
covariance of the diffusion is the sample covariance of the other steps per year; the drift is the mean return per
year, jumps included. Prices are sorted by their dates, whose spacing must be that of `periods_per_year`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput
from diffgames.games.portfolio import AssetJump, Market
from diffgames.games.price_dates import YEAR, dates_of, is_date
from diffgames.tables import read_table

SMALLEST = 1e-6  # deviation relative to the largest, and 1 − correlation: below, an asset is no asset of its own
CONDITION = 1e4
LEAST, MOST = 1e-60, 1e60  # of prices: their returns and covariances are far from overflow
FACTOR = 1.4  # a price that moves by more from row to row may be a split, or a row in other units


@dataclass(frozen=True)
class Prices:
    """Positive prices, oldest first. `days` are their dates in days, None without dates; `notes` what a user should
    know. Unpacks into names and table."""

    names: tuple[str, ...]
    table: Float[np.ndarray, "times assets"]
    days: Float[np.ndarray, " times"] | None = None
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator:
        return iter((self.names, self.table))


def read_prices(path: str | Path, *, periods_per_year: float | None = None) -> Prices:
    """Prices of one row per time, with or without a header and a first column of dates.

    Dates sort the rows; repeated ones are refused, gaps noted, and their spacing is held to `periods_per_year` where
    that is given. A column is a date where its header or its first row says so. Raises `InvalidInput` naming the line.
    """
    table = read_table("prices", path, blank=True)
    if len(table) < 3:
        raise InvalidInput("prices", str(path), "at least three rows of prices")
    rows = table.cells()
    dated = is_date(table.names[0] if table.names else "", [row[0] for row in rows])
    first = int(dated)
    count = table.columns - first
    if count < 1:
        raise InvalidInput("prices", str(path), "at least one column of prices beside the dates")
    names = table.names[first:] if table.names else tuple(f"asset {n + 1}" for n in range(count))
    if len(set(names)) < count or not all(names):
        raise InvalidInput("prices", f"{path}: header {','.join(names)}", "a name of its own for every asset")
    prices = np.array([[table.value(n, cell) for cell in row[first:]] for n, row in enumerate(rows)], float)
    sound = ((prices >= LEAST) & (prices <= MOST)).all(axis=1)
    table.check([(sound, f"{count} positive prices, from {LEAST:g} to {MOST:g}")])
    notes, days, label = [], None, [f"line {line}" for line in table.line]
    written = [row[0].strip() for row in rows]
    if dated:
        days = dates_of(table, written)
    if days is not None:
        order = np.argsort(days, kind="stable")
        days, prices = days[order], prices[order]
        if (same := np.flatnonzero(np.diff(days) == 0)).size:
            raise table.refused(
                int(order[same[0] + 1]), f"a date of its own; line {table.line[order[same[0]]]} has it too"
            )
        if np.any(np.diff(order) < 0):
            notes.append("the rows of the price file were not in the order of their dates and have been sorted")
        label = [f"{written[n]} (line {table.line[n]})" for n in order]
        notes += _spacing(days, label, periods_per_year)
    else:
        notes.append(
            "no dates are read from the price file: its rows are taken oldest first, periods_per_year is not checked"
        )
    return Prices(names, prices, days, (*notes, *_leaps(prices, names, label)))


def _spacing(days: np.ndarray, label: list[str], periods: float | None) -> list[str]:
    """Notes on gaps; refuses a number of periods per year that the dates cannot have."""
    steps = np.diff(days)
    usual = float(np.median(steps))
    fastest = YEAR / usual  # round the clock; markets that close have fewer
    open_share = (252 / YEAR if usual < 1.5 else 1.0) * (6 / 24 if usual < 0.9 else 1.0)
    if periods is not None and not 0.8 * open_share * fastest <= periods <= 1.1 * fastest:
        raise InvalidInput(
            "periods_per_year",
            periods,
            f"about {open_share * fastest:.4g} to {fastest:.4g}: rows of the price file lie {usual:.4g} days apart",
        )
    gaps = np.flatnonzero(steps > (5.5 * usual if 0.9 <= usual < 1.5 else 1.75 * usual))
    notes = []
    found = (len(days) - 1) / (days[-1] - days[0]) * YEAR
    if periods is not None and len(days) > 60 and usual >= 0.9 and not 0.8 < periods / found < 1.25:
        notes.append(f"the price file has {found:.4g} rows a year, periods_per_year is {periods:.4g}")
    if gaps.size:
        shown = "; ".join(f"{label[n]} to {label[n + 1]}" for n in gaps[:3])
        notes.append(
            f"{gaps.size} gaps in the price file count as one period each: {shown}{'; …' if gaps.size > 3 else ''}"
        )
    return notes


def _leaps(prices: np.ndarray, names: tuple[str, ...], label: list[str]) -> list[str]:
    """Warnings of moves like splits or rows in other units."""
    ratio = prices[1:] / prices[:-1]
    places = np.argwhere(np.abs(np.log(ratio)) > np.log(FACTOR))
    shown = "; ".join(f"{names[k]} × {ratio[n, k]:.4g} at {label[n + 1]}" for n, k in places[:4])
    more = "; …" if len(places) > 4 else ""
    return [f"a split that is not adjusted, or rows in other units (pence)? {shown}{more}"] if len(places) else []


def calibrate(
    prices: Float[np.ndarray, "times assets"],
    *,
    periods_per_year: float,
    rate: float,
    threshold: float = 5.0,
    names: tuple[str, ...] | None = None,
) -> Market:
    """The market of the module's docstring; `rate` is the risk-free rate per year that the drift is in excess of.

    Raises `InvalidInput` naming assets without risk of their own: riskless ones, and near-copies of others.
    """
    if periods_per_year <= 0 or threshold <= 0:
        raise InvalidInput("periods_per_year", periods_per_year, "positive, and a positive jump threshold")
    returns = prices[1:] / prices[:-1] - 1.0
    centre = np.median(returns, axis=0)
    robust = 1.4826 * np.median(np.abs(returns - centre), axis=0)
    jumped = np.any(np.abs(returns - centre) > threshold * np.where(robust > 0, robust, np.inf), axis=1)
    years = len(returns) / periods_per_year
    calm = returns[~jumped]
    if len(calm) <= prices.shape[1] + 1:
        raise InvalidInput("jump_threshold", threshold, "a threshold that leaves more steps without a jump than assets")
    covariance = np.atleast_2d(np.cov(calm.T)) * periods_per_year
    _refuse_copies(covariance, names or tuple(f"asset {n + 1}" for n in range(prices.shape[1])))
    jumps = tuple(AssetJump(1.0 / years, size - centre) for size in returns[jumped])
    return Market(returns.mean(axis=0) * periods_per_year - rate, covariance, jumps)


def condition_note(covariance: Float[np.ndarray, "assets assets"], names: tuple[str, ...]) -> list[str]:
    """A warning where Σ is nearly singular: the assets whose mixture has hardly any risk."""
    values, vectors = np.linalg.eigh(covariance)
    if values[-1] <= CONDITION * values[0]:
        return []
    mixed = ", ".join(names[n] for n in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1))
    return [
        f"the covariance has condition number {values[-1] / values[0]:.2g}: {mixed} have hardly any risk of their own"
    ]


def _refuse_copies(covariance: np.ndarray, names: tuple[str, ...]) -> None:
    deviation = np.sqrt(np.diag(covariance))
    if (still := np.flatnonzero(deviation <= SMALLEST * max(deviation.max(), SMALLEST))).size:
        raise InvalidInput("prices", names[still[0]], "assets with risk: this one is riskless, take it out")
    scaled = covariance / np.outer(deviation, deviation)
    copies = np.argwhere(np.triu(np.abs(scaled) > 1 - SMALLEST, 1))
    if len(copies):
        raise InvalidInput(
            "prices", f"{names[copies[0][0]]}, {names[copies[0][1]]}", "assets that are no copies of one another"
        )
    values, vectors = np.linalg.eigh(scaled)
    if values[0] <= SMALLEST * values[-1]:
        mixed = ", ".join(names[n] for n in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1))
        raise InvalidInput("prices", mixed, "assets of which none is a mixture of the others")
