"""Figures that the linear-quadratic studies share: theory against simulation, and values that escape."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes

from diffgames.plotting import COLOURS, axes_or_new, band, label
from diffgames.studies.drawing import Panel, lines

Theory = tuple[Float[np.ndarray, " times"], Float[np.ndarray, "times n"], Float[np.ndarray, "times n"]]
Simulated = tuple[Float[np.ndarray, " seen"], Float[np.ndarray, "seen n"], Float[np.ndarray, "seen n"]]
"""Times, means and standard deviations of n states."""


def theory_and_simulation(states: Sequence[str], theory: Theory, simulated: Simulated) -> xr.Dataset:
    """Means and standard deviations of the named states by theory over `time` and by simulation over `seen`."""
    data = {}
    for axis, route, (_, mean, deviation) in (("time", "theory", theory), ("seen", "simulated", simulated)):
        data[f"{route}_mean"] = ((axis, "state"), np.asarray(mean))
        data[f"{route}_deviation"] = ((axis, "state"), np.asarray(deviation))
    times = {"time": np.asarray(theory[0]), "seen": np.asarray(simulated[0])}
    return xr.Dataset(data, coords={"state": list(states), **times})


def theory_and_dots(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Every state of `theory_and_simulation`: lines with bands of two standard deviations, simulation as dots."""
    ax = axes_or_new(ax)
    dots = data.isel(seen=slice(None, None, max(data.sizes["seen"] // 16, 1)))
    for colour, name in zip(COLOURS, data.state.values, strict=False):
        line, dot = data.sel(state=name), dots.sel(state=name)
        ax.plot(line.time, line.theory_mean, color=colour, label=str(name))
        width = 2 * line.theory_deviation
        band(ax, line.time, line.theory_mean - width, line.theory_mean + width, colour=colour)
        ax.plot(dot.seen, dot.simulated_mean, "o", color=colour, markersize=3)
        for side in (-2, 2):
            ax.plot(dot.seen, dot.simulated_mean + side * dot.simulated_deviation, ".", color=colour, markersize=3)
    unit = str(data.time.attrs.get("units", ""))
    return label(ax, x=("time", unit), y=("state", ""), title="Theory (lines, ±2 sd), simulation (dots)")


def escaping(name: str, by: str) -> Panel:
    """A variable over `to_go`, a line for each label along `by`, and the time to go at which it escapes."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = lines(name, by=by, title="The values escape")(data, ax)
        escape = data.attrs["escape_time"]
        ax.axvline(escape, color="black", linestyle="--", label=f"escape {escape:.4g}")
        ax.set_yscale("symlog")
        return ax

    return panel
