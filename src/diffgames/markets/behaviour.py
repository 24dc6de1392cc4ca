"""What the agents learned: measurements on recorded episodes (Vadori et al., Section 5.2).

Everything here takes a `StepRecord` whose leaves are stacked over time and episodes, [T, B, …], and looks at one
provider i. Conventions:

* skew intensity: slope of the regression of ε_skew on the inventory q_t. Steps of an episode are not independent, so
  the standard error is clustered by episode: se² = Σ_b (Σ_t x_bt e_bt)² / (Σ_bt x_bt²)², times B/(B−1), with x the
  centred inventory and e the residual;
* holding time at t: steps until the inventory is first zero or of the other sign; a spell still open at the end of the
  episode counts up to the end (restricted mean), so that slow agents are not measured by their fast spells alone;
* flow response F(ε), equation (27): mean volume traded on a side given its price ε_ask = ½ε_spread + ε_skew or
  ε_bid = ½ε_spread − ε_skew, averaged over both sides within bins of ε, per connected taker of a supertype;
* flow variance ratio Var(Σ_i x_i)/Σ_i Var(x_i), x_i the signed lots of taker i in a step, moments over all steps and
  episodes: 1 where takers trade independently at their own frequencies, the number of takers where all move as one.
* average price: the mean of ε_α over both sides, equation (26), in which ε_skew cancels: ½ε_spread;
* flow per taker: Σ_bt volume with a supertype / Σ_bt connected takers of it, lots a step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from diffgames.markets.market_state import StepRecord


class Regression(NamedTuple):
    """Least-squares line with standard error of the slope clustered by episode, and the sample size."""

    slope: float
    standard_error: float
    intercept: float
    samples: int


class FlowResponse(NamedTuple):
    """F(ε) per bin: centres, mean flow per connected taker of each supertype, and how many quotes fell in the bin."""

    price: Float[np.ndarray, " bins"]
    flow: Float[np.ndarray, "bins taker_supertypes"]
    standard_error: Float[np.ndarray, "bins taker_supertypes"]
    quotes: Float[np.ndarray, " bins"]


class Quadratic(NamedTuple):
    """Least-squares coefficients (a, b, c) of a + b x + c x², and the standard error of c, clustered by episode."""

    coefficients: Float[np.ndarray, "3"]
    standard_error: float


def skew_regression(record: StepRecord, provider: int = 0) -> Regression:
    """Regression of ε_skew on inventory for one provider, all steps and episodes pooled."""
    return clustered_regression(_of(record.inventory, provider), _of(record.skew_tweak, provider))


def clustered_regression(x: Float[np.ndarray, "steps episodes"], y: Float[np.ndarray, "steps episodes"]) -> Regression:
    """Line y = intercept + slope·x with the slope's standard error clustered by episode (the second axis).

    A constant x has no slope: slope and standard error are NaN.
    """
    centred = x - x.mean()
    total = float(np.sum(centred**2))
    if total == 0.0:
        return Regression(float("nan"), float("nan"), float(y.mean()), x.size)
    slope = float(np.sum(centred * (y - y.mean())) / total)
    intercept = float(y.mean() - slope * x.mean())
    residual = y - intercept - slope * x
    episodes = x.shape[1]
    score = np.sum(centred * residual, axis=0)
    variance = np.sum(score**2) / total**2 * episodes / max(episodes - 1, 1)
    return Regression(slope, float(np.sqrt(variance)), intercept, x.size)


def hedge_fraction(record: StepRecord, provider: int = 0) -> float:
    """Mean hedge fraction over the steps at which there is an inventory to hedge; zero when there never is."""
    inventory, fraction = _of(record.inventory, provider), _of(record.hedge_fraction, provider)
    held = np.abs(inventory) > 1e-6
    return float(fraction[held].mean()) if held.any() else 0.0


def mean_abs_inventory(record: StepRecord, provider: int = 0) -> float:
    """Mean of |q_t| in lots."""
    return float(np.abs(_of(record.inventory, provider)).mean())


def holding_time(record: StepRecord, provider: int = 0) -> float:
    """Restricted mean holding time in steps; zero when there never is an inventory."""
    times = holding_times(_of(record.inventory, provider))
    return float(np.nanmean(times)) if np.isfinite(times).any() else 0.0


def holding_times(inventory: Float[np.ndarray, "steps episodes"]) -> Float[np.ndarray, "steps episodes"]:
    """Steps until the inventory's sign changes, or until the episode ends; NaN where the inventory is zero."""
    sign = np.sign(np.where(np.abs(inventory) > 1e-6, inventory, 0.0))
    steps = sign.shape[0]
    change = np.full(sign.shape[1], steps)
    times = np.full(sign.shape, np.nan)
    for t in range(steps - 1, -1, -1):
        if t + 1 < steps:
            change = np.where(sign[t + 1] != sign[t], t + 1, change)
        times[t] = np.where(sign[t] != 0, change - t, np.nan)
    return times


