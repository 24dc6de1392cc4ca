"""Figures of the crowd studies: the paper's Figures 1–4 with spread, targets and time marks; crowds of thousands; how
learning went and what deviators gained."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.ticker import NullLocator

from diffgames.plotting import COLOURS, label, legends, new_figure, path_with_jumps
from diffgames.verification.certificate import Certificate


def crowd_paths(paths: xr.Dataset, targets: np.ndarray, start: np.ndarray, title: str, *, samples: int = 1) -> Figure:
    """Mean paths with one standard deviation at the marks, their first half close up, and single paths of all players.

    In the plane of the first two coordinates; on the line over time, where nothing is crowded at the start. One sample
    is the first drawn; of several, those that stray furthest from the mean are shown. A jump is a dotted line; of one
    that throws all, the time is written.
    """
    single, jumps = paths["sample"].values, paths["jumped"].values > 0
    strayed = np.abs(single - paths["mean"].values[None]).max(axis=(1, 2, 3))
    chosen = np.argsort(-strayed)[:samples] if samples > 1 else np.arange(1)
    times, mean, deviation = (paths[name].values for name in ("time", "mean", "deviation"))
    words = ["mean, ±1 standard deviation"] + (["mean, first half"] if targets.shape[1] > 1 else [])
    panels = len(words) + samples
    columns = -(-panels // 2) if panels > 3 else panels
    figure, axes = new_figure(-(-panels // columns), columns, width=4.8, height=4.4)
    x, y = _axes(targets.shape[1])
    for axis, said in zip(axes, words, strict=False):
        _draw(axis, times, mean, targets, start, deviation)
        label(axis, x=x, y=y, title=f"{title}: {said}")
    if targets.shape[1] > 1:
        _close_up(axes[1], mean[times <= 0.5 * times[-1]], deviation[times <= 0.5 * times[-1]])
    for index in range(samples):
        axis = axes[len(words) + index]
        shown = chosen[index]
        _draw(axis, times, single[shown], targets, start, None, jumps[shown])
        label(axis, x=x, y=y, title=f"{title}: one path" + (f" ({index + 1})" if samples > 1 else ""))
    for axis in axes[panels:]:
        axis.set_axis_off()
    _legend(axes[columns - 1], paths.sizes["player"], bool(jumps[chosen].any()))
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
    legends(axes[0])
    return figure


def crowd_at_marks(crowd: xr.Dataset, targets: np.ndarray) -> Figure:
    """Everybody on one path at the marks, coloured by stream; mean paths of streams, and crosses at their targets."""
    positions, means = crowd["position"].values, crowd["mean"].values
    figure, axes = new_figure(columns=len(positions), width=3.6, height=3.6)
    size = float(np.clip(3000.0 / positions.shape[1], 0.3, 12.0))
    for axis, mark, now in zip(axes, crowd["mark"].values, positions, strict=True):
        for s in range(len(targets)):
            colour, here = COLOURS[s % len(COLOURS)], now[crowd["stream_of"].values == s]
            axis.scatter(*_plane(np.full(len(here), mark), here).T, s=size, color=colour, alpha=0.6, lw=0)
            axis.plot(*_plane(crowd["time"].values, means[:, s]).T, color=colour, lw=1.2)
            end = _plane(crowd["time"].values[-1:], targets[s][None])
            axis.plot(*end[0], "X", color=colour, ms=9, mec="black", mew=0.7)
        x, y = _axes(targets.shape[1])
        label(axis, x=x, y=y, title=f"t = {mark:.3g}")
        if targets.shape[1] > 1:
            axis.set_aspect("equal", "datalim")
    figure.suptitle(f"{positions.shape[1]:,} players on one path, mean path of every stream")
    return figure


def sums_over_pairs(errors: xr.Dataset) -> Figure:
    """Relative error of what players feel, of the force and of the potential, by group size and number of features."""
    figure, axes = new_figure(columns=2, width=4.6, height=3.6)
    kinds = {"batches": "players in a group", "fourier": "Fourier features"}
    used, at = str(errors.attrs["used"]).split()
    for axis, (sums, quantity) in zip(axes, kinds.items(), strict=True):
        rows = errors.isel(row=np.flatnonzero(errors["sums"].values == sums)).sortby("size")
        sizes = rows["size"].values
        for colour, name in zip(COLOURS, ("felt", "force", "potential"), strict=False):
            axis.loglog(sizes, rows[name].values, "o-", color=colour, label=name)
        axis.set_xticks(sizes[:: 1 + len(sizes) // 7], minor=False)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        if used == sums:
            axis.axvline(int(at), color="0.4", ls="--", lw=1, label="used")
        label(axis, x=(quantity, ""), y=("relative error", ""), title=f"Sums over pairs: {sums}")
    legends(*axes)
    return figure


def gaps(certificate: Certificate, allowed: Mapping[str, float] | None = None) -> Figure:
    """What each player's best deviator gained, with its interval, beside what α and the optimisation error allow."""
    entries = certificate.entries
    figure, axes = new_figure(width=max(5.0, 0.75 * len(entries) + 2.5), height=3.8)
    place = np.arange(len(entries))
    gain = np.asarray([entry.gain for entry in entries])
    low, high = (np.asarray([entry.interval[side] for entry in entries]) for side in (0, 1))
    axes[0].errorbar(
        place, gain, yerr=[gain - low, high - gain], fmt="o", capsize=4, label="found: gain of the best deviator, 95%"
    )
    if allowed:
        values = [allowed.get(entry.label, np.nan) for entry in entries]
        axes[0].plot(place, values, "_", ms=22, mew=2, color=COLOURS[1], label="proved: α + optimisation error")
        axes[0].set_yscale("symlog", linthresh=1e-4)
    axes[0].axhline(0.0, color="0.4", lw=1)
    axes[0].set_xticks(place, [entry.label for entry in entries], rotation=30, ha="right")
    label(axes[0], x=("", ""), y=("gain over the profile", "cost"), title="Certificate: unilateral deviations")
    legends(axes[0])
    return figure


