"""How a recorded book takes a push: impact of flow on the mid and its decay, depth and spread that come back.

**Impact.** With f_n the signed order flow of step n (lots, buying positive) and m_n the mid after it, the propagator
model (Bouchaud, Gefen, Potters and Wyart, Quantitative Finance 4, 2004) is

    m_n = Σ_{k≤n} G(n − k) f_k + noise,        G(h) = g_∞ + Σ_j g_j e^{−h/τ_j},        g_∞, g_j ≥ 0,

fitted as m_n − m_{n−1} = Σ_j g_j (z_{j,n} − z_{j,n−1}) + g_∞ f_n + noise with z_{j,n} = e^{−1/τ_j} z_{j,n−1} + f_n, by
least squares with coefficients ≥ 0 (`scipy.optimize.nnls`). G is what a lot does, freed from what later lots that it
foreshadows do; the response E[m_{n+h} − m_{n−1} | f_n]/f_n is not. Such a G is convex and falls: with impact linear in
f no round trip earns on average (Gatheral, Quantitative Finance 10, 2010). The flow is the order-flow imbalance of the
best quotes (Cont, Kukanov and Stoikov, Journal of Financial Econometrics 12, 2014), from snapshots, or signed
executions, from LOBSTER messages.

**Resilience.** What stays of a shock u_n to a series y (a widening of the spread, a fall of a best level's volume)
after h steps is the coefficient b_h of the local projection y_{n+h} = a_h + b_h u_n + c_h y_{n−1} + noise (Jordà,
American Economic Review 95, 2005), divided by b_0.

Standard errors are those of a jackknife over blocks of consecutive steps, which holds under dependence shorter than a
block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar, nnls

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import Level2
from diffgames.markets.lobster import EventType, LobsterMessages

TIMES = (1.0, 5.0, 25.0)
"""τ_j, seconds: between them any decay within a minute is a sum of these exponentials, closely."""

BLOCKS = 20
OUTLIERS = 0.01  # flows beyond this quantile on either side are counted as of its size
Curve = Float[np.ndarray, " lags"]


@dataclass(frozen=True)
class Propagator:
    """G(h) = g_∞ + Σ_j g_j e^{−h/τ_j}, in ticks of the mid per lot.

    Attributes:
        times: τ_j, steps.
        weights: g_1, …, g_J, g_∞, ticks per lot.
        replicates: the weights with each block left out in turn, [blocks, J + 1].
    """

    times: Float[np.ndarray, " components"]
    weights: Float[np.ndarray, " components1"]
    replicates: Float[np.ndarray, "blocks components1"]

    def response(self, lags: Float[np.ndarray, " lags"]) -> tuple[Curve, Curve]:
        """G at the given lags (steps), and its standard error; ticks per lot."""
        return self.weights @ self._basis(lags), jackknife_error(self.replicates @ self._basis(lags))

    def stays(self, lags: Float[np.ndarray, " lags"]) -> tuple[Curve, Curve]:
        """G(h)/G(0), the share of a push that stays, and its standard error; NaN where flow moves nothing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.weights @ self._basis(lags) / self.weights.sum()
            again = self.replicates @ self._basis(lags) / self.replicates.sum(axis=1, keepdims=True)
        return share, jackknife_error(again)

    def _basis(self, lags: Float[np.ndarray, " lags"]) -> Float[np.ndarray, "components1 lags"]:
        lags = np.asarray(lags, float)
        return np.vstack([np.exp(-lags / self.times[:, None]), np.ones_like(lags)])


@dataclass(frozen=True)
class Decay:
    """What stays of a shock after 0, 1, 2, … steps.

    Attributes:
        share: b_h/b_0. error: its standard error.
        kept: ρ of the exponential ρ^h nearest to it, per step.
    """

    share: Curve
    error: Curve
    kept: float


def jackknife_error(replicates: Float[np.ndarray, "blocks lags"]) -> Curve:
    """Standard error from estimates with one block left out each."""
    return np.sqrt((len(replicates) - 1) * replicates.var(axis=0))


def without_blocks(
    estimate: Callable[[np.ndarray], np.ndarray], size: int, blocks: int = BLOCKS
) -> Float[np.ndarray, "blocks values"]:
    """`estimate(rows)` with each of `blocks` stretches of consecutive rows left out in turn."""
    rows = np.arange(size)
    return np.stack([estimate(np.delete(rows, block)) for block in np.array_split(rows, blocks)])


def order_flow(data: Level2) -> Float[np.ndarray, " steps"]:
    """Order-flow imbalance of the best quotes from each snapshot to the next, lots; outliers cut, zero across gaps.

    A rise of the bid, or more size at it, counts as buying, and so does a rise of the ask, or less size at it.
    """
    bid, ask = data.bid_price[:, 0], data.ask_price[:, 0]
    at_bid, at_ask = data.bid_size[:, 0].astype(float), data.ask_size[:, 0].astype(float)
    flow = (
        at_bid[1:] * (bid[1:] >= bid[:-1])
        - at_bid[:-1] * (bid[1:] <= bid[:-1])
        - at_ask[1:] * (ask[1:] <= ask[:-1])
        + at_ask[:-1] * (ask[1:] >= ask[:-1])
    )
    return np.clip(flow, *np.quantile(flow, [OUTLIERS, 1 - OUTLIERS])) * (np.diff(data.row) == 1)


