"""Drift, covariance and jumps of a market from a table of prices.

Simple returns R_k = S_k/S_{k−1} − 1 over steps of dt years. A step is a jump where a return lies further from the
median than `threshold` times a robust deviation (1.4826 median |R − median|) of its asset; every such step is one
atom of the jump measure, of rate 1/(years) and with the returns of all assets, less their median, as its size. The
covariance of the diffusion is the sample covariance of the other steps per year; the drift is the mean return per
year, jumps included.
"""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput
from diffgames.games.portfolio import AssetJump, Market


def read_prices(path: Path) -> tuple[tuple[str, ...], Float[np.ndarray, "times assets"]]:
    """Names and positive prices: a header, then one row per time; a first column that is no number is the date."""
    try:
        rows = [row for row in csv.reader(path.read_text().splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("prices", str(path), f"a readable CSV file ({error})") from error
    if len(rows) < 4:
        raise InvalidInput("prices", str(path), "a header and at least three rows of prices")
    dated = not _is_number(rows[1][0])
    names = tuple(rows[0][1:] if dated else rows[0])
    table = []
    for line, row in enumerate(rows[1:], start=2):
        cells = row[1:] if dated else row
        if len(cells) != len(names) or not all(_is_number(cell) and float(cell) > 0 for cell in cells):
            raise InvalidInput("prices", f"{path}, line {line}: {','.join(row)}", f"{len(names)} positive prices")
        table.append([float(cell) for cell in cells])
    return names, np.asarray(table)


def calibrate(
    prices: Float[np.ndarray, "times assets"], *, periods_per_year: float, rate: float, threshold: float = 5.0
) -> Market:
    """The market of the module's docstring; `rate` is the risk-free rate per year that the drift is in excess of."""
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
    jumps = tuple(AssetJump(1.0 / years, size - centre) for size in returns[jumped])
    return Market(returns.mean(axis=0) * periods_per_year - rate, covariance, jumps)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