def _draw(
    axis: Axes,
    times: Float[np.ndarray, " times"],
    positions: Float[np.ndarray, "times players axes"],
    targets: np.ndarray,
    start: np.ndarray,
    deviation: np.ndarray | None,
    jumps: Bool[np.ndarray, "steps players"] | None = None,
) -> None:
    jumps = np.zeros((len(times) - 1, positions.shape[1]), bool) if jumps is None else jumps
    marks = [int(np.argmin(np.abs(times - share * times[-1]))) for share in (0.25, 0.5, 0.75)]
    on_line = targets.shape[1] == 1
    for i in range(positions.shape[1]):
        colour = COLOURS[i % len(COLOURS)]
        path = _plane(times, positions[:, i])
        path_with_jumps(axis, path, jumps[:, i], colour=colour, lw=1.4)
        for mark, index in zip("os^", marks, strict=True):
            axis.plot(*path[index], mark, color=colour, ms=6)
            if deviation is not None and on_line:
                axis.errorbar(*path[index], yerr=deviation[index, i, 0], color=colour, alpha=0.5, capsize=3)
            elif deviation is not None:
                wide, high = 2.0 * deviation[index, i, :2]
                axis.add_patch(Ellipse(tuple(path[index]), wide, high, color=colour, alpha=0.12, lw=0))
        axis.plot(*_plane(times[-1:], targets[i][None])[0], "X", color=colour, ms=10, mec="black", mew=0.7)
    axis.plot(*_plane(times[:1], start[None])[0], "o", color="white", mec="black", ms=9, zorder=1)
    for step in np.flatnonzero(jumps.all(axis=1) & (positions.shape[1] > 1)):
        after = _plane(times[step + 1 : step + 2], positions[step + 1].mean(axis=0)[None])[0]
        axis.annotate(f"all jump, t = {times[step + 1]:.2f}", after, (6, 6), textcoords="offset points", fontsize=8)
    if not on_line:
        axis.set_aspect("equal", "datalim")


def _close_up(axis: Axes, positions: np.ndarray, deviation: np.ndarray) -> None:
    """The window of these positions and of one standard deviation around them, square."""
    low, high = (positions - deviation).min(axis=(0, 1))[:2], (positions + deviation).max(axis=(0, 1))[:2]
    half = 0.55 * max(float((high - low).max()), 1e-9)
    for limit, middle in zip((axis.set_xlim, axis.set_ylim), 0.5 * (low + high), strict=True):
        limit(middle - half, middle + half)
    axis.set_aspect("equal", "box")


def _axes(dimension: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """Quantities and units that `_plane` draws."""
    return (("time", "time"), ("x", "length")) if dimension == 1 else (("x₁", "length"), ("x₂", "length"))


def _plane(
    times: Float[np.ndarray, " points"], positions: Float[np.ndarray, "points axes"]
) -> Float[np.ndarray, "points 2"]:
    """What is drawn of positions: the first two coordinates, or the only one over time."""
    if positions.shape[1] == 1:
        return np.stack([times, positions[:, 0]], axis=1)
    return positions[:, :2]


def _legend(axis: Axes, players: int, jumps: bool) -> None:
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=f"player {i + 1}") for i in range(min(players, 7))]
    for mark, text in (("o", "T/4"), ("s", "T/2"), ("^", "3T/4"), ("X", "target")):
        handles.append(Line2D([], [], color="0.3", marker=mark, ls="", label=text))
    if jumps:
        handles.append(Line2D([], [], color="0.3", ls=":", lw=1.0, label="jump"))
    legends(axis, handles=handles)
