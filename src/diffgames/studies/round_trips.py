"""Does a market pay for pushing its price? Schedules of one lone taker, at several sizes, marked to mid and to book.

`markets.round_trips` has the eight schedules, and the estimator: the mean of a schedule and its mirror image under
common random numbers. Where impact stays, a taker that only buys earns at the mid what its own orders did to it. Marked
to the book it sells out into the same book. `earns` is the largest t-value of what any schedule earns at any size,
marked to the book: below `critical` no schedule earns, at 1% of false alarms among all of them together. The same
marked to the mid, `earns_at_mid`, shows what the test finds where a market does pay.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from scipy.stats import t as students_t

from diffgames.errors import InvalidInput
from diffgames.markets.round_trips import Earned, earned, lone_taker, schedules
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, Panel
from diffgames.studies.exchange_parameters import ExchangeParameters, fit_from
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

FALSE_ALARMS = 0.01  # among all schedules and sizes together


@dataclass(frozen=True, kw_only=True)
class RoundTripConfig(ExchangeParameters):
    """The exchange, and what the taker trades in it."""

    sizes: Annotated[tuple[float, ...], Parameter("lots of a trade", "lots", shape="sizes", minimum=1e-6)] = (
        1.0,
        10.0,
        30.0,
    )
    steps: Annotated[int, Parameter("length of an episode", "steps", minimum=20, maximum=10_000)] = 100
    episodes: Annotated[int, Parameter("of every schedule and its mirror image", "episodes", minimum=4)] = 48
    grid: Annotated[
        int | None, Parameter("price grid of the book; null: from data and horizon", "ticks", minimum=16)
    ] = None


PerSchedule = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RoundTripHeadline:
    """What every schedule earns, both ways of marking."""

    earns: Annotated[float, Headline("largest t-value of what a schedule earns, marked to the book")]
    earns_at_mid: Annotated[float, Headline("the same, marked to the mid")]
    critical: Annotated[float, Headline("t-value above which one earns, at 1% of false alarms among all")]
    book: Annotated[
        PerSchedule, Headline("PnL of an episode, sold out into the book", "ticks × lots", shape="{schedule: sizes}")
    ]
    book_error: Annotated[PerSchedule, Headline("its error", "ticks × lots", shape="{schedule: sizes}")]
    mid: Annotated[
        PerSchedule, Headline("PnL of an episode, marked to the mid", "ticks × lots", shape="{schedule: sizes}")
    ]
    mid_error: Annotated[PerSchedule, Headline("its error", "ticks × lots", shape="{schedule: sizes}")]


def run(config: RoundTripConfig, context: RunContext) -> StudyResult:
    """Fit the exchange, play every schedule at every size."""
    if not config.sizes or len(set(config.sizes)) < len(config.sizes):
        raise InvalidInput("sizes", list(config.sizes), "one or more sizes, each once")
    context.progress.update("fitting", 0.0)
    model, report = fit_from(config, context.seed)
    market, plans = lone_taker(model, config.steps, config.grid), schedules(config.steps)
    played: list[Earned] = []
    for place, size in enumerate(config.sizes):
        context.progress.update("playing", (place + 1) / (len(config.sizes) + 1), lots=size)
        played.append(earned(market, list(plans.values()), size, context.key, config.episodes))
    earnings = earnings_of(config, list(plans), played)
    critical = float(students_t.ppf(1.0 - FALSE_ALARMS / earnings.book.size, config.episodes - 1))
    columns = {
        name: {str(plan): earnings[name].sel(schedule=plan).values for plan in plans}
        for name in ("book", "book_error", "mid", "mid_error")
    }
    return StudyResult(
        RoundTripHeadline(
            earns=float(t_values(earnings, "book").max()),
            earns_at_mid=float(t_values(earnings, "mid").max()),
            critical=critical,
            **columns,
        ),
        warnings=[*_paid(earnings, critical), *report.notes],
        arrays={"earnings": earnings},
    )


def earnings_of(config: RoundTripConfig, names: list[str], played: list[Earned]) -> xr.Dataset:
    """PnL by schedule and size, with standard errors."""
    columns = dict(zip(Earned._fields, map(np.stack, zip(*played, strict=True)), strict=True))
    words = {"book": "PnL, sold out into the book", "mid": "PnL, marked to the mid"}
    return xr.Dataset(
        {
            name: (("size", "schedule"), value, {"units": "ticks × lots", "long_name": words.get(name, name)})
            for name, value in columns.items()
        },
        coords={
            "size": ("size", np.asarray(config.sizes), {"units": "lots", "long_name": "lots of a trade"}),
            "schedule": names,
        },
    )


def t_values(earnings: xr.Dataset, marked: str) -> Float[np.ndarray, "sizes schedules"]:
    """Means over their standard errors; an amount without error counts as ±∞, nothing at all as 0."""
    value, error = earnings[marked].values, earnings[f"{marked}_error"].values
    sure = np.where(value == 0, 0.0, np.copysign(np.inf, value))
    return np.where(error > 0, value / np.where(error > 0, error, 1.0), sure)


def _paid(earnings: xr.Dataset, critical: float) -> list[str]:
    """A warning for each schedule that the book pays."""
    paid = t_values(earnings, "book") > critical
    return [
        f"the market pays for pushing its price: {earnings.schedule.values[j]} at {earnings['size'].values[i]:g} lots "
        f"earns {earnings.book.values[i, j]:.4g} ± {2 * earnings.book_error.values[i, j]:.2g} ticks × lots"
        for i, j in np.argwhere(paid)
    ]


def per_lot(name: str, title: str) -> Panel:
    """PnL of an episode for each lot of a trade, by schedule, with two standard errors."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        place, sizes = np.arange(data.sizes["schedule"]), data["size"].values
        reach = 2.0 * max(float(np.abs(data[one] / data["size"]).max()) for one in ("book", "mid"))
        for row, (size, colour) in enumerate(zip(sizes, COLOURS, strict=False)):
            shift = 0.6 * ((row + 0.5) / len(sizes) - 0.5)
            value, error = data[name].values[row] / size, data[f"{name}_error"].values[row] / size
            ax.errorbar(
                value,
                place + shift,
                xerr=2 * error,
                fmt="o",
                ms=3,
                color=colour,
                label=f"{size:g} lots" if size != 1 else "1 lot",
            )
        ax.axvline(0, color="0.5", lw=0.8)
        ax.set_xscale("symlog", linthresh=1.0)
        ax.set_xlim(-reach, reach)  # the same in both panels
        ax.set_yticks(place, [str(one) for one in data.schedule.values])
        ax.invert_yaxis()
        return label(ax, x=("PnL of an episode for each lot of a trade", "ticks"), y=("", ""), title=title)

    return panel


