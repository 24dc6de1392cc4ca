"""Estimating a market maker's market, A, k, σ per regime and the generator, from a record of mid prices and trades.

A quote at distance δ from the mid is filled when a market order reaches that deep. With market orders arriving on a
side at rate ν and reaching a depth (distance of their worst execution from the mid before them) that is exponential
beyond δ₀, the rate of fills at δ ≥ δ₀ is A e^{−kδ}, and

    1/k = mean(depth − δ₀ | depth ≥ δ₀),   A = e^{kδ₀} · (orders with depth ≥ δ₀, both sides) / (2 · time),

maximum likelihood of a Poisson stream with exponential marks, per regime; δ₀ is a quantile of the depths. Volatility
regimes come from the hidden Markov model of `hidden_markov`; a trade belongs to the likeliest regime of its time step.
Executions of one instant against one side make one market order, hidden ones included. A market order counts once, or,
with a `lot`, as often as it has lots, parts included: A is then the rate of lots. Standard errors are those of a sum
over orders (the sandwich), which needs no exponential law.

Who fills at δ depends on the place in the queue. First in it (`reach`), an order that trades at δ fills; last in it
(`queue`), only one that trades beyond δ or leaves nothing of the book at its deepest price. The truth lies in between.

What a fill loses to the mid is its mark-out, y = side · (mid `MARK_AFTER` seconds later − mid before the order): the
impact ζ of a regime is the mean of y over the orders that reach δ₀ there, with the standard error of batch means.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from diffgames.calibration.hidden_markov import VolatilityRegimes, fit_volatility_regimes
from diffgames.errors import InvalidInput
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages, read_pair
from diffgames.markets.quoted import Quoted, quoted

DOLLAR = 10_000.0
MARK_AFTER = 5.0  # seconds from an order to the mid that it is marked at
BATCHES = 20  # stretches of a record whose means are taken as independent
NORMAL = 1.96  # standard errors to either side of an estimate hold the truth in 95% of records


@dataclass(frozen=True)
class MarketRecord:
    """Mid prices every `interval` seconds, and market orders: time, depth from the mid, side (+1 bought, −1 sold).

    Prices and depths are in currency, times in quoted seconds from the start of the record. `jump` is the part of each
    interval's move that happened while the book was not quoted; none where it always was. Its grid begins `wait`
    seconds after the first quote. `notes` say what was left out. `spread` is the book's at the times of `mid`. Per
    order, `before` is the mid before it, `touch` the half spread then (none in a synthetic record) and `markout` the
    mid's move to its side within `MARK_AFTER` seconds, NaN where the record ends earlier or a cut lies in between;
    `behind` is the depth that fills the last in a queue (none: as `depth`), `size` the units executed.
    """

    interval: float
    mid: np.ndarray
    trade_time: np.ndarray
    depth: np.ndarray
    side: np.ndarray
    source: str
    before: np.ndarray
    markout: np.ndarray
    spread: np.ndarray | None = None
    touch: np.ndarray | None = None
    jump: np.ndarray | None = None
    wait: float = 0.0
    notes: tuple[str, ...] = ()
    behind: np.ndarray | None = None
    size: np.ndarray | None = None

    def last_in_queue(self) -> "MarketRecord":
        """The record as the last in every queue sees it: orders by the depth that they are sure to fill."""
        if self.behind is None:
            return self
        return replace(self, depth=self.behind, behind=None)._kept(self.behind > 0)

    def lots(self, lot: float | None) -> np.ndarray:
        """Lots of every order; one each where no lot is given or no size recorded."""
        return np.ones(len(self.depth)) if lot is None or self.size is None else self.size / lot

    def _kept(self, orders: np.ndarray) -> "MarketRecord":
        names = ("trade_time", "depth", "side", "before", "markout", "touch", "behind", "size")
        values = {name: getattr(self, name) for name in names}
        return replace(self, **{name: None if one is None else one[orders] for name, one in values.items()})

    @property
    def moves(self) -> np.ndarray:
        """The price's moves from time to time while it is quoted."""
        return np.diff(self.mid) - (0.0 if self.jump is None else self.jump)

    def part(self, start: int, stop: int) -> "MarketRecord":
        """The record from mid price `start` to `stop` − 1; a mark-out that looks beyond its end is none."""
        low, high = start * self.interval, (stop - 1) * self.interval
        inside = (self.trade_time >= low) & (self.trade_time < high)
        marked = np.where(self.trade_time + MARK_AFTER <= high, self.markout, np.nan)
        kept = replace(self, markout=marked)._kept(inside)
        return replace(
            kept,
            mid=self.mid[start:stop],
            trade_time=kept.trade_time - low,
            spread=None if self.spread is None else self.spread[start:stop],
            jump=None if self.jump is None else self.jump[start : stop - 1],
        )


