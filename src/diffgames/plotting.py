"""One house style for figures: labelled axes with units, colours that colour-blind readers can tell apart.

    figure, axes = new_figure(rows=1, columns=2)
    label(axes[0], x=("update", ""), y=("mean reward", "basis points"), title="Learning")

Figures are made without pyplot, so nothing global is touched and nothing needs a screen.
"""

from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, the yellow (too light on white) left out."""

STYLE: Any = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
}


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 5.0, height: float = 3.4, sharex: bool = False
) -> tuple[Figure, np.ndarray]:
    """A figure in the house style and its axes as a flat array, each `width` by `height` inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex)
    return figure, axes.reshape(-1)


def axes_or_new(ax: Axes | None = None) -> Axes:
    """`ax`, or the axes of a new figure: how a function `(solution, ax=None) -> ax` begins."""
    return ax if ax is not None else new_figure()[1][0]


def label(ax: Axes, *, x: tuple[str, str], y: tuple[str, str], title: str = "") -> Axes:
    """Name the axes, (quantity, unit) each; a unit of "" is left out."""
    for (quantity, unit), name in ((x, ax.set_xlabel), (y, ax.set_ylabel)):
        name(f"{quantity} [{unit}]" if unit else quantity)
    if title:
        ax.set_title(title, loc="left")
    return ax


def band(ax: Axes, x: Any, low: Any, high: Any, *, colour: str | None = None, text: str | None = None) -> Axes:
    """A shaded interval around a line."""
    ax.fill_between(np.asarray(x), np.asarray(low), np.asarray(high), color=colour, alpha=0.2, linewidth=0, label=text)
    return ax
