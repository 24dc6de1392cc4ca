"""The back-test of `market-maker-real`: quotes from the first part of a record, played on the second.

Four quoters meet the same orders (`calibration.back_test`): the model's quotes at t = 0, those of the same model
without adverse selection, a fixed spread (the first part's median; twice the mean depth where a record has no book) and
the book's own spread; where quotes are rounded to a grid, the model's unrounded ones too. Edges are in ticks per fill,
profits in ticks per second, both against the mid. The certificate says that the quotes are right for the model; this
says whether the model is right for the record.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray
from matplotlib.axes import Axes

from diffgames.calibration.back_test import Fills, Quoter, filtered_regime, play
from diffgames.calibration.market_maker import MARK_AFTER, NORMAL, MarketFit, MarketRecord, batch_mean, fit_market
from diffgames.errors import InvalidInput, RunFailed
from diffgames.plotting import COLOURS, axes_or_new, label

MODEL, BLIND, FIXED, MARKET = "model", "no adverse selection", "fixed spread", "market spread"
UNROUNDED = "model, any price"
REACHES = (0.0, 0.25, 0.5, 0.75, 0.9)
SHORTEST_DWELL = 3.0  # intervals: a regime that lasts less is hardly told from a fat tail of the moves
Quotes = Callable[[MarketFit, bool], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class BackTest:
    """The quoters' fills by their names, and the number of regimes."""

    fills: dict[str, Fills]
    regimes: int
    tick: float

    def table(self) -> xarray.Dataset:
        """Edges and mark-outs per quoter, over all regimes and in each, and profits; in ticks."""
        names, places = list(self.fills), [None, *range(self.regimes)]
        rows = [[self.fills[name].edge(place) for place in places] for name in names]
        said = {
            "fills": ("fills with a mark-out", "1"),
            "promised": ("promised edge", "tick/fill"),
            "realised": ("realised edge", "tick/fill"),
            "realised_error": ("standard error of the realised edge", "tick/fill"),
            "markout": (f"move of the mid within {MARK_AFTER:g} s", "tick/fill"),
            "markout_error": ("standard error of the mid's move", "tick/fill"),
        }
        found = {}
        for key, (text, unit) in said.items():
            values = np.array([[one[key] for one in row] for row in rows]) / (1.0 if key == "fills" else self.tick)
            found[key] = (("quoter", "regime"), values, {"long_name": text, "units": unit})
        profits = np.array([[self.fills[name].profit(place) for place in places] for name in names]) / self.tick
        for place, (key, text) in enumerate((("profit", "profit"), ("profit_error", "standard error of the profit"))):
            about = {"long_name": f"{text}, per second of the regime", "units": "tick/s"}
            found[key] = (("quoter", "regime"), profits[:, :, place], about)
        return xarray.Dataset(found, coords={"quoter": names, "regime": ["all", *map(str, range(self.regimes))]})


def back_test(
    record: MarketRecord,
    quotes: Quotes,
    *,
    regimes: int,
    cutoff: float,
    share: float,
    tick: float,
    grid: float,
    adverse: bool,
    lot: float | None = None,
    fee: float = 0.0,
) -> tuple[BackTest | None, list[str]]:
    """The back-test with the first `share` of the record to estimate from; none, and why, where that cannot be done.

    `quotes(fit, adverse)` gives ask and bid offsets at t = 0 per regime and inventory; `grid` counts in ticks. Orders
    take as many units as they have lots, where a `lot` is given; every fill pays the `fee`.
    """
    split = round(share * len(record.mid))
    if min(split, len(record.mid) - split) < 2:
        return None, ["there is no back-test: a part of the record has fewer than two mid prices"]
    first, second = record.part(0, split), record.part(split, len(record.mid))
    try:
        fit = fit_market(first, regimes, cutoff=cutoff, lot=lot)
        tables = {MODEL: quotes(fit, adverse), BLIND: quotes(fit, False)}
    except (InvalidInput, RunFailed) as error:
        return None, [f"there is no back-test: the first part of the record gives no quotes ({error})"]
    impact, none = expected_impact(fit), np.zeros(regimes)
    shape = tables[MODEL][0].shape
    most = shape[1] // 2
    half = float(first.depth.mean() if first.spread is None else np.median(first.spread) / 2)
    q = np.arange(-most, most + 1)
    fixed = [np.broadcast_to(np.where(np.abs(q + sign) <= most, half, np.nan), shape) for sign in (-1, 1)]
    players: dict[str, Quoter | None] = {
        MODEL: Quoter(*tables[MODEL], impact if adverse else none),
        BLIND: Quoter(*tables[BLIND], none),
        FIXED: Quoter(fixed[0], fixed[1], none),
    }
    if second.touch is not None:
        players[MARKET] = None
    state = filtered_regime(fit.regimes, second.moves, second.interval)
    terms = {"most": most, "lot": lot, "fee": fee}
    played = {name: play(second, state, one, grid=grid * tick, **terms) for name, one in players.items()}
    if grid > 0:
        played[UNROUNDED] = play(second, state, players[MODEL], **terms)
    return BackTest(played, regimes, tick), []


