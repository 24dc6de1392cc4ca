"""Figures of what takers do: actions along a price path, and behaviour against the PnL weight ω."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from diffgames.plotting import COLOURS, label, legends, new_figure

BUY, SELL = COLOURS[2], COLOURS[1]


def spectrum_actions(spectrum: xr.Dataset, shown: int = 4) -> Figure:
    """As the paper's Figure 2: the path with one taker's buys and sells, one panel per ω; below, how often all do."""
    weights = spectrum.omega.values
    chosen = np.unique(np.linspace(0, len(weights) - 1, min(shown, len(weights))).round().astype(int))
    figure, axes = new_figure(rows=2, columns=len(chosen), width=3.9, height=2.9, sharex=True)
    path = spectrum.path.values
    steps = np.arange(len(path) - 1)
    for column, index in enumerate(chosen):
        top, bottom = axes[column], axes[len(chosen) + column]
        direction = spectrum.direction.values[index]
        top.plot(np.arange(len(path)), path, color=COLOURS[0], lw=1.2, label="mid")
        for side, colour, marker, name in ((1, BUY, "^", "buys"), (-1, SELL, "v", "sells")):
            acts = direction == side
            top.scatter(steps[acts], path[:-1][acts], s=18, marker=marker, color=colour, label=name, zorder=3)
            bottom.plot(steps, spectrum[name].values[index], color=colour, label=name)
        share = f"buys {spectrum.buy_fraction.values[index]:.0%}, sells {spectrum.sell_fraction.values[index]:.0%}"
        label(top, x=("", ""), y=("price", "ticks"), title=f"ω = {weights[index]:g}: {share}")
        label(bottom, x=("step", ""), y=("share of takers", ""))
        bottom.set_ylim(-0.03, 1.03)
    legends(axes[len(chosen) - 1], axes[-1])
    return figure


def spectrum_curves(spectrum: xr.Dataset, targets: tuple[float, float], bound: float) -> Figure:
    """Trading fractions against their targets, and PnL against its bound, as functions of ω."""
    weights = spectrum.omega.values
    figure, (left, right) = new_figure(columns=2, width=5.2, height=3.6)
    for name, colour, target in (("buy_fraction", BUY, targets[0]), ("sell_fraction", SELL, targets[1])):
        words = name.replace("_", " ")
        left.plot(weights, spectrum[name].values, "o-", color=colour, label=words)
        left.axhline(target, color=colour, ls="--", lw=1, label=f"target {target:g}")
    label(left, x=("PnL weight ω", ""), y=("fraction of steps", ""), title="From meeting targets…")
    left.set_ylim(-0.03, 1.03)
    earned = spectrum.pnl.values
    half = 1.96 * earned.std(axis=1, ddof=1) / np.sqrt(earned.shape[1])
    right.errorbar(weights, earned.mean(axis=1), yerr=half, fmt="o-", capsize=3, label="learned policy")
    right.axhline(bound, color="0.4", ls="--", lw=1, label="upper bound PnL*")
    label(right, x=("PnL weight ω", ""), y=("PnL per episode", "ticks × lots"), title="… to earning")
    legends(left, right)
    return figure


def flow_curves(response: xr.Dataset) -> Figure:
    """As the paper's Figure 3: flow per typical flow taker and per typical PnL taker against ε, a panel per market."""
    markets = response.pnl_takers.values
    figure, axes = new_figure(columns=len(markets), width=3.9, height=3.4)
    price = response.epsilon.values
    for axis, number, flow, error, curvature in zip(
        axes,
        markets,
        response.flow.values,
        response.flow_standard_error.values,
        response.curvature.values,
        strict=True,
    ):
        axis.errorbar(price, flow[:, 0], 1.96 * error[:, 0], fmt="o-", ms=4, color=COLOURS[0], label="per flow taker")
        if number:
            chosen = slice(1, 1 + int(number))
            noise = 1.96 * np.sqrt((error[:, chosen] ** 2).sum(axis=1)) / number
            mean = flow[:, chosen].mean(axis=1)
            axis.errorbar(price, mean, noise, fmt="s-", ms=4, color=COLOURS[1], label="per PnL taker")
        title = f"{number} PnL takers: convexity {curvature[2]:.2f}"
        label(axis, x=("price ε", "market spreads"), y=("flow per step and side", "lots"), title=title)
        axis.set_ylim(0.0, 1.05 * float(np.nanmax(response.flow.values)))
    legends(axes[-1])
    return figure