def trade_flow(messages: LobsterMessages, seconds: Float[np.ndarray, " snapshots"]) -> Float[np.ndarray, " steps"]:
    """Signed visible executions between snapshots at the given times, lots: buying market orders count positive."""
    traded = messages.type == EventType.EXECUTION
    lots = -(messages.direction * messages.size)[traded].astype(float)  # the direction is that of the resting order
    place = np.searchsorted(seconds, messages.time[traded], side="left") - 1
    within = (place >= 0) & (place < len(seconds) - 1)
    if not within.any():
        said = f"no execution between {seconds[0]:g} and {seconds[-1]:g} s"
        raise InvalidInput("messages", said, "the messages of the day of the snapshots")
    return np.bincount(place[within], weights=lots[within], minlength=len(seconds) - 1)


def fit_propagator(
    flow: Float[np.ndarray, " steps"],
    mid_change: Float[np.ndarray, " steps"],
    times: Float[np.ndarray, " components"],
    follows: np.ndarray | None = None,
) -> Propagator:
    """The propagator of a flow (lots) on the mid's changes (ticks); `times` in steps.

    Rows where `follows` is false (the snapshots are no step apart) are left out of the fit.
    """
    times = np.asarray(times, float)
    kept = np.exp(-1.0 / times)
    shown = np.empty((len(flow), len(times)))
    state = np.zeros(len(times))
    for n, lots in enumerate(flow):
        shown[n] = kept * state + lots - state
        state = kept * state + lots
    rows = np.arange(len(flow)) if follows is None else np.flatnonzero(follows)
    design, moves = np.column_stack([shown, flow])[rows], np.asarray(mid_change, float)[rows]
    replicates = without_blocks(lambda part: nnls(design[part], moves[part])[0], len(rows))
    return Propagator(times=times, weights=nnls(design, moves)[0], replicates=replicates)


def impact_of_flow(data: Level2, step: float = 1.0, flow: Float[np.ndarray, " steps"] | None = None) -> Propagator:
    """The propagator of snapshots `step` seconds apart; of their order-flow imbalance unless `flow` is given."""
    flow = order_flow(data) if flow is None else flow
    return fit_propagator(flow, np.diff(data.double_mid) / 2, np.asarray(TIMES) / step, np.diff(data.row) == 1)


def decay_of_shock(
    level: Float[np.ndarray, "rows series"], shock: Float[np.ndarray, "rows1 series"], lags: int
) -> Decay:
    """What stays of the shocks to a series after 0, …, `lags` steps, by local projections pooled over the columns.

    `shock[n]` happens between `level[n]` and `level[n + 1]`. Without a shock nothing is known to stay: NaN, and κ = 0.
    """
    size = len(shock) - lags
    if size < 5 * BLOCKS:
        raise InvalidInput("data", f"{len(level)} rows", f"at least {5 * BLOCKS + lags + 1}")
    if not shock[:size].any():
        return Decay(np.full(lags + 1, np.nan), np.full(lags + 1, np.nan), 0.0)

    def estimate(rows: np.ndarray) -> np.ndarray:
        design = np.stack([np.ones((len(rows), shock.shape[1])), shock[rows], level[rows]], axis=-1).reshape(-1, 3)
        later = np.stack([level[rows + 1 + lag].reshape(-1) for lag in range(lags + 1)], axis=1)
        slope = np.linalg.lstsq(design, later, rcond=None)[0][1]
        return slope / slope[0]

    share = estimate(np.arange(size))
    near = share[: min(lags, 10) + 1]

    def miss(kept):
        return float(((near - kept ** np.arange(len(near))) ** 2).sum())

    kept = minimize_scalar(miss, bounds=(0.0, 1.0), method="bounded").x
    return Decay(share=share, error=jackknife_error(without_blocks(estimate, size)), kept=float(kept))


def closing_of_spread(data: Level2, lags: int = 30) -> Decay:
    """What stays of a widening of the spread."""
    spread = data.spread[:, None].astype(float)
    return decay_of_shock(spread, np.maximum(np.diff(spread, axis=0), 0), lags)


def refilling_of_depth(data: Level2, lags: int = 30) -> Decay:
    """What stays missing of a fall of the best levels' volume, both sides together."""
    best = np.column_stack([data.bid_size[:, 0], data.ask_size[:, 0]]).astype(float)
    return decay_of_shock(best, np.maximum(-np.diff(best, axis=0), 0), lags)


def autocorrelation(values: Float[np.ndarray, "steps paths *series"], lag: int) -> Float[np.ndarray, "*series"]:
    """Autocorrelation at a lag, over all paths about their common mean; NaN where nothing varies or is so long."""
    if len(values) <= lag:
        return np.full(values.shape[2:], np.nan)
    centred = np.asarray(values, float) - np.mean(values, axis=(0, 1), dtype=float)
    variance = (centred**2).mean(axis=(0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = (centred[: len(centred) - lag] * centred[lag:]).mean(axis=(0, 1))
        return np.where(variance > 0, covariance / variance, np.nan)