def expected_impact(fit: MarketFit) -> np.ndarray:
    """The impact that quotes are made for: none where no mark-out is known."""
    return np.where(np.isfinite(fit.impact), fit.impact, 0.0)


def disagreements(table: xarray.Dataset) -> list[str]:
    """Where the record's edge is not the one that was promised, or is a loss, in words."""
    notes = []
    one = table.sel(quoter=MODEL, regime="all")
    fills, promised, realised, error = (float(one[key]) for key in ("fills", "promised", "realised", "realised_error"))
    if not np.isfinite(error):
        return [f"the back-test has {fills:g} fills with a mark-out: too few to judge the promised edge by"]
    words = f"on the held-out record {fills:g} fills realise {realised:.3g} ± {NORMAL * error:.2g} ticks each"
    if abs(realised - promised) > NORMAL * error:
        notes.append(f"{words}, where the model promises {promised:.3g}: the record disagrees with the model")
    if realised + NORMAL * error < 0:
        notes.append(f"{words}: these quotes lose money to the mid within {MARK_AFTER:g} s")
    return notes


def dwell_warnings(fit: MarketFit, interval: float) -> list[str]:
    """Regimes that hardly last longer than an interval, in words."""
    leave = -np.diag(fit.generator)
    return [
        f"regime {i} lasts {1 / (rate * interval):.2g} intervals of {interval:g} s on average: rather a fat tail "
        "of the moves than a regime"
        for i, rate in enumerate(leave)
        if rate * interval * SHORTEST_DWELL > 1
    ]


def reach_table(record: MarketRecord, tick: float) -> xarray.Dataset:
    """Mean mark-out of the orders that reach a distance, at quantiles of the depths, in ticks."""
    reach = np.quantile(record.depth, REACHES)
    rows = [(record.trade_time[far], record.markout[far]) for far in (record.depth >= one for one in reach)]
    mean, error = np.array([batch_mean(*row) for row in rows]).T / tick
    about = {"long_name": f"move of the mid within {MARK_AFTER:g} s", "units": "tick"}
    return xarray.Dataset(
        {"markout": ("reach", mean, about), "half_width": ("reach", NORMAL * error, {"units": "tick"})},
        coords={"reach": ("reach", reach / tick, {"long_name": "distance reached", "units": "tick"})},
    )


def edge_panel(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Promised and realised edge of every quoter, with 95% intervals."""
    ax, names = axes_or_new(ax), [str(one) for one in data.quoter.values]
    place, every = np.arange(len(names)), data.sel(regime="all")
    ax.bar(place - 0.2, every["promised"], 0.4, color=COLOURS[0], label="promised")
    spread = np.nan_to_num(NORMAL * every["realised_error"].values)
    ax.bar(
        place + 0.2, every["realised"], 0.4, yerr=spread, capsize=3, color=COLOURS[1], label="realised, 95% interval"
    )
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xticks(place, [name.replace(" ", "\n", 1) for name in names])
    return label(ax, x=("quoter", ""), y=("edge per fill", "tick"), title="Held-out fills")


def profit_panel(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Profit of every quoter, with 95% intervals."""
    ax, names, every = axes_or_new(ax), [str(one) for one in data.quoter.values], data.sel(regime="all")
    ax.bar(names, every["profit"], yerr=NORMAL * np.nan_to_num(every["profit_error"]), capsize=3, color=COLOURS[2])
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
    return label(ax, x=("quoter", ""), y=("profit, 95% interval", "tick/s"), title="Inventory included")
