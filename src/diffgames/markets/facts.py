"""Stylised facts of a market, recorded and simulated, by the same code.

Both are brought into one form, `BookSeries`: mid, spread and the volumes of the best levels, [steps, blocks], where a
block is an episode of the simulation, or as long a stretch of the record without a gap. With δ_t the mid's change in
a step, s_t the spread, and C(x, k) the autocorrelation of x at lag k within blocks, about the mean of all of them:

* `mid_deviation` std δ, `mid_deviation_k` std(P_{t+k} − P_t)/√k (the signature plot), `unchanged_share` P(δ = 0) and
  `kurtosis` E(δ − Eδ)⁴ / (std δ)⁴;
* `spread_autocorrelation` C(s, 1), `change_autocorrelation` C(δ, 1), `absolute_change_autocorrelation` C(|δ|, 1),
  `best_volume_autocorrelation` (and `_60`) C(V_1, 10) and C(V_1, 60), the mean over both sides;
* the order flow at the best bid (price b, volume V) is e_t = 1{b_t ≥ b_{t−1}} V_t − 1{b_t ≤ b_{t−1}} V_{t−1}, and that
  at the best ask likewise with prices negated (Cont, Kukanov and Stoikov, J. Financial Econometrics 12, 2014, equation
  (4)): `flow_autocorrelation` is C(e_bid − e_ask, 1), `volume_per_step` is E(|e_bid| + |e_ask|), which a series of
  books shows whether it was traded or not;
* `imbalance_correlation` (and `_5`): that of the imbalance (V_bid − V_ask)/(V_bid + V_ask) at the best with the change
  of the mid over the next step (and five), by which a full queue foretells the price (Gould and Bonart, Market
  Microstructure and Liquidity 2, 2016);
* `level_deviation_l` is the standard deviation of the volume at level l, `level_volume_deviation` their mean;
* `resilience`: of the ticks by which spreads widened in a step, the share that is gone `RESILIENCE` steps later.

Intervals are 95%, from the jackknife that leaves out one of up to `GROUPS` runs of neighbouring blocks at a time.
Units: prices in ticks, volumes in lots, lags in steps. What a series is too short for is NaN.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import t as student

from diffgames.markets.ecn_scores import LevelPaths
from diffgames.markets.level2 import Level2
from diffgames.markets.market_state import StepRecord
from diffgames.markets.resilience import autocorrelation

LAGS, RESILIENCE, GROUPS = (1, 5, 10, 30), 5, 20
UNITS = {"mid_deviation": "ticks", "spread_auto": "1", "spread": "ticks", "depth": "lots"}
UNITS |= {"volume_per_step": "lots", "level": "lots"}


class BookSeries(NamedTuple):
    """Books in time order: mid and spread (ticks), volumes of the best levels of both sides (lots)."""

    mid: Float[np.ndarray, "steps blocks"]
    spread: Float[np.ndarray, "steps blocks"]
    bid: Float[np.ndarray, "steps blocks levels"]
    ask: Float[np.ndarray, "steps blocks levels"]

    def only(self, blocks: np.ndarray) -> "BookSeries":
        """The chosen blocks."""
        return BookSeries(*(values[:, blocks] for values in self))


def of_record(record: StepRecord, exchange: int = 0) -> BookSeries:
    """The books of one exchange in recorded episodes, before each step's trades."""
    bid, ask = (np.asarray(best, np.float64)[:, :, exchange] for best in (record.best_bid, record.best_ask))
    volume = np.asarray(record.level_volume, np.float64)[:, :, exchange]
    bids, asks = np.split(volume, 2, axis=-1)
    return BookSeries((bid + ask) / 2, ask - bid, bids, asks)


