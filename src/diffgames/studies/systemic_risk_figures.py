"""Figures of inter-bank lending: η over time, paths, how many default, and gaps of the limit's strategies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullLocator

from diffgames.plotting import COLOURS, label, legends, new_figure


def lending_figure(eta: xr.Dataset) -> Figure:
    """η over time for every N, the limit dashed."""
    figure, (ax,) = new_figure(width=5.6, height=3.6)
    names = [str(name) for name in eta.banks.values]
    for index, name in enumerate(names):
        last = index == len(names) - 1
        words = f"N = {name}" if name.isdigit() else name
        colour = "black" if last else COLOURS[index % 6]
        ax.plot(eta.time.values, eta.eta.values[index], "--" if last else "-", color=colour, label=words)
    label(ax, x=("time", "years"), y=("η(t)", "1/year"), title="Weight of the distance to the mean")
    legends(ax)
    return figure


def paths_figure(paths: xr.Dataset, level: float) -> Figure:
    """One path of all banks on the same noise, with lending and without, and the default level."""
    figure, axes = new_figure(columns=2, width=5.0, height=3.5)
    low, high = float(paths.reserve.min()), float(paths.reserve.max())
    for ax, name, values in zip(axes, paths.lending.values, paths.reserve.values, strict=True):
        ax.plot(paths.time.values, values, lw=0.8, color=COLOURS[0], alpha=0.6)
        ax.plot(paths.time.values, values.mean(axis=1), lw=2.0, color="black", label="mean of the banks")
        ax.axhline(level, color=COLOURS[1], ls="--", lw=1.2, label="default level")
        ax.set_ylim(min(low, level) - 0.1, high + 0.1)
        label(ax, x=("time", "years"), y=("log-reserve", ""), title=str(name))
    legends(*axes)
    return figure


def defaults_figure(
    defaults: xr.Dataset, closed: Mapping[str, Mapping[str, Any]], simulated: tuple[float, float], banks: int
) -> Figure:
    """How many banks default, with lending and without; the probability that the mean does, against N."""
    figure, (left, right) = new_figure(columns=2, width=5.0, height=3.5)
    count = defaults.defaults.values
    for shift, name, share, colour in zip(
        (-0.2, 0.2), defaults.lending.values, defaults.share.values, COLOURS, strict=False
    ):
        left.bar(count + shift, share, width=0.4, color=colour, label=str(name))
    label(left, x=("banks that default by T", ""), y=("probability", ""), title=f"{banks} banks")
    sizes = [name for name in closed if name.isdigit()]
    right.plot([int(name) for name in sizes], [closed[name]["systemic"] for name in sizes], "o-", label="closed form")
    limit = closed[next(name for name in closed if not name.isdigit())]["systemic"]
    right.axhline(limit, color="black", ls="--", lw=1.0, label="mean field")
    mean, error = simulated
    right.errorbar([banks], [mean], yerr=[1.96 * error], fmt="s", color=COLOURS[1], capsize=4, label="simulated, 95%")
    right.set_xscale("log")
    right.set_xticks([int(name) for name in sizes], sizes)
    right.minorticks_off()
    right.set_ylim(bottom=0.0)
    label(right, x=("banks N", ""), y=("probability", ""), title="The mean reserve reaches the default level")
    legends(left, right)
    return figure


def gaps_figure(gaps: xr.Dataset, exponent: float | None) -> Figure:
    """Exact gain of one bank that deviates from the limit's strategies, against N on log axes."""
    figure, (ax,) = new_figure(width=5.2, height=3.6)
    sizes, values = gaps.banks.values.astype(float), gaps.gap.values
    ax.loglog(sizes, np.maximum(values, 1e-300), "o-", label="exact gain")
    if exponent is not None:
        fit = np.exp(np.log(values).mean()) * (sizes / np.exp(np.log(sizes).mean())) ** exponent
        ax.loglog(sizes, fit, "k--", lw=1.0, label=f"fit, N^{exponent:.2f}")
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(3.0, 1.0)))
    label(ax, x=("banks N", ""), y=("gain of one bank", "cost"), title="Playing the limit's strategies among N banks")
    legends(ax)
    return figure
