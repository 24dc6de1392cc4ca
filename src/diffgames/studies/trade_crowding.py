"""Traders who liquidate together sell earlier than each would alone, and pay for it (Cardaliaguet & Lehalle 2018).

`games.trade_crowding` has the game and its closed form. The study solves it on a grid, where the crowd is felt by its
mean speed, and holds that against the closed form; the certificate knows neither. Three schedules are compared: that
of the crowd, that of Almgren & Chriss, which takes no notice of the crowd, and that of one planner for all.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.games.trade_crowding import TradeCrowding
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.solvers.mean_field_newton import MeanFieldSolution, solve_mean_field
from diffgames.studies.axes import check_lengths
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.mean_field import certify_crowd
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.verify import Verification

PerType = tuple[float, ...]
FIFTHS = 5


@dataclass(frozen=True, kw_only=True)
class CrowdingConfig:
    """One entry per type, and the grid."""

    share: Annotated[PerType, Parameter("shares λ of the types, sum one", shape="types", minimum=1e-9)] = (1.0,)
    alpha: Annotated[float, Parameter("α, push of the price by the traders' mean speed", "$/lot")] = 0.4
    kappa: Annotated[PerType, Parameter("κ, cost of haste", "$ time/lot²", shape="types", minimum=1e-9)] = (0.2,)
    phi: Annotated[PerType, Parameter("φ, cost of holding", "$/(lot² time)", shape="types", minimum=0.0)] = (0.1,)
    A: Annotated[PerType, Parameter("cost of a last position", "$/lot²", shape="types", minimum=0.0)] = (2.5,)
    mean0: Annotated[PerType, Parameter("mean inventories at the start", "lots", shape="types")] = (10.0,)
    deviation0: Annotated[PerType, Parameter("their deviations at the start", "lots", shape="types", minimum=1e-3)] = (
        1.0,
    )
    sigma: Annotated[float, Parameter("uncertain fills; moves no mean and no schedule", "lots/√time", minimum=0.0)] = (
        1.0
    )
    horizon: Annotated[float, Parameter("T", "time", minimum=1e-6)] = 5.0
    points: Annotated[int, Parameter("cells of the axis of inventories", "cells", minimum=16)] = 160
    steps: Annotated[int, Parameter("implicit steps of time", "steps", minimum=5)] = 160
    deviator_updates: Annotated[int, Parameter("training of the deviator on paths; 0: none", "updates", minimum=0)] = (
        120
    )


@dataclass(frozen=True, kw_only=True)
class CrowdingHeadline:
    """Schedules and costs in closed form, and how near the grid comes to them."""

    mean_inventory: Annotated[
        tuple[PerType, ...], Headline("E at T/5, 2T/5, … T, closed form", "lots", shape="fifths of T × types")
    ]
    first_speed: Annotated[
        PerType, Headline("E' at the start, closed form; below 0: sells", "lots/time", shape="types")
    ]
    first_speed_alone: Annotated[
        PerType, Headline("the same on Almgren & Chriss's schedule", "lots/time", shape="types")
    ]
    cost: Annotated[PerType, Headline("expected cost in equilibrium, closed form", "$", shape="types")]
    cost_alone: Annotated[
        PerType, Headline("of one who takes Almgren & Chriss's schedule in that crowd", "$", shape="types")
    ]
    cost_planner: Annotated[PerType, Headline("where one planner sets everybody's schedule", "$", shape="types")]
    price_of_anarchy: Annotated[
        float | None, Headline("mean cost in equilibrium over the planner's; null where that is not positive")
    ]
    cost_grid: Annotated[PerType, Headline("expected cost of the grid's solution", "$", shape="types")]
    mean_error: Annotated[
        float, Headline("largest distance of the grid's mean inventories from the closed form's", "lots")
    ]
    exploitability: Annotated[
        float, Headline("largest gain by a best reply on a four times finer grid, over types", "$")
    ]
    iterations: Annotated[int, Headline("steps of Newton's method", "steps")]
    mass_error: Annotated[float, Headline("largest deviation of a total mass from one, nothing divided")]


def crowd_of(config: CrowdingConfig) -> TradeCrowding:
    """The crowd of the parameters. `InvalidInput` where types differ in number, or no schedule ends as it must."""
    check_lengths(STUDY, config)
    return TradeCrowding(
        config.share,
        config.alpha,
        config.kappa,
        config.phi,
        config.A,
        config.mean0,
        config.deviation0,
        config.horizon,
        config.sigma,
    )


def cells_of(config: CrowdingConfig, crowd: TradeCrowding) -> Cells:
    """Inventories within seven deviations of any mean at any time."""
    times = np.linspace(0.0, config.horizon, 201)
    mean, wide = crowd.means(times)[0], 7.0 * np.sqrt(crowd.variance(times))
    return Cells((CellAxis("q", (mean - wide).min(), (mean + wide).max(), config.points, "line"),))


def run(config: CrowdingConfig, context: RunContext) -> StudyResult:
    """Solve on the grid, certify, and compare with the closed form."""
    crowd = crowd_of(config)
    game, cells = crowd.game(), cells_of(config, crowd)

    def told(iteration: int, residual: float) -> None:
        context.progress.update("newton", iteration / 20, residual=residual)

    solution = solve_mean_field(game, cells, config.steps, differences="central", report=told)
    context.log(repr(solution))
    profile = {"control": solution.control, "mass": solution.mass}
    certificate = verify(config, profile, context)
    assert certificate.exact is not None
    fifths = crowd.means(config.horizon * np.arange(1, FIFTHS + 1) / FIFTHS)[0]
    data = _schedules(crowd, solution)
    cost, planner = crowd.costs(), crowd.costs("planner", "planner")
    whole = float(crowd.share @ planner)
    start = np.zeros(1)
    return StudyResult(
        CrowdingHeadline(
            mean_inventory=tuple(map(tuple, fifths.tolist())),
            first_speed=tuple(crowd.means(start)[1][0].tolist()),
            first_speed_alone=tuple(crowd.means(start, "alone")[1][0].tolist()),
            cost=tuple(cost.tolist()),
            cost_alone=tuple(crowd.costs("alone").tolist()),
            cost_planner=tuple(planner.tolist()),
            price_of_anarchy=float(crowd.share @ cost) / whole if whole > 0 else None,
            cost_grid=tuple(solution.cost.tolist()),
            mean_error=float(np.abs(data["grid"] - data["crowd"]).max()),
            exploitability=certificate.exact.gap,
            iterations=solution.iterations,
            mass_error=solution.mass_error,
        ),
        certificate=certificate,
        published=_PUBLISHED if _is_published(config) else {},
        warnings=[*solution.cautions, *([] if solution.converged else [f"Newton's method is {solution.status}"])],
        arrays={"schedules": data},
        profile=profile,
    )


_PUBLISHED = {
    "mean_inventory": [[2.54940878], [0.64783481], [0.16157239], [0.03588114], [0.00145511]],
    "first_speed": [-13.66285259],
}


def _is_published(config: CrowdingConfig) -> bool:
    """Whether the schedule is that of the reference values, which neither deviations nor the grid move."""
    names = ("share", "alpha", "kappa", "phi", "A", "mean0", "horizon")
    return all(getattr(config, name) == getattr(CrowdingConfig(), name) for name in names)


def verify(config: CrowdingConfig, profile: dict[str, Any], context: RunContext) -> Verification:
    """The certificate of a stored profile: best replies on finer grids, and a deviator on paths."""
    crowd = crowd_of(config)
    return certify_crowd(crowd.game(), cells_of(config, crowd), profile, config.deviator_updates, context)


def _schedules(crowd: TradeCrowding, solution: MeanFieldSolution) -> xr.Dataset:
    """Mean inventories of the grid and of the three schedules at every step, [time, type]."""
    times = np.linspace(0.0, crowd.horizon, len(solution.mass))
    dims = ("time", "type")
    found = {"grid": (dims, solution.moments()[0], {"units": "lots", "long_name": "the crowd, on the grid"})}
    for name, words in _NAMES.items():
        found[name] = (dims, crowd.means(times, name)[0], {"units": "lots", "long_name": words})
    return xr.Dataset(
        found,
        coords={
            "time": ("time", times, {"long_name": "time"}),
            "type": [f"type {i}" for i in range(len(crowd.share))],
        },
    )


_NAMES = {"crowd": "the crowd", "alone": "Almgren–Chriss", "planner": "one planner"}


def _panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Every schedule in its own style, a color for each type; the planner's wide and pale, as it may be covered."""
    ax = axes_or_new(ax)
    for colour, one in zip(COLOURS, data.type.values, strict=False):
        kind = f", {one}" if len(data.type) > 1 else ""
        for name, style in zip(_NAMES, ("-", "--", "-"), strict=True):
            row, wide = data[name].sel({"type": one}), {"lw": 6, "alpha": 0.25} if name == "planner" else {}
            ax.plot(data.time, row, style, color=colour, label=_NAMES[name] + kind, **wide)
        sparse = data.isel(time=slice(None, None, max(len(data.time) // 20, 1)))
        ax.plot(sparse.time, sparse["grid"].sel({"type": one}), "o", ms=4, color=colour, label=f"on the grid{kind}")
    ax.axhline(0.0, color="0.6", lw=0.8)
    return label(ax, x=("time", ""), y=("mean inventory", "lots"))


def memory(config: CrowdingConfig) -> dict[str, float]:
    """The basis of the linear solves: up to eighty vectors of values and masses."""
    return {"points, steps": 8.0 * 2 * 82 * len(config.share) * config.points * config.steps}


STUDY = Study(
    name="trade-crowding",
    source="Cardaliaguet & Lehalle (2018), mean field game of controls; Almgren & Chriss (2000)",
    shows="traders who liquidate together sell earlier than each would alone, and all pay more than under one planner",
    config=CrowdingConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"points": 320, "steps": 640}},
    minutes={"quick": 0.7, "paper": 3.0},
    headline=CrowdingHeadline,
    example="diffgames run trade-crowding --set share=[0.7,0.3] kappa=[0.2,0.2] phi=[0.1,0.05] A=[2.5,2.5] "
    "mean0=[10,-5] deviation0=[1,1]",
    published="the source prints figures; reference values of the default schedule by an independent solver",
    figures={
        "schedules": Drawing(
            "the crowd sells before Almgren–Chriss does, to be ahead of its own push; a planner would hold back",
            "schedules",
            _panel,
            width=7.0,
            height=4.2,
        )
    },
)
