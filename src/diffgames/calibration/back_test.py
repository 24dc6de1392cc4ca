"""Quotes played on a record that they were not estimated from, by the fill rule of the model.

At a market order on a side the quoter shows the offset u of its inventory and of the regime it takes the market to be
in. The order fills one unit of inventory (as many as it has lots, where a lot is given) where its depth reaches u. The
fill earns u against the mid before it, pays the fee c (a rebate is negative), and loses the mark-out y, the mid's move
to the order's side within `MARK_AFTER` seconds:

    edge = u − c − y,      promised by a model of impact ζ (games.market_making):  u − c − ζ,

per lot.

What a quote would have changed in the record (who trades, and when) is not in it. The regime is the likeliest one given
the moves before the interval of the order alone. Standard errors are of batch means (`calibration.market_maker`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from diffgames.calibration.hidden_markov import VolatilityRegimes
from diffgames.calibration.market_maker import MarketRecord, batch_mean

Table = Float[np.ndarray, "N K"]


@dataclass(frozen=True)
class Quoter:
    """Offsets per regime and inventory −Q, …, Q in the record's money, NaN where closed, and the impact it expects."""

    ask: Table
    bid: Table
    impact: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Fills:
    """A quoter's fills, one array entry each, in the record's money; and its wealth, marked to the mid, over time.

    `offset` is net of the fee, `state` the regime taken to be in each interval of the record.
    """

    time: np.ndarray
    regime: np.ndarray
    lots: np.ndarray
    offset: np.ndarray
    markout: np.ndarray
    promised: np.ndarray
    wealth: np.ndarray
    state: np.ndarray
    seconds: float

    def edge(self, regime: int | None = None) -> dict[str, float]:
        """Fills with a mark-out, promised and realised edge per fill and their standard errors; NaN where unknown."""
        there = np.isfinite(self.markout) & (True if regime is None else self.regime == regime)
        time, lots, offset, lost = (part[there] for part in (self.time, self.lots, self.offset, self.markout))
        realised, error = batch_mean(time, offset - lost, lots)
        markout, markout_error = batch_mean(time, lost, lots)
        promised = batch_mean(time, self.promised[there], lots)[0]
        return {
            "fills": float(there.sum()),
            "promised": promised,
            "realised": realised,
            "realised_error": error,
            "markout": markout,
            "markout_error": markout_error,
        }

    def profit(self, regime: int | None = None) -> tuple[float, float]:
        """Wealth earned a second (of one regime's time), marked to the mid, and its standard error (NaN: unknown)."""
        gains = np.diff(self.wealth)
        gains = gains if regime is None else gains[self.state[: len(gains)] == regime]
        spent = self.seconds / max(len(self.wealth) - 1, 1)
        mean, error = batch_mean(np.arange(float(len(gains))), gains / spent)
        return mean, error


def filtered_regime(
    fit: VolatilityRegimes, moves: Float[np.ndarray, " n"], interval: float
) -> Int[np.ndarray, " intervals"]:
    """The likeliest regime in each interval given the moves before it, by the forward recursion."""
    values, vectors = np.linalg.eig(fit.transition.T)
    belief = np.abs(np.real(vectors[:, int(np.argmin(np.abs(values - 1.0)))]))
    belief, scale = belief / belief.sum(), fit.sigma * np.sqrt(interval)
    found = np.zeros(len(moves) + 1, int)
    for place, move in enumerate(moves):
        found[place] = int(belief.argmax())
        log = -0.5 * (move / scale) ** 2 - np.log(scale) + np.log(np.maximum(belief, 1e-300))
        belief = np.exp(log - log.max())
        belief = belief / belief.sum() @ fit.transition
    found[-1] = int(belief.argmax())
    return found


def play(
    record: MarketRecord,
    regime: Int[np.ndarray, " intervals"],
    quoter: Quoter | None,
    *,
    grid: float = 0.0,
    most: int,
    lot: float | None = None,
    fee: float = 0.0,
) -> Fills:
    """Play a quoter on the record; `None` quotes the book's own half spread and expects no impact.

    `grid` is the distance of prices that may be quoted (0: any); quotes are moved away from the mid to the next one.
    Inventories stay within `most`, the Q of the quoter's tables. An order takes as many lots as it has, up to there;
    tables are read at the nearest whole inventory. A `fee` is paid per lot filled.
    """
    at = np.minimum((record.trade_time / record.interval).astype(int), len(regime) - 1)
    inventory, cash, wanted = 0.0, 0.0, record.lots(lot)
    rows, steps = [], []
    for order, side in enumerate(record.side):
        state, lots = int(regime[at[order]]), min(wanted[order], most + side * inventory)
        if lots <= 0:
            continue
        offset, expected = _offset(record, order, quoter, state, round(inventory))
        before = float(record.before[order])
        if grid > 0:
            price = side * np.ceil(side * (before + side * offset) / grid - 1e-9) * grid
            offset = side * (price - before)
        if not record.depth[order] >= offset - 1e-9:
            continue
        inventory, cash = inventory - side * lots, cash + lots * (side * (before + side * offset) - fee)
        net = offset - fee
        rows.append((record.trade_time[order], state, lots, net, record.markout[order], net - expected))
        steps.append((record.trade_time[order], inventory, cash))
    time, state, taken, offset, markout, promised = np.asarray(rows, float).reshape(-1, 6).T
    clock = np.arange(len(record.mid)) * record.interval
    moments, held, paid = np.asarray([(-1.0, 0.0, 0.0), *steps], float).T
    last = np.searchsorted(moments, clock, side="right") - 1
    wealth = paid[last] + held[last] * record.mid
    return Fills(
        time, state.astype(int), taken, offset, markout, promised, wealth, np.asarray(regime), float(clock[-1])
    )


def _offset(record: MarketRecord, order: int, quoter: Quoter | None, state: int, inventory: int) -> tuple[float, float]:
    """The offset that is quoted to an order and the impact that is expected of it."""
    if quoter is None:
        assert record.touch is not None
        return float(record.touch[order]), 0.0
    table = quoter.ask if record.side[order] > 0 else quoter.bid
    return float(table[state, inventory + table.shape[1] // 2]), float(quoter.impact[state])
