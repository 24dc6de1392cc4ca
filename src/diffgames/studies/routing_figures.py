"""Figures of the study `routing`: the cheapest paths in rows, success against the amount."""

from collections import Counter

import xarray as xr
from matplotlib.axes import Axes

from diffgames.plotting import COLOURS, axes_or_new, band, label
from diffgames.studies.drawing import Drawing

MOST_PATHS = 12


def paths_in_layers(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """A row for each path with its cost, a layer for each hop; nodes of several paths have a color, the same in all."""
    ax = axes_or_new(ax)
    shown = data.isel(path=slice(MOST_PATHS))
    paths = [[int(node) for node in row if node >= 0] for row in shown.node.values]
    often = Counter(node for path in paths for node in path)
    shared = dict(zip((node for node, times in often.most_common() if times > 1), COLOURS, strict=False))
    for rank, path in enumerate(paths):
        ax.plot(range(len(path)), [rank] * len(path), "-", color="0.7", zorder=1)
        ax.scatter(range(len(path)), [rank] * len(path), color=[shared.get(node, "0.5") for node in path], zorder=2)
        for place, node in enumerate(path):
            ax.annotate(str(node), (place, rank), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
    ax.set_yticks(range(len(paths)), [f"{rank + 1}: {cost:.4g}" for rank, cost in enumerate(shown.cost.values)])
    ax.set_xticks(range(max(map(len, paths))))
    ax.set_ylim(len(paths) - 0.5, -0.7)
    amount = f"{data.attrs['amount']:,} sat"
    return label(
        ax, x=("hops from the payer", ""), y=("path and its cost Σ w", ""), title=f"Cheapest paths for {amount}"
    )


def success_by_amount(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Share of payments made by each payer, with intervals, and the share that any flow delivers."""
    ax = axes_or_new(ax)
    for name, colour in zip(data.payer.values, COLOURS, strict=False):
        one = data.sel(payer=name)
        ax.semilogx(data.amount, one.success, "o-", color=colour, label=str(name))
        band(ax, data.amount, *one.interval.transpose("end", "amount"), colour=colour)
    ax.semilogx(data.amount, data.feasible, "k--", lw=1, label="a flow exists")
    ax.set_ylim(-0.02, 1.02)
    return label(ax, x=("amount", "sat"), y=("share of payments made", ""), title="Success against the amount")


FIGURES = {
    "success": Drawing(
        "parts follow the dashed line, the share that the balances allow at all; a single path leaves it at large "
        "amounts, one try everywhere; bands are 95% intervals",
        "payments",
        success_by_amount,
    ),
    "paths": Drawing(
        "the cheapest path stands on top; nodes bear the numbers of the file, those of several paths a color",
        "paths",
        paths_in_layers,
        width=7.0,
    ),
}
