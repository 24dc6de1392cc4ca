"""What trading cost and what it moved: measured on the table of trades of `tape` and the path of the mid.

A trade of v lots in step t at the price p a lot has side d = +1 where its initiator buys, −1 where it sells; P_t is the
mid before it and P_{t+k} the mid k steps later. Per lot, in ticks,

    effective half-spread  d (p − P_t)  =  realised half-spread  d (p − P_{t+k})  +  impact  d (P_{t+k} − P_t).

The realised half-spread at k is the *mark-out* of the side that was traded against: what it still holds of its spread
k steps later. It is given for each kind of counterparty: takers by supertype, with providers or at exchanges, and the
providers' hedges. With V_b the volume-weighted price of all takers' trades of episode b,

    implementation shortfall   d (p − P_0) against arrival,   d (p − V_b) against VWAP,

an order being what a taker does in an episode. Impact against size takes Q_t, the net lots that reach the exchanges in
a step (takers and hedges), and gives sign(Q_t)(P_{t+k} − P_t) in bins of |Q_t|; flow that goes on in later steps is
part of it. Means weigh lots (impact: steps); a ratio r = Σ_b N_b / Σ_b D_b over episodes b has the standard error
√(B/(B−1) Σ_b (N_b − r D_b)²) / Σ_b D_b, which needs no independence within an episode. NaN: nothing to measure.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

HORIZONS = (1, 5, 30)
BINS = 4


class Mean(NamedTuple):
    """A weighted mean and its standard error over episodes."""

    value: float
    error: float


def ratio(values: np.ndarray, weights: np.ndarray, episode: np.ndarray, episodes: int) -> Mean:
    """Σ weights·values / Σ weights over the finite values, with the standard error clustered by episode."""
    used = np.isfinite(values)
    numerator, denominator = (
        np.bincount(episode[used], weights=part[used], minlength=episodes) for part in (weights * values, weights)
    )
    total = denominator.sum()
    if total <= 0:
        return Mean(float("nan"), float("nan"))
    mean = numerator.sum() / total
    spread = np.sum((numerator - mean * denominator) ** 2) * episodes / max(episodes - 1, 1)
    return Mean(float(mean), float(np.sqrt(spread) / total) if episodes > 1 else float("nan"))


def costs(trades: pd.DataFrame, mid: Float[np.ndarray, "times episodes"]) -> xr.Dataset:
    """Spreads and mark-outs [counterparty, horizon], shortfall [supertype, benchmark], impact [size, horizon].

    `trades` is the table of `tape.tables`; `mid` is P_0, …, P_T of each episode, in ticks. Errors end in `_error`.
    """
    episode, step, side, lots, price = (
        np.asarray(trades[name]) for name in ("episode", "step", "side", "lots", "price")
    )
    later = np.stack([_later(mid, step, episode, horizon) for horizon in HORIZONS])
    who = _counterparties(trades)
    axes, by = ("counterparty", "horizon"), (lots, episode, mid.shape[1])
    effective = _means("effective", axes, who.values(), [side * (price - mid[step, episode])], *by).isel(horizon=0)
    markout = _means("markout", axes, who.values(), side * (price - later), *by)
    found = xr.merge([markout, effective, _shortfall(trades, mid), _impact(trades, mid)])
    found = found.assign_coords(counterparty=list(who), horizon=("horizon", list(HORIZONS), {"units": "steps"}))
    for variable in found.data_vars.values():
        variable.attrs["units"] = "ticks per lot"
    for name in ("impact", "impact_error"):
        found[name].attrs["units"] = "ticks"
    return found


def mid_path(tape: xr.Dataset) -> Float[np.ndarray, "times episodes"]:
    """P_0, …, P_T of every episode of a stored tape."""
    return np.concatenate([tape.price.values, tape.next_price.values[-1:]]).astype(np.float64)


def _means(
    name: str,
    axes: tuple[str, str],
    rows: Iterable[np.ndarray],
    columns: Iterable[np.ndarray],
    weights: np.ndarray,
    episode: np.ndarray,
    episodes: int,
) -> xr.Dataset:
    """Mean and standard error of every column of values over every choice of rows."""
    columns = list(columns)
    table = [[ratio(column[of], weights[of], episode[of], episodes) for column in columns] for of in rows]
    values = np.array(table, np.float64).reshape(len(table), len(columns), 2)
    return xr.Dataset({name: (axes, values[..., 0]), f"{name}_error": (axes, values[..., 1])})


def _later(mid: np.ndarray, step: np.ndarray, episode: np.ndarray, horizon: int) -> np.ndarray:
    """P_{t+k} of each trade, NaN beyond the episode's end."""
    at = step + horizon
    return np.where(at < len(mid), mid[np.minimum(at, len(mid) - 1), episode], np.nan)


def _counterparties(trades: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which rows are whose: takers by supertype and kind of venue, then hedges."""
    taker, served = (trades.kind == "taker").to_numpy(), trades.venue.str.startswith("provider").to_numpy()
    supertypes = sorted(trades.supertype[taker].unique())
    rows = {
        f"takers {supertype} {place}": taker & (trades.supertype == supertype).to_numpy() & at
        for supertype in supertypes
        for place, at in (("with providers", served), ("at exchanges", ~served))
    }
    return {**rows, "hedges": ~taker}


def _shortfall(trades: pd.DataFrame, mid: np.ndarray) -> xr.Dataset:
    """Implementation shortfall of each taker supertype against arrival and against the episode's VWAP."""
    own = trades[trades.kind == "taker"]
    episode, side, lots, price = (np.asarray(own[name]) for name in ("episode", "side", "lots", "price"))
    traded, cash = (np.bincount(episode, weights=weights, minlength=mid.shape[1]) for weights in (lots, lots * price))
    vwap = cash / np.where(traded > 0, traded, np.nan)
    supertypes = sorted(set(own["supertype"]))
    slip = [side * (price - benchmark) for benchmark in (mid[0, episode], vwap[episode])]
    rows = [np.asarray(own["supertype"]) == supertype for supertype in supertypes]
    means = _means("shortfall", ("supertype", "benchmark"), rows, slip, lots, episode, mid.shape[1])
    return means.assign_coords(supertype=supertypes, benchmark=["arrival", "VWAP"])


def _impact(trades: pd.DataFrame, mid: np.ndarray) -> xr.Dataset:
    """Mean move of the mid in the direction of the step's net flow to the exchanges, by its size and horizon."""
    at = trades[trades.venue.str.startswith("exchange")]
    net = np.zeros((len(mid) - 1, mid.shape[1]))
    np.add.at(net, (at.step.to_numpy(), at.episode.to_numpy()), (at.side * at.lots).to_numpy())
    step, episode = np.nonzero(np.abs(net) > 1e-6)
    size, side = np.abs(net[step, episode]), np.sign(net[step, episode])
    edges = np.unique(np.quantile(size, np.linspace(0, 1, BINS + 1)))[1:-1] if len(size) else np.zeros(0)
    index = np.searchsorted(edges, size, side="left")
    chosen = [index == i for i in range(len(edges) + 1) if np.any(index == i)]
    moves = [side * (_later(mid, step, episode, horizon) - mid[step, episode]) for horizon in HORIZONS]
    found = _means("impact", ("size", "horizon"), chosen, moves, np.ones(len(size)), episode, mid.shape[1])
    return found.assign_coords(size=("size", [float(size[of].mean()) for of in chosen], {"units": "lots"}))
