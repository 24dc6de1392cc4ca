"""Figures of the study `forecast`: a week's fan, the PIT, CRPS by hour."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.plotting import COLOURS, axes_or_new, band, calendar, label
from diffgames.studies.drawing import Drawing


def fan(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The last whole week: 50% and 90% intervals, the median, and what came."""
    ax = axes_or_new(ax)
    week = data.isel(day=slice(-14, -7))
    time = (week.day.values.astype("datetime64[h]")[:, None] + np.arange(24)).reshape(-1)
    q = [week["quantile"].values[..., k].reshape(-1) / 1e3 for k in range(data.sizes["level"])]
    band(ax, time, q[0], q[-1], colour=COLOURS[0], text="90%")
    band(ax, time, q[1], q[-2], colour=COLOURS[0], text="50%")
    ax.plot(time, q[2], color=COLOURS[0], label="median")
    ax.plot(time, week.outcome.values.reshape(-1) / 1e3, color="k", lw=1, label="outcome")
    name = str(data.outcome.attrs["long_name"])
    return label(calendar(ax), x=("local time", ""), y=(name, "GW"), title="Forecast of a week")


def transform(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Histogram of the PIT; flat where the forecast is calibrated."""
    ax = axes_or_new(ax)
    values = data["pit"].values
    ax.hist(values[np.isfinite(values)], bins=20, range=(0.0, 1.0), density=True, color=COLOURS[0], alpha=0.6)
    ax.axhline(1.0, color="k", ls="--", lw=1)
    return label(ax, x=("F(outcome)", ""), y=("density", ""), title="Probability integral transform")


def by_hour(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Mean CRPS of every hour, ours and the baselines'."""
    ax = axes_or_new(ax)
    for name, colour in zip(data.forecast.values, COLOURS, strict=False):
        ax.plot(data.hour, data.crps.sel(forecast=name), ".-", color=colour, label=str(name))
    return label(ax, x=("hour of the local day", ""), y=("mean CRPS", "MW"), title="Score by hour")


FIGURES = {
    "crps": Drawing("the trained laws lie far below the week ago at every hour; t and normal differ little", "scores",
                    by_hour),
    "fan": Drawing("nine of ten outcomes lie in the wide band, which is wider where the hour is harder", "hours", fan,
                   width=8.0),
    "pit": Drawing("flat along the dashed line means calibrated; high ends mean a scale that is too small", "hours",
                   transform),
}  # fmt: skip