def memory(config: RoundTripConfig) -> dict[str, float]:
    """Two books' sides for every episode, schedule and mirror image."""
    return {"episodes, grid": 4.0 * 2 * 16 * config.episodes * float(config.grid or 256)}


STUDY = Study(
    name="round-trips",
    source="equations 1 and 3 of Vadori et al., arXiv 2210.07184; Gatheral 2010 on impact without price manipulation",
    shows="nobody earns by pushing the price of a market that is marked to its own book",
    config=RoundTripConfig,
    run=run,
    memory=memory,
    presets={"quick": {}, "paper": {"exchange": "mixture", "episodes": 400}},
    minutes={"quick": 0.7, "paper": 2.0},
    headline=RoundTripHeadline,
    example="diffgames run round-trips --set data=level2.csv.gz --set sizes=[1,10,30]",
    published="no numbers: the paper marks inventory to the mid",
    uncertified="nobody chooses anything: the schedules are given, and their mean PnL has an interval",
    figures={
        "earnings": Drawing(
            "sold out into the book (left) every schedule loses, at every size; marked to the mid (right) buyers seem "
            "to earn what their own orders did to the price",
            "earnings",
            per_lot("book", "Sold out into the book"),
            per_lot("mid", "Marked to the mid"),
            width=5.6,
            height=4.0,
        ),
    },
)
