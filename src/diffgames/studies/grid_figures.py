"""Figures of values on grids: slices of a value function and the set where it is not positive."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr

from diffgames.plotting import COLOURS, STYLE, colour_bar, label, legends, new_figure


def value_slices(dataset: xr.Dataset, count: int = 4) -> Any:
    """Value over (x, y) at `count` headings, the edge of the reachable tube in black."""
    headings = np.asarray(dataset["heading"])
    chosen = [int(k) for k in np.linspace(0, headings.size, count, endpoint=False)]
    figure, axes = new_figure(1, count, width=3.6, height=3.2)
    values = np.asarray(dataset["value"])
    levels = np.linspace(values.min(), np.quantile(values, 0.98), 22)
    for ax, k in zip(axes, chosen, strict=True):
        drawn = ax.contourf(dataset["x"], dataset["y"], values[:, :, k].T, levels=levels, cmap="cividis", extend="max")
        ax.contour(dataset["x"], dataset["y"], values[:, :, k].T, levels=[0.0], colors="white", linewidths=2.0)
        label(ax, x=("x ahead of the evader", "length"), y=("y", "length"), title=f"ψ = {headings[k]:.2f} rad")
        ax.set_aspect("equal")
        ax.grid(False)
    words = "value: least distance − R [length]; white: 0"
    colour_bar(drawn, axes, words)
    return figure


def tube_figure(dataset: xr.Dataset) -> Any:
    """The reachable tube: its outline over (x, y) at several headings, and its area by heading."""
    headings, values = np.asarray(dataset["heading"]), np.asarray(dataset["value"])
    figure, axes = new_figure(1, 2, width=4.6, height=3.8)
    with matplotlib.rc_context(STYLE):
        for n, k in enumerate(int(k) for k in np.linspace(0, headings.size, 6, endpoint=False)):
            axes[0].contour(dataset["x"], dataset["y"], values[:, :, k].T, levels=[0.0], colors=[COLOURS[n]])
            axes[0].plot([], [], color=COLOURS[n], label=f"ψ = {headings[k]:.2f}")
    axes[0].set_aspect("equal")
    label(axes[0], x=("x ahead of the evader", "length"), y=("y", "length"), title="Edge of the reachable tube")
    cell = float((dataset["x"][1] - dataset["x"][0]) * (dataset["y"][1] - dataset["y"][0]))
    axes[1].plot(headings, (values <= 0).sum(axis=(0, 1)) * cell)
    label(axes[1], x=("relative heading ψ", "rad"), y=("area", "length²"), title="Area of the tube by heading")
    axes[1].set_ylim(bottom=0)
    legends(axes[0])
    return figure
