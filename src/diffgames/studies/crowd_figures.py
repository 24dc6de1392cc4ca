"""Figures of the crowd studies: the paper's Figures 1–4 with spread, targets and time marks, and how learning went."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from diffgames.plotting import COLOURS, label, new_figure
from diffgames.verification.certificate import Certificate


def crowd_paths(paths: xr.Dataset, targets: np.ndarray, start: np.ndarray, title: str, *, samples: int = 1) -> Figure:
    """Mean paths (left, with one standard deviation at the marks) and single paths of all players.

    One sample is the first drawn; of several, those that stray furthest from the mean are shown.
    """
    single = paths["sample"].values
    if samples > 1:
        strayed = np.abs(single - paths["mean"].values[None]).max(axis=(1, 2, 3))
        single = single[np.argsort(-strayed)[:samples]]
    figure, axes = new_figure(columns=1 + samples, width=5.0, height=4.6)
    times = paths["time"].values
    _draw(axes[0], times, paths["mean"].values, targets, start, paths["deviation"].values)
    label(axes[0], x=("x₁", "length"), y=("x₂", "length"), title=f"{title}: mean, ±1 standard deviation")
    for index in range(samples):
        axis = axes[1 + index]
        _draw(axis, times, single[index], targets, start, None)
        label(
            axis,
            x=("x₁", "length"),
            y=("x₂", "length"),
            title=f"{title}: one path" + (f" ({index + 1})" if samples > 1 else ""),
        )
    _legend(axes[0], paths.sizes["player"])
    return figure


def potential_curve(losses: Mapping[str, np.ndarray], exact: Mapping[str, float | None]) -> Figure:
    """The batch potential of every gradient step, and the exact optimum where it is known."""
    figure, axes = new_figure(width=6.4, height=3.8)
    lowest = min(float(np.nanmin(values)) for values in losses.values())
    highest = max(float(np.nanmedian(values)) for values in losses.values())
    for colour, (name, values) in zip(COLOURS, losses.items(), strict=False):
        flat = values.reshape(-1)
        axes[0].plot(np.arange(1, flat.size + 1), flat, color=colour, alpha=0.35, lw=0.8)
        ends = (np.arange(values.shape[0]) + 1) * values.shape[1]
        axes[0].plot(ends, values.mean(axis=1), color=colour, label=f"{name}, mean of an epoch")
        best = exact.get(name)
        if best is not None:
            axes[0].axhline(best, color=colour, ls="--", lw=1, label=f"{name}, exact optimum {best:.4f}")
    span = highest - lowest
    axes[0].set_ylim(lowest - 0.2 * span, highest + 3.0 * span)
    label(
        axes[0],
        x=("gradient step", ""),
        y=("potential Φ̂ of the batch", "cost"),
        title="Learning the potential's minimiser",
    )
    axes[0].legend()
    return figure


def gaps(certificate: Certificate, allowed: Mapping[str, float] | None = None) -> Figure:
    """What each player's best deviator gained, with its interval, beside what α and the optimisation error allow."""
    entries = certificate.entries
    figure, axes = new_figure(width=max(5.0, 0.75 * len(entries) + 2.5), height=3.8)
    place = np.arange(len(entries))
    gain = np.asarray([entry.gain for entry in entries])
    low, high = (np.asarray([entry.interval[side] for entry in entries]) for side in (0, 1))
    axes[0].errorbar(
        place, gain, yerr=[gain - low, high - gain], fmt="o", capsize=4, label="gain of the best deviator, 95%"
    )
    if allowed:
        values = [allowed.get(entry.label, np.nan) for entry in entries]
        axes[0].plot(place, values, "_", ms=22, mew=2, color=COLOURS[1], label="α + optimisation error")
        axes[0].set_yscale("symlog", linthresh=1e-4)
    axes[0].axhline(0.0, color="0.4", lw=1)
    axes[0].set_xticks(place, [entry.label for entry in entries], rotation=30, ha="right")
    label(axes[0], x=("", ""), y=("gain over the profile", "cost"), title="Certificate: unilateral deviations")
    axes[0].legend()
    return figure


def _draw(
    axis: Axes,
    times: Float[np.ndarray, " times"],
    positions: Float[np.ndarray, "times players axes"],
    targets: np.ndarray,
    start: np.ndarray,
    deviation: np.ndarray | None,
) -> None:
    marks = [int(np.argmin(np.abs(times - share * times[-1]))) for share in (0.25, 0.5, 0.75)]
    for i in range(positions.shape[1]):
        colour = COLOURS[i % len(COLOURS)]
        axis.plot(positions[:, i, 0], positions[:, i, 1], color=colour, lw=1.4)
        for mark, index in zip("os^", marks, strict=True):
            centre = positions[index, i]
            axis.plot(*centre, mark, color=colour, ms=6)
            if deviation is not None:
                wide, high = 2.0 * deviation[index, i]
                axis.add_patch(Ellipse(tuple(centre), wide, high, color=colour, alpha=0.12, lw=0))
        axis.plot(*targets[i], "X", color=colour, ms=10, mec="black", mew=0.7)
    axis.plot(*start, "o", color="white", mec="black", ms=9, zorder=1)
    axis.set_aspect("equal", "datalim")


def _legend(axis: Axes, players: int) -> None:
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=f"player {i + 1}") for i in range(min(players, 7))]
    for mark, text in (("o", "T/4"), ("s", "T/2"), ("^", "3T/4"), ("X", "target")):
        handles.append(Line2D([], [], color="0.3", marker=mark, ls="", label=text))
    axis.legend(handles=handles, ncols=2, fontsize=8)
