"""A figure is a function of a stored dataset, so that `diffgames report RUN` can draw it again from the run folder.

    Drawing("the values grow with the regime", "values", lines("P", by="regime"), lines("K", by="regime"))

A panel is a function `(data, ax=None) -> ax` of an xarray dataset; where the number of panels hangs on the data, one
function `whole(data) -> figure` draws them all. Titles, units and names come from the dataset:
`attrs["long_name"]` and `attrs["units"]` of a variable and of its coordinates.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffgames.plotting import COLOURS, axes_or_new, band, colour_bar, label, legends, new_figure

Panel = Callable[..., Axes]


class Drawing:
    """The figure that shows dataset `data` of the run in `panels` side by side; `caption` says what to see in it.

    Each panel is `width` by `height` inches, without its legend. The figure is left out where a run has no such data.
    """

    def __init__(
        self,
        caption: str,
        data: str,
        *panels: Panel,
        width: float = 5.0,
        height: float = 3.4,
        whole: Callable[[xr.Dataset], Figure] | None = None,
    ):
        self.caption, self.data, self.panels, self.size, self.whole = caption, data, panels, (width, height), whole

    def __call__(self, data: xr.Dataset) -> Figure:
        """Draw the dataset."""
        if self.whole is not None:
            return self.whole(data)
        width, height = self.size
        figure, axes = new_figure(columns=len(self.panels), width=width, height=height)
        for panel, ax in zip(self.panels, axes, strict=True):
            panel(data, ax)
        legends(*axes)
        return figure


def figures_from(figures: Mapping[str, Any], arrays: Mapping[str, xr.Dataset]) -> dict[str, Callable[[], Figure]]:
    """The figures among a study's that show one of `arrays`, each as a function that draws it."""
    shown = {name: one for name, one in figures.items() if isinstance(one, Drawing) and one.data in arrays}
    return {name: lambda one=one: one(arrays[one.data]) for name, one in shown.items()}


def captions(figures: Mapping[str, Any]) -> dict[str, str]:
    """What to see in every figure of a study."""
    return {name: one.caption if isinstance(one, Drawing) else one for name, one in figures.items()}


def words(variable: xr.DataArray) -> tuple[str, str]:
    """Name and unit of a variable or coordinate, as an axis shows them."""
    return str(variable.attrs.get("long_name", variable.name)), str(variable.attrs.get("units", ""))


def lines(
    *names: str,
    by: str | None = None,
    x: str | None = None,
    y: str = "",
    title: str = "",
    styles: Sequence[str] = ("-", "--", ":", "-."),
    half_width: str | None = None,
    **options: Any,
) -> Panel:
    """Variables against their first coordinate (or `x`), a color for each label along `by`, a style for each variable.

    A vector or a matrix is shown by its first entry; `y` names the axis that several variables share.
    `half_width` names the variable of the intervals, drawn as bands; `options` go to matplotlib's `plot`.
    """

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, several = axes_or_new(ax), len(names) > 1
        for place, (name, style) in enumerate(zip(names, styles, strict=False)):
            variable = data[name]
            along = x or next(str(dim) for dim in variable.dims if dim != by)
            labels = [None] if by is None else variable[by].values[: len(COLOURS)]
            for row, one in enumerate(labels):
                chosen = {} if by is None else {by: one}
                text = words(variable)[0] if several or by is None else ""
                text = ", ".join(part for part in (text, named(by, one)) if part)
                series, colour = _first(variable.sel(chosen), along), COLOURS[place if by is None else row]
                ax.plot(series[along], series, style if by else "-", color=colour, label=text, **options)
                if half_width:
                    half = _first(data[half_width].sel(chosen), along)
                    band(ax, series[along], series - half, series + half, colour=colour)
        quantity, unit = words(data[names[0]])
        return label(ax, x=words(data[along]), y=(y if several else quantity, unit), title=title)

    return panel


def number_table(
    ax: Axes, value: xr.DataArray, texts: np.ndarray, said: str, title: str, *, top: float, colours: str = "cividis"
) -> Axes:
    """Numbers of two labelled axes as colors from 0 to `top`, each with its text on it; `said` names the colors."""
    image = ax.imshow(value.values, cmap=colours, vmin=0.0, vmax=top, aspect="auto")
    ax.grid(False)
    for (i, j), number in np.ndenumerate(value.values):
        dark = (number > 0.5 * top) == colours.endswith("_r")
        ax.text(j, i, str(texts[i, j]), ha="center", va="center", fontsize=8, color="white" if dark else "black")
    down, across = map(str, value.dims)
    for axis, set_ticks in ((across, ax.set_xticks), (down, ax.set_yticks)):
        set_ticks(range(value.sizes[axis]), [str(one) for one in value[axis].values])
    colour_bar(image, [ax], said)
    return label(ax, x=words(value[across]), y=words(value[down]), title=title)


def _first(series: xr.DataArray, along: str) -> xr.DataArray:
    """The first entry along every other axis."""
    return series.isel({dim: 0 for dim in series.dims if dim != along})


def named(axis: str | None, one: Any) -> str:
    """A label along an axis in words: `regime 0`, a word as it is."""
    return "" if axis is None else str(one) if isinstance(one, str | np.str_) else f"{axis} {one:g}"
