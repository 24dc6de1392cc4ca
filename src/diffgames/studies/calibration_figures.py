"""What a calibration stores of its updates and targets, and how it is drawn: rewards, shares, trade sizes."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.calibration.calsheq import CalibrationState, Problem
from diffgames.calibration.targets import Target
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.calibration_parameters import CalibrationHeadline


def target_name(target: Target) -> str:
    """A target in words."""
    if target.measure is not None:
        return target.measure.name
    whose = "all providers" if target.supertype is None else f"supertype {target.supertype + 1}"
    what = target.kind if target.kind in ("percentiles", "flow") else "share"
    return f"{what} of {whose}"


def dataset(
    problem: Problem, found: CalibrationState, searched: CalibrationState, headline: CalibrationHeadline
) -> xr.Dataset:
    """Curves over updates of both methods, the percentiles reached, the targets."""
    curves, others = ({k: np.asarray(v, float) for k, v in s.history.items()} for s in (found, searched))
    wanted = {target_name(one): one for one in problem.targets}
    sizes = np.full((2, 9), np.nan)
    for one in problem.targets:
        if one.kind == "percentiles" and one.supertype is not None:
            sizes[one.supertype] = one.value
    goal = [wanted[name].value[0] for name in ("share of supertype 1", "share of all providers")]
    reached = [headline.percentiles_1, headline.percentiles_2]
    again = [headline.percentiles_1_retrained, headline.percentiles_2_retrained]
    shares = [np.stack([c["share"][:, 0], c["share"].sum(axis=1)], axis=1) for c in (curves, others)]
    data = xr.Dataset(
        {
            "reward": (("algorithm", "update"), np.asarray([curves["reward"], others["reward"]])),
            "share": (("algorithm", "update", "whose"), np.asarray(shares)),
            "share_target": ("whose", goal),
            "percentile": (("measured", "supertype", "p"), np.asarray([reached, again]), {"units": "lots"}),
            "percentile_target": (("supertype", "p"), sizes, {"units": "lots"}),
            "law": (("algorithm", "update", "component"), np.asarray([curves["law"], others["law"]])),
            "law_deviation": (("update", "component"), curves["law_deviation"]),
            "earned": (("algorithm", "update", "provider"), np.asarray([curves["earned"], others["earned"]])),
        },
        coords={
            "algorithm": ["CALSHEQ", "Bayesian optimization"],
            "update": np.arange(1, len(curves["reward"]) + 1),
            "whose": ["supertype 1", "all providers"],
            "measured": ["calibrated", "new agents"],
            "component": list(problem.space.names),
            "p": np.arange(10, 100, 10),
            "supertype": [1, 2],
        },
    )
    for name in ("nothing", "random", "closed"):
        data.attrs[f"baseline_{name}"] = getattr(headline, f"baseline_{name}")
    return data


def rewards(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The calibrator's reward over updates, and the three baselines."""
    ax = axes_or_new(ax)
    for colour, algorithm in zip(COLOURS, data.algorithm.values, strict=False):
        ax.plot(data["update"], data.reward.sel(algorithm=algorithm), color=colour, lw=1, label=str(algorithm))
    for name, style in (("nothing", ":"), ("random", "--"), ("closed", "-")):
        ax.axhline(data.attrs[f"baseline_{name}"], color="0.4", ls=style, lw=1, label=f"connectivity alone: {name}")
    return label(ax, x=("update", ""), y=("calibrator's reward", ""), title="rewards")


def shares(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Shares over updates, solid CALSHEQ, dotted Bayesian optimization; targets dashed."""
    ax = axes_or_new(ax)
    for colour, whose in zip(COLOURS, data.whose.values, strict=False):
        for algorithm, style in zip(data.algorithm.values, ("-", ":"), strict=True):
            curve = data.share.sel(whose=whose, algorithm=algorithm)
            ax.plot(data["update"], curve, style, color=colour, lw=1, label=f"{whose}, {algorithm}")
        ax.axhline(float(data.share_target.sel(whose=whose)), color=colour, ls="--", lw=1)
    return label(ax, x=("update", ""), y=("market share", ""), title="shares, targets dashed")


def percentiles(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Percentiles of trade sizes: calibrated agents, new agents, targets."""
    ax = axes_or_new(ax)
    for colour, supertype in zip(COLOURS, data.supertype.values, strict=False):
        for measured, mark in zip(data.measured.values, ("o", "x"), strict=True):
            found = data.percentile.sel(supertype=supertype, measured=measured)
            ax.plot(data.p, found, mark, color=colour, mfc="none", label=f"supertype {supertype}, {measured}")
        ax.step(data.p, data.percentile_target.sel(supertype=supertype), where="mid", color=colour, ls="--", lw=1)
    return label(ax, x=("percentile", "%"), y=("trade size", "lots"), title="trade sizes, targets dashed")