def average_price(record: StepRecord, provider: int = 0) -> float:
    """Mean of ε_α over sides, steps and episodes, in market spreads."""
    return float(_of(record.spread_tweak, provider).mean() / 2)


def flow_per_taker(
    record: StepRecord, taker_counts: Sequence[int], provider: int = 0
) -> Float[np.ndarray, " taker_supertypes"]:
    """Lots a step from a connected taker of each supertype; NaN where the provider never meets one."""
    volume = np.asarray(record.flow, np.float64)[:, :, provider].sum(axis=(0, 1, 2))
    reached = np.asarray(record.network.provider_fraction, np.float64)[:, :, provider] * np.asarray(taker_counts)
    connected = reached.sum(axis=(0, 1))
    return np.where(connected > 0, volume / np.where(connected > 0, connected, 1.0), np.nan)


def skew_slopes(record: StepRecord, provider: int = 0) -> Float[np.ndarray, " episodes"]:
    """Skew intensity of every episode by itself; NaN where its inventory never changes."""
    inventory, skew = _of(record.inventory, provider), _of(record.skew_tweak, provider)
    centred = inventory - inventory.mean(axis=0)
    total = np.sum(centred**2, axis=0)
    return np.where(total > 0, np.sum(centred * skew, axis=0) / np.where(total > 0, total, 1.0), np.nan)


def by_inventory(
    record: StepRecord,
    values: Float[np.ndarray, "steps episodes"],
    edges: Float[np.ndarray, " edges"],
    provider: int = 0,
) -> Float[np.ndarray, " bins"]:
    """Mean of the finite values in every bin of the provider's inventory; NaN where there is none."""
    index = np.digitize(_of(record.inventory, provider), edges) - 1
    chosen = [values[(index == place) & np.isfinite(values)] for place in range(len(edges) - 1)]
    return np.array([one.mean() if len(one) else np.nan for one in chosen])


def statistics(record: StepRecord, taker_counts: Sequence[int], provider: int = 0) -> dict[str, float]:
    """Every statistic of Section 5.2 of one provider, by name; a skew intensity that does not exist is NaN.

    `taker_counts` is the number of takers of the two supertypes, flow takers first.
    """
    flow = flow_per_taker(record, taker_counts, provider)
    pnl = episode_total(record.pnl_spread, provider) + episode_total(record.pnl_inventory, provider)
    return {
        "inventory": mean_abs_inventory(record, provider),
        "skew_intensity": skew_regression(record, provider).slope,
        "hedge_fraction": hedge_fraction(record, provider),
        "holding_time": holding_time(record, provider),
        "average_price": average_price(record, provider),
        "flow_taker_flow": float(flow[0]),
        "pnl_taker_flow": float(flow[1]),
        "flow_difference": float(flow[1] - flow[0]),
        "flow_ratio": float(flow[1] / flow[0]) if flow[0] > 0 else float("nan"),
        "market_share": float(np.asarray(record.running_share, np.float64)[-1, :, provider].mean()),
        "pnl": float(pnl.mean()),
    }