@dataclass(frozen=True)
class MarketFit:
    """Fitted parameters per regime, in currency and seconds; `misfit` is the largest distance between the distribution
    of depths beyond δ₀ and the exponential one (Kolmogorov and Smirnov's statistic)."""

    sigma: np.ndarray
    A: np.ndarray
    k: np.ndarray
    sigma_error: np.ndarray
    A_error: np.ndarray
    k_error: np.ndarray
    generator: np.ndarray
    share: np.ndarray
    orders: np.ndarray
    cutoff: np.ndarray
    misfit: np.ndarray
    impact: np.ndarray
    impact_error: np.ndarray
    regimes: VolatilityRegimes


def record_from_lobster(messages: str | Path, orderbook: str | Path, interval: float) -> MarketRecord:
    """The record of a LOBSTER day (or part of one); rows without a quote on both sides are left out."""
    events, book = read_pair(messages, orderbook)
    return record_of(events, book, interval)


def record_of(
    events: LobsterMessages,
    book: LobsterBook,
    interval: float,
    wait: float = 0.0,
    *,
    unit: float = DOLLAR,
    tick: float = 0.01,
) -> MarketRecord:
    """Mid prices on the grid of `interval` seconds and market orders with their depths.

    The grid begins `wait` seconds after the first quote, less than an interval. `unit` is the number of the files'
    prices in a unit of currency, `tick` in currency.
    """
    if not interval > 0:
        raise InvalidInput("interval", interval, "a positive time in seconds")
    if not 0 <= wait < interval:
        raise InvalidInput("wait", wait, "a time in seconds, less than the interval")
    found = quoted(events, book)
    rows = found.rows
    if rows.size < 2:
        raise InvalidInput("orderbook", book.source, "rows with a quote on both sides")
    mid = 0.5 * (book.ask_price[rows, 0] + book.bid_price[rows, 0]) / unit
    cut = found.aligned(interval)
    raw, time = events.time[rows], cut.clock(events.time[rows])
    start = time[0] + wait
    if (time[-1] - start) / interval > 1e7:
        raise InvalidInput("interval", interval, f"at most 10⁷ intervals in {time[-1] - start:.6g} s")
    grid = np.arange(start, time[-1], interval)
    seen = np.searchsorted(time, grid, side="right") - 1
    half = book.ask_price[rows, 0] / unit - mid
    jump = _jumps(found, raw, mid, time, grid)
    executed = (events.type == EventType.EXECUTION) | (events.type == EventType.HIDDEN_EXECUTION)
    executed &= (events.time > raw[0]) & ~found.inside(events.time)
    when, price = events.time[executed], events.price[executed] / unit
    place = np.maximum(np.searchsorted(raw, when, side="left") - 1, 0)
    before, touch = mid[place], half[place]
    side = -events.direction[executed]
    hidden = events.type[executed] == EventType.HIDDEN_EXECUTION
    notes = found.notes()
    if hidden.any() and np.all(side[hidden] == -1):
        side = np.where(hidden, np.where(price < before, -1, 1), side)
        notes.append(f"{hidden.sum()} hidden executions give no side: it is that of the mid on which their price lies")
    after = np.maximum(np.searchsorted(raw, when, side="right") - 1, 0)
    best = np.where(side > 0, book.ask_price[rows[after], 0], book.bid_price[rows[after], 0]) / unit
    when = cut.clock(when)
    depth = side * (price - before)
    orders, first, member = np.unique(np.column_stack([when, side]), axis=0, return_index=True, return_inverse=True)
    deepest, size = np.full(len(orders), -np.inf), np.zeros(len(orders))
    np.maximum.at(deepest, member.reshape(-1), depth)
    np.add.at(size, member.reshape(-1), events.size[executed])
    emptied = orders[:, 1] * (best - before)[first] > deepest + 1e-3 * tick  # nothing is left at the deepest price
    beyond = deepest > 1e-3 * tick  # a hidden order at the mid or across it reaches no quote
    until = orders[:, 0] + MARK_AFTER
    later = mid[np.searchsorted(time, until, side="right") - 1]
    broken = until > time[-1]
    for end in cut.clock(found.cuts[:, 0]):  # both ends of a cut are one moment of quoted time
        broken |= (orders[:, 0] < end) & (end < until)
    markout = np.where(broken, np.nan, orders[:, 1] * (later - before[first]))
    return MarketRecord(
        interval=interval,
        mid=mid[seen],
        spread=2 * half[seen],
        trade_time=orders[beyond, 0] - start,
        depth=deepest[beyond],
        side=orders[beyond, 1].astype(int),
        source=events.source,
        before=before[first][beyond],
        markout=markout[beyond],
        touch=touch[first][beyond],
        jump=jump if np.any(jump) else None,
        wait=wait,
        notes=tuple(notes),
        behind=np.where(emptied, deepest, np.where(deepest < 1.001 * tick, 0.0, deepest - tick))[beyond],
        size=size[beyond],
    )


