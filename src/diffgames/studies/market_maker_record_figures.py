"""Figures of a record and of the fit to it: prices and regimes, and how often market orders reach a distance."""

import numpy as np
from matplotlib.figure import Figure

from diffgames.calibration.market_maker import MarketFit, MarketRecord
from diffgames.plotting import COLOURS, label, legends, new_figure


def record_figure(record: MarketRecord, fit: MarketFit) -> Figure:
    """The mid price, and the probability of each volatility regime given the whole record."""
    figure, axes = new_figure(2, 1, width=8.0, height=2.6, sharex=True)
    time = np.arange(record.mid.size) * record.interval / 60.0
    axes[0].plot(time, record.mid, color=COLOURS[6], linewidth=0.8)
    label(axes[0], x=("", ""), y=("mid price", "currency"), title=record.source.rsplit("/", 1)[-1])
    lower = np.zeros(fit.regimes.probability.shape[0])
    for i, sigma in enumerate(fit.sigma):
        upper = lower + fit.regimes.probability[:, i]
        axes[1].fill_between(
            time[1:], lower, upper, color=COLOURS[i], linewidth=0, label=f"σ = {sigma:.3g} currency/√s"
        )
        lower = upper
    axes[1].set_ylim(0, 1)
    label(axes[1], x=("time from the start", "minutes"), y=("probability of the regime", ""))
    legends(axes[1])
    return figure


def fill_figure(record: MarketRecord, fit: MarketFit) -> Figure:
    """Rate of market orders that reach a distance, per side, observed and fitted, in each regime."""
    figure, (ax,) = new_figure(width=6.2)
    state = fit.regimes.probability.argmax(axis=1)
    at = np.minimum((record.trade_time / record.interval).astype(int), state.size - 1)
    for i, k in enumerate(fit.k):
        depth, time = np.sort(record.depth[state[at] == i]), (state == i).sum() * record.interval
        rate = np.arange(depth.size, 0, -1) / (2 * time)
        ax.step(depth, rate, where="post", color=COLOURS[i], label=f"regime {i}, observed")
        grid = np.linspace(fit.cutoff[i], depth[-1], 50)
        ax.plot(
            grid,
            fit.A[i] * np.exp(-k * grid),
            "--",
            color=COLOURS[i],
            label=f"regime {i}, A = {fit.A[i]:.3g} /s, k = {k:.3g} /currency",
        )
    ax.set_yscale("log")
    label(
        ax, x=("distance from the mid δ", "currency"), y=("market orders that reach δ", "1/s, per side"), title="Fills"
    )
    legends(ax)
    return figure