def flow_response(
    record: StepRecord, bins: Float[np.ndarray, " edges"], taker_counts: tuple[int, ...], provider: int = 0
) -> FlowResponse:
    """F(ε) of one provider on the bins with the given edges, per connected taker of each supertype.

    `taker_counts` is the number of takers of each supertype.
    """
    price, flow = _priced_flow(record, provider)
    connected = np.asarray(record.network.provider_fraction, np.float64)[:, :, provider] * np.asarray(taker_counts)
    flow = flow / np.maximum(connected, 1.0)[:, :, None, :]
    index = np.digitize(price, bins) - 1
    centres, means, errors, counts = (bins[1:] + bins[:-1]) / 2, [], [], []
    for position in range(len(centres)):
        chosen = flow[index == position]
        counts.append(len(chosen))
        means.append(chosen.mean(axis=0) if len(chosen) else np.full(flow.shape[-1], np.nan))
        spread_of = chosen.std(axis=0, ddof=1) / np.sqrt(len(chosen)) if len(chosen) > 1 else np.nan
        errors.append(np.broadcast_to(spread_of, flow.shape[-1]))
    return FlowResponse(centres, np.stack(means), np.stack(errors), np.asarray(counts, np.float64))


def response_curvature(record: StepRecord, price_range: float, provider: int = 0) -> Quadratic:
    """Quadratic fit of the volume on a side (lots, all takers) against its price ε, where |ε| ≤ `price_range`."""
    price, flow = _priced_flow(record, provider)
    return clustered_quadratic(price, flow.sum(axis=-1), np.abs(price) <= price_range)


def clustered_quadratic(
    x: Float[np.ndarray, "steps episodes sides"], y: Float[np.ndarray, "steps episodes sides"], used: np.ndarray
) -> Quadratic:
    """Quadratic least squares over the used entries, with the sandwich standard error clustered by episode."""
    powers = np.stack([np.ones_like(x), x, x**2], axis=-1) * used[..., None]
    bread = np.linalg.inv(np.einsum("tbsi,tbsj->ij", powers, powers))
    coefficients = bread @ np.einsum("tbsi,tbs->i", powers, y)
    score = np.einsum("tbsi,tbs->bi", powers, y - powers @ coefficients)
    episodes = x.shape[1]
    variance = bread @ (score.T @ score) @ bread * episodes / max(episodes - 1, 1)
    return Quadratic(coefficients, float(np.sqrt(variance[2, 2])))


def flow_variance_ratio(traded: Float[np.ndarray, "steps episodes takers"], block: int = 1) -> tuple[float, float]:
    """Variance of the takers' net flow against independent takers', and half-width of its 95% interval (jackknife).

    The flow is that of `block` steps together; steps left over at the end are left out. NaN where nobody's flow varies,
    or no block is whole; the half-width also for fewer than three episodes.
    """
    whole = len(traded) // block * block
    if whole == 0:
        return float("nan"), float("nan")
    flow = np.asarray(traded, np.float64)[:whole]
    flow = flow.reshape(-1, block, *flow.shape[1:]).sum(axis=1)
    columns = np.concatenate([flow.sum(axis=-1, keepdims=True), flow], axis=-1)
    first, second = columns.mean(axis=0), np.square(columns).mean(axis=0)  # [episodes, 1 + takers]

    def ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        variance = second - first**2
        alone = variance[..., 1:].sum(axis=-1)
        return np.divide(variance[..., 0], alone, out=np.full(alone.shape, np.nan), where=alone > 1e-9)

    number = len(first)
    value = float(ratio(first.mean(axis=0), second.mean(axis=0)))
    if number < 3:
        return value, float("nan")
    left_out = ratio(*((moment.sum(axis=0) - moment) / (number - 1) for moment in (first, second)))
    return value, float(student.ppf(0.975, number - 1) * np.sqrt((number - 1) * np.var(left_out)))


def episode_total(values, provider: int = 0) -> Float[np.ndarray, " episodes"]:
    """Sum over an episode of a per-step quantity of one provider."""
    return _of(values, provider).sum(axis=0)


def _priced_flow(
    record: StepRecord, provider: int
) -> tuple[Float[np.ndarray, "steps episodes sides"], Float[np.ndarray, "steps episodes sides taker_supertypes"]]:
    """A provider's prices ε_ask and ε_bid, equation (26), and the lots that takers traded at each."""
    spread, skew = _of(record.spread_tweak, provider) / 2, _of(record.skew_tweak, provider)
    return np.stack([spread + skew, spread - skew], axis=-1), np.asarray(record.flow, np.float64)[:, :, provider]


def _of(values, provider: int) -> Float[np.ndarray, "steps episodes"]:
    return np.asarray(values, np.float64)[:, :, provider]