def _jumps(found: Quoted, raw: np.ndarray, mid: np.ndarray, time: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Per interval of the grid, the price's moves across the cuts in it."""
    jump = np.zeros(max(len(grid) - 1, 0))
    for _, end in found.cuts:
        after = int(np.searchsorted(raw, end))
        if 0 < after < len(raw):
            place = int(np.searchsorted(grid, time[after], side="left")) - 1
            if 0 <= place < len(jump):
                jump[place] += mid[after] - mid[after - 1]
    return jump


def synthetic_record(
    *,
    seconds: float = 7200.0,
    interval: float = 1.0,
    sigma: tuple[float, ...] = (0.02, 0.06),
    A: tuple[float, ...] = (1.0, 1.5),
    k: tuple[float, ...] = (40.0, 25.0),
    generator: tuple[tuple[float, ...], ...] = ((-1 / 300, 1 / 300), (1 / 120, -1 / 120)),
    price: float = 100.0,
    impact: float = 0.0,
    seed: int = 0,
) -> MarketRecord:
    """A record drawn from the model itself with these parameters (dollars, seconds): regimes, price, market orders.

    It has round(seconds / interval) mid prices, at least two; an order moves the mid by `impact` to its side, in the
    interval in which it comes.
    """
    from scipy.linalg import expm

    if not (math.isfinite(interval) and interval > 0):
        raise InvalidInput("interval", interval, "a positive, finite time")
    if not (math.isfinite(seconds) and 2 <= round(seconds / interval) <= 100_000_000):
        raise InvalidInput("seconds", seconds, f"at least two (at most 10⁸) intervals of {interval:g}")
    rng, steps = np.random.default_rng(seed), round(seconds / interval)
    odds = np.cumsum(expm(np.asarray(generator) * interval), axis=1)
    regime = np.zeros(steps, int)
    for t, draw in enumerate(rng.uniform(size=steps - 1)):
        regime[t + 1] = min(int(np.searchsorted(odds[regime[t]], draw)), len(sigma) - 1)
    moves = np.asarray(sigma)[regime[:-1]] * np.sqrt(interval) * rng.normal(size=steps - 1)
    times, depths, sides = [], [], []
    for side in (1, -1):
        counts = rng.poisson(np.asarray(A)[regime] * interval)
        at = np.repeat(np.arange(steps), counts)
        times.append((at + rng.uniform(size=at.size)) * interval)
        depths.append(rng.exponential(1.0 / np.asarray(k)[regime[at]]))
        sides.append(np.full(at.size, side))
    order = np.argsort(np.concatenate(times))
    side, at = np.concatenate(sides)[order], (np.concatenate(times)[order] / interval).astype(int)
    pushed = impact * np.bincount(at, weights=side, minlength=steps)[: steps - 1]
    mid = price + np.concatenate([[0.0], np.cumsum(moves + pushed)])
    later = at + math.ceil(MARK_AFTER / interval)
    markout = np.where(
        later < steps, side * (mid[np.minimum(later, steps - 1)] - mid[np.minimum(at, steps - 1)]), np.nan
    )
    return MarketRecord(
        interval=interval,
        mid=mid,
        before=mid[np.minimum(at, steps - 1)],
        markout=markout,
        trade_time=np.concatenate(times)[order],
        depth=np.concatenate(depths)[order],
        side=side,
        source=f"synthetic record, seed {seed}",
    )


def intervals(fits: Sequence[MarketFit]) -> dict[str, Float[np.ndarray, "N 2"]]:
    """95% intervals of σ, A and k per regime that hold those of each fit: of one record, sampled at several clocks."""
    found = {}
    for name in ("sigma", "A", "k", "impact"):
        middle, error = (np.stack([getattr(fit, key) for fit in fits]) for key in (name, f"{name}_error"))
        low, high = np.min(middle - NORMAL * error, axis=0), np.max(middle + NORMAL * error, axis=0)
        found[name] = np.stack([low if name == "impact" else np.maximum(low, 0.0), high], axis=1)
    return found


def fit_market(record: MarketRecord, regimes: int, *, cutoff: float = 0.25, lot: float | None = None) -> MarketFit:
    """A, k, σ per regime and the generator; `cutoff` is the quantile of the depths that is δ₀.

    With a `lot` (units) an order counts as often as it has lots. Standard errors: of σ by the curvature of the
    likelihood (`observed_information`); of k and A those of sums over orders that arrive as a Poisson process, δ₀ and
    the regimes' times taken as known.
    """
    if not 0 <= cutoff < 1:
        raise InvalidInput("cutoff", cutoff, "a quantile in [0, 1)")
    found = fit_volatility_regimes(record.moves, record.interval, regimes)
    state = found.probability.argmax(axis=1)
    at = np.minimum((record.trade_time / record.interval).astype(int), state.size - 1)
    rows, weight = [], record.lots(lot)
    for i in range(regimes):
        depth, time = record.depth[state[at] == i], float((state == i).sum()) * record.interval
        if depth.size < 30:
            raise InvalidInput("regimes", regimes, f"fewer: regime {i} has {depth.size} market orders, 30 are needed")
        first = float(np.quantile(depth, cutoff))
        tail, lots = depth[depth >= first], weight[state[at] == i][depth >= first]
        k = 1.0 / max(float(np.average(tail - first, weights=lots)), 1e-12)
        rate = np.exp(k * first) * lots.sum() / (2 * time)
        share = lots / lots.sum()
        moved = -k * k * share * (tail - first - 1.0 / k)  # what each order moves k by
        spread = (math.sqrt((moved**2).sum()), rate * math.sqrt(((first * moved + share) ** 2).sum()))
        reached = (state[at] == i) & (record.depth >= first)
        lost = batch_mean(record.trade_time[reached], record.markout[reached], weight[reached])
        rows.append((k, rate, *spread, time, depth.size, first, _misfit(tail - first, k), *lost))
    k, A, k_error, A_error, time, orders, first, misfit, impact, impact_error = (
        np.asarray(column) for column in zip(*rows, strict=True)
    )
    return MarketFit(
        sigma=found.sigma,
        A=A,
        k=k,
        sigma_error=found.sigma_error,
        A_error=A_error,
        k_error=k_error,
        generator=found.generator,
        share=time / time.sum(),
        orders=orders,
        cutoff=first,
        misfit=misfit,
        impact=impact,
        impact_error=impact_error,
        regimes=found,
    )


def batch_mean(
    time: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"] | None = None
) -> tuple[float, float]:
    """The (weighted) mean of the finite values and its standard error, from `BATCHES` stretches with as many each.

    Mark-outs that overlap are not independent; means over stretches far longer than a mark-out nearly are. NaN for
    what fewer values than batches do not tell.
    """
    weight = np.ones(len(value)) if weight is None else weight
    order = np.argsort(time, kind="stable")
    value, weight = value[order], weight[order]
    there = np.isfinite(value)
    value, weight = value[there], weight[there]
    mean = float(np.average(value, weights=weight)) if value.size else float("nan")
    if value.size < 2 * BATCHES:
        return mean, float("nan")
    batches = zip(np.array_split(value - mean, BATCHES), np.array_split(weight, BATCHES), strict=True)
    sums = np.array([float(w @ off) for off, w in batches])
    return mean, float(np.std(sums, ddof=1) * math.sqrt(BATCHES) / weight.sum())


def _misfit(excess: np.ndarray, k: float) -> float:
    ordered = np.sort(excess)
    model, n = -np.expm1(-k * ordered), ordered.size
    return float(max(np.abs(model - np.arange(1, n + 1) / n).max(), np.abs(model - np.arange(n) / n).max()))
