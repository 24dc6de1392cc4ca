"""One house style for figures: labelled axes with units, colours that colour-blind readers can tell apart.

    figure, axes = new_figure(rows=1, columns=2)
    label(axes[0], x=("update", ""), y=("mean reward", "basis points"), title="Learning")

    legends(*axes)

Figures are made without pyplot, so nothing global is touched and nothing needs a screen. Three things are the same in
all of them: legends stand beside the axes, never on a curve; a path is broken where it jumps (`path_with_jumps`); a
colour bar has few, round ticks (`colour_bar`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


def calendar(ax: Axes) -> Axes:
    """Days and hours along the horizontal axis, whose values are of NumPy's datetime64."""
    ticks = AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(ticks)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ticks))
    return ax


def band(ax: Axes, x: Any, low: Any, high: Any, *, colour: str | None = None, text: str | None = None) -> Axes:
    """A shaded interval around a line."""
    ax.fill_between(np.asarray(x), np.asarray(low), np.asarray(high), color=colour, alpha=0.2, linewidth=0, label=text)
    return ax


def legends(*axes: Axes, handles: Sequence[Any] | None = None, title: str = "") -> None:
    """A legend right of each of the axes, clear of the data; the figure grows by the widths of the legends.

    Axes that say the same in the same colours share the legend of the last of them; `handles` stand for what is drawn.
    """
    said = [handles if handles is not None else ax.get_legend_handles_labels()[0] for ax in axes]
    looks = [[_look(handle) for handle in entries] for entries in said]
    shared = len(axes) > 1 and all(look == looks[-1] for look in looks)
    widths: dict[int, float] = {}
    for ax, entries in list(zip(axes, said, strict=True))[-1 if shared else 0 :]:
        figure, place = ax.figure, ax.get_subplotspec()
        if not entries or not isinstance(figure, Figure) or place is None:
            continue
        drawn = ax.legend(
            handles=entries,
            title=title or None,
            loc="upper left",
            bbox_to_anchor=(1.02, 1.0),
            borderaxespad=0.0,
            frameon=False,
            fontsize=9,
            alignment="left",
        )
        width = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / figure.dpi
        column = place.colspan.start
        figure.set_figwidth(figure.get_figwidth() + max(width - widths.get(column, 0.0), 0.0))
        widths[column] = max(width, widths.get(column, 0.0))


def _look(handle: Any) -> tuple[str, str]:
    colour = getattr(handle, "get_color", getattr(handle, "get_facecolor", str))()
    return str(handle.get_label()), str(colour)


def path_with_jumps(
    ax: Axes, points: Float[np.ndarray, "times 2"], jumped: Bool[np.ndarray, " steps"], *, colour: str, **style: Any
) -> Axes:
    """A path through `points`, broken in the steps in which it jumps: a jump is a dotted line between its ends."""
    after = np.flatnonzero(jumped) + 1
    ax.plot(*np.insert(points, after, np.nan, axis=0).T, color=colour, **style)
    for end in after:
        ax.plot(*points[end - 1 : end + 1].T, ":", color=colour, lw=1.0)
    return ax


def colour_bar(image: Any, axes: Iterable[Axes], words: str, **options: Any) -> Any:
    """A colour bar beside `axes` with at most seven ticks at round numbers, whatever the levels drawn are."""
    places = list(axes)
    # In proportion: where bands are alike in height, a round number beyond the levels would be written at their end.
    options = {"ticks": MaxNLocator(6), "spacing": "proportional", **options}
    return places[0].figure.colorbar(image, ax=places, label=words, **options)