def of_paths(paths: LevelPaths, settling: int) -> BookSeries:
    """The books of an exchange agent left alone, the first `settling` steps of every path left out."""
    mid, spread = np.cumsum(np.asarray(paths.mid_change, np.float64), axis=1) / 2, np.asarray(paths.spread, np.float64)
    bid, ask = np.split(np.asarray(paths.volume, np.float64), 2, axis=-1)
    return BookSeries(*(values[:, settling:].swapaxes(0, 1) for values in (mid, spread, bid, ask)))


def of_level2(data: Level2, levels: int, length: int, step: float = 1.0) -> BookSeries:
    """The recorded books every `step` seconds in blocks of `length` rows, shorter where the record has not eight."""
    data = data.every(step)
    length, levels = max(2, min(length, len(data) // 8)), min(levels, data.levels)
    breaks = np.diff(data.row) != 1
    if data.seconds is not None:
        gap = np.diff(data.seconds)
        breaks |= np.abs(gap - np.median(gap)) >= 0.5 * np.median(gap)
    runs = np.split(np.arange(len(data)), np.flatnonzero(breaks) + 1)
    whole = [run[: len(run) // length * length].reshape(-1, length) for run in runs]
    rows = np.concatenate(whole).T
    return BookSeries(
        mid=data.double_mid[rows] / 2,
        spread=data.spread[rows].astype(np.float64),
        bid=data.bid_size[:, :levels][rows].astype(np.float64),
        ask=data.ask_size[:, :levels][rows].astype(np.float64),
    )


def statistics(series: BookSeries) -> dict[str, float]:
    """Every statistic of the module's docstring, by name."""
    change = np.diff(series.mid, axis=0)
    bid = _order_flow(series.mid - series.spread / 2, series.bid[:, :, 0])
    ask = _order_flow(-series.mid - series.spread / 2, series.ask[:, :, 0])
    sides = np.stack([series.bid, series.ask], axis=2)
    deviation = sides.std(axis=(0, 1)).mean(axis=0)
    best = [autocorrelation(sides[..., 0], lag).mean() for lag in (10, 60)]
    centred = change - _mean(change)
    variance = _mean(centred**2)
    return {
        "spread": _mean(series.spread),
        "depth": _mean(sides[..., 0]),
        "mid_deviation": float(np.sqrt(variance)),
        **{f"mid_deviation_{lag}": _deviation(series.mid, lag) for lag in LAGS[1:]},
        "unchanged_share": _mean(change == 0),
        "kurtosis": _mean(centred**4) / variance**2 if variance > 0 else float("nan"),
        "spread_autocorrelation": float(autocorrelation(series.spread, 1)),
        "change_autocorrelation": float(autocorrelation(change, 1)),
        "absolute_change_autocorrelation": float(autocorrelation(np.abs(change), 1)),
        "flow_autocorrelation": float(autocorrelation(bid - ask, 1)),
        "imbalance_correlation": _foretold(series, 1),
        "imbalance_correlation_5": _foretold(series, 5),
        "best_volume_autocorrelation": float(best[0]),
        "best_volume_autocorrelation_60": float(best[1]),
        "level_volume_deviation": float(deviation.mean()),
        **{f"level_deviation_{level}": float(value) for level, value in enumerate(deviation, 1)},
        "volume_per_step": _mean(np.abs(bid) + np.abs(ask)),
        "resilience": _resilience(series.spread),
    }


def with_intervals(series: BookSeries) -> dict[str, tuple[float, float]]:
    """Every statistic with the half-width of its 95% interval, by the jackknife over runs of blocks."""
    values, blocks = statistics(series), np.arange(series.mid.shape[1])
    groups = np.array_split(blocks, min(GROUPS, len(blocks)))
    if len(groups) < 3:
        return {name: (value, float("nan")) for name, value in values.items()}
    left_out = [statistics(series.only(np.setdiff1d(blocks, group))) for group in groups]
    number = len(groups)
    found = {}
    for name, value in values.items():
        others = np.array([one[name] for one in left_out])
        error = np.sqrt((number - 1) * np.mean((others - others.mean()) ** 2))
        found[name] = (value, float(student.ppf(0.975, number - 1) * error))
    return found


def named(facts: xr.Dataset) -> dict[str, list[float]]:
    """{name: [recorded, simulated]} of compared facts."""
    return {str(name): facts.value.sel(statistic=name).values.tolist() for name in facts.statistic.values}


def compare(recorded: BookSeries, simulated: BookSeries) -> xr.Dataset:
    """Recorded beside simulated: `value` and `half_width` [statistic, source], the signature plot [source, lag]."""
    both = [with_intervals(recorded), with_intervals(simulated)]
    names = [name for name in both[0] if name in both[1]]
    value, half = (np.array([[one[name][part] for one in both] for name in names]) for part in (0, 1))
    lags = [names.index("mid_deviation" if lag == 1 else f"mid_deviation_{lag}") for lag in LAGS]
    axes, unit_of = ("source", "lag"), lambda name: next((u for key, u in UNITS.items() if name.startswith(key)), "1")
    return xr.Dataset(
        {
            "value": (("statistic", "source"), value),
            "half_width": (("statistic", "source"), half),
            "signature": (axes, value[lags].T, {"units": "ticks", "long_name": "deviation of the mid's change / √lag"}),
            "signature_half_width": (axes, half[lags].T, {"units": "ticks"}),
        },
        coords={
            "statistic": names,
            "source": ["recorded", "simulated"],
            "lag": ("lag", list(LAGS), {"units": "steps"}),
            "unit": ("statistic", [unit_of(name) for name in names]),
        },
    )


def distances(facts: xr.Dataset) -> xr.DataArray:
    """(simulated − recorded) / half-width of the difference's 95% interval, per statistic: in [−1, 1] within it."""
    recorded, simulated = facts.value.sel(source="recorded"), facts.value.sel(source="simulated")
    half = np.sqrt((facts.half_width**2).sum("source", skipna=False))
    return ((simulated - recorded) / half).drop_vars("source", errors="ignore")


def warnings(facts: xr.Dataset) -> list[str]:
    """A line that names every statistic whose band is left, with both values; none where all are within."""
    outside = facts.statistic.values[np.abs(distances(facts).values) > 1]
    pairs = {str(name): facts.value.sel(statistic=name).values for name in outside}
    said = ", ".join(f"{name} {recorded:.3g} → {simulated:.3g}" for name, (recorded, simulated) in pairs.items())
    return [f"stylised facts outside the recorded bands (recorded → simulated): {said}"] if said else []


def _order_flow(price: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """e_t of the side whose best price rises with `price`."""
    return (price[1:] >= price[:-1]) * volume[1:] - (price[1:] <= price[:-1]) * volume[:-1]


def _deviation(mid: np.ndarray, lag: int) -> float:
    return float(np.std(mid[lag:] - mid[:-lag]) / np.sqrt(lag)) if len(mid) > lag else float("nan")


def _foretold(series: BookSeries, lag: int) -> float:
    """The correlation of the imbalance at the best with the mid's change over the next `lag` steps."""
    bid, ask = series.bid[:-lag, :, 0], series.ask[:-lag, :, 0]
    both = bid + ask
    imbalance = np.divide(bid - ask, both, out=np.zeros_like(both), where=both > 0)
    change = series.mid[lag:] - series.mid[:-lag]
    imbalance, change = imbalance - _mean(imbalance), change - _mean(change)
    scale = np.sqrt(np.sum(imbalance**2) * np.sum(change**2))
    return float(np.sum(imbalance * change) / scale) if scale > 0 else float("nan")


def _resilience(spread: np.ndarray) -> float:
    widened = np.maximum(spread[1:] - spread[:-1], 0)[: len(spread) - 1 - RESILIENCE]
    if not len(widened) or widened.sum() == 0:
        return float("nan")
    left = (spread[1 + RESILIENCE :] - spread[: -1 - RESILIENCE])[widened > 0]
    return float(1.0 - left.sum() / widened.sum())


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if np.size(values) else float("nan")
