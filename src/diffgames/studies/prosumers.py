"""Consumers, solar roofs, batteries and industry whose mixture makes the price of every hour of a day.

`energy.prosumers` has the game; `energy.prosumer_profiles` makes it of a zone's record, or of a drawn one. It is solved
in three readings: everybody takes the price as given (`mfg`), a decision maker for every type knows that its whole type
moves it (`mftg`), one for all buys for all (`team`). Beside them stands the day on which nobody uses what can be moved.
Money and energy are per agent, which is one MW of mean load.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.energy.hours import Hours, clock_of, read_hours, synthetic_hours
from diffgames.energy.prosumer_profiles import TYPES, DayProfile, Supply, crowd_of_day, day_of, fit_supply
from diffgames.energy.prosumers import READINGS, Choice, Prosumers, Reading, solve
from diffgames.plotting import COLOURS, axes_or_new, band, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.prosumer_response import certify_prosumers

PerLabel = dict[str, float]
WAYS = {"idle": "nobody moves", "mfg": "each takes the price", "mftg": "types decide as one", "team": "one for all"}
BINDS = 1e-6  # MWh per MWh of capacity
HOUR = ("hour", np.arange(24), {"long_name": "hour of the local day", "units": "h"})


@dataclass(frozen=True, kw_only=True)
class ProsumersConfig:
    """The record, the day, the types; sizes per MW of mean load."""

    data: Annotated[str | None, Parameter("CSV of hourly load, solar, wind, price; null: a drawn record")] = None
    zone: Annotated[str, Parameter("ES, DE, AT, FR, or a clock's name like Europe/Madrid")] = "ES"
    columns: Annotated[
        dict[str, str] | None, Parameter("names here and in the file; null: the same", shape="{name: column}")
    ] = None
    repair: Annotated[bool, Parameter("exchange day and month back where they were exchanged")] = False
    day: Annotated[str | None, Parameter("local date like 2018-06-14; null: the sunniest without gaps")] = None
    supply: Annotated[
        tuple[float, float] | None,
        Parameter("α, β of the price α + β R; null: fitted to the record's price", "€/MWh", shape="2"),
    ] = None
    share: Annotated[
        tuple[float, ...],
        Parameter("shares λ of the load: consumers, PV, PV and storage, industry", shape="types", minimum=1e-9),
    ] = (0.45, 0.15, 0.2, 0.2)
    pv: Annotated[float, Parameter("panels of a PV agent", "MW", minimum=0.0)] = 2.0
    capacity: Annotated[float, Parameter("S, of a battery", "MWh", minimum=0.0)] = 6.0
    power: Annotated[float, Parameter("C, of a battery each way", "MW", minimum=0.0)] = 1.5
    start: Annotated[
        tuple[float, float] | None,
        Parameter("stored at midnight, uniform between; null: 0 to capacity", "MWh", shape="2"),
    ] = None
    flexible: Annotated[float, Parameter("φ, share of industry's load that may move", minimum=0.0, maximum=1.0)] = 0.2
    efficiency: Annotated[float, Parameter("η of a battery, each way", minimum=1e-3, maximum=1.0)] = 0.95
    wear: Annotated[float, Parameter("of a battery, each way", "€/MWh", minimum=0.0)] = 2.0
    moving: Annotated[float, Parameter("what industry loses by load moved", "€/MWh", minimum=0.0)] = 10.0
    members: Annotated[int, Parameter("of each type's law", "agents", minimum=1)] = 8
    spread: Annotated[float, Parameter("deviation of the logarithm of loads within a type", minimum=0.0)] = 0.3


@dataclass(frozen=True, kw_only=True)
class ProsumersHeadline:
    """What everybody pays, what is lost, and the evening's price; per agent and day."""

    cost: Annotated[PerLabel, Headline("mean cost J where each takes the price", "€", shape="{type: number}")]
    costs: Annotated[dict[str, list[float]], Headline("the same in every way of deciding", "€", shape="{way: types}")]
    efficiency: Annotated[
        float | None,
        Headline(
            meaning="(C_idle − C)/(C_idle − C*) where each takes the price; C: cost to society, C* bounded by the "
            "certificate; null: nothing to gain",
            optional=True,
        ),
    ]
    efficiencies: Annotated[
        PerLabel, Headline("the same in every way of deciding", shape="{way: number}", optional=True)
    ]
    price_of_anarchy: Annotated[
        float | None,
        Headline("crowd's cost where each takes the price over the team's; null: not positive", optional=True),
    ]
    price_of_anarchy_types: Annotated[float | None, Headline("the same where types decide as one", optional=True)]
    exploitability: Annotated[float, Headline("largest gain by a plan of one's own, in both games", "€")]
    price_peak: Annotated[
        PerLabel, Headline("highest price of the day; mfg without batteries", "€/MWh", shape="{way: number}")
    ]
    at_limits: Annotated[
        PerLabel, Headline("hours that a battery ends full or empty, mean", "h", shape="{way: number}")
    ]
    discharged: Annotated[PerLabel, Headline("by a battery in the day, mean", "MWh", shape="{way: number}")]
    curtailed: Annotated[PerLabel, Headline("solar, per agent of the crowd", "MWh", shape="{way: number}")]
    supply: Annotated[tuple[float, float], Headline("α, β of the supply curve", "€/MWh", shape="2")]
    supply_r2: Annotated[float | None, Headline("share of the price's variance that α + β R explains", optional=True)]
    mean_load: Annotated[float, Headline("of the zone: so many agents", "MW")]


def record_of(config: ProsumersConfig, seed: int) -> Hours:
    """The file's record, or a drawn one."""
    if config.data is None:
        return synthetic_hours(clock_of(config.zone), seed)
    return read_hours(config.data, config.zone, columns=config.columns, repair=config.repair)


def supply_of(config: ProsumersConfig, record: Hours) -> Supply:
    """The supply curve that is given, or that of the record."""
    return Supply(*config.supply) if config.supply is not None else fit_supply(record)


def crowd_from(config: ProsumersConfig, profile: DayProfile, supply: Supply, seed: int) -> Prosumers:
    """The crowd of a day with the sizes of a configuration."""
    names = ("pv", "capacity", "power", "flexible", "efficiency", "wear", "moving", "members", "spread")
    sizes = {name: getattr(config, name) for name in names}
    start = (0.0, config.capacity) if config.start is None else config.start
    return crowd_of_day(profile, supply, config.share, start=start, seed=seed, **sizes)


def build(config: ProsumersConfig, seed: int) -> tuple[Prosumers, DayProfile, Supply, Hours]:
    """The crowd, the day and supply curve that it is of, and the record."""
    record = record_of(config, seed)
    profile = day_of(record, config.day)
    supply = supply_of(config, record)
    return crowd_from(config, profile, supply, seed), profile, supply, record


def run(config: ProsumersConfig, context: RunContext) -> StudyResult:
    """Solve the three readings with batteries and the first without, certify, compare with the idle day."""
    crowd, profile, supply, record = build(config, context.seed)
    choices: dict[str, Choice] = {"idle": crowd.idle()}
    for place, reading in enumerate(READINGS):
        context.progress.update(reading, place / 4)
        choices[reading] = solve(crowd, reading)
    bare = crowd.without_storage()
    certificate = certify_prosumers(crowd, {reading: choices[reading] for reading in READINGS}, TYPES)
    peak = {way: float(crowd.price(choice).max()) for way, choice in choices.items()}
    peak["mfg without storage"] = float(bare.price(solve(bare, "mfg")).max())
    return StudyResult(
        _headline(crowd, choices, certificate, peak, supply, profile),
        certificate=certificate,
        warnings=[*record.notes, f"the day is {profile.day}"],
        arrays={"day": _day(crowd, choices, profile), "batteries": _batteries(crowd, choices)},
        profile={reading: choices[reading]._asdict() for reading in READINGS},
    )


def verify(config: ProsumersConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of stored plans."""
    crowd = build(config, context.seed)[0]
    plans: dict[Reading, Choice] = {
        reading: Choice(**{name: np.asarray(profile[reading][name]) for name in Choice._fields}) for reading in READINGS
    }
    return certify_prosumers(crowd, plans, TYPES)


def _headline(
    crowd: Prosumers,
    choices: dict[str, Choice],
    certificate: Certificate,
    peak: PerLabel,
    supply: Supply,
    profile: DayProfile,
) -> ProsumersHeadline:
    costs = {way: crowd.costs(choice) for way, choice in choices.items()}
    society = {way: crowd.society(choice) for way, choice in choices.items()}
    least = society["mfg"] - max(float(certificate.checks["mfg: together at most €"] or 0.0), 0.0)
    gain = society["idle"] - least
    some = gain > 1e-9 * (1.0 + abs(least))
    efficiencies = {way: (society["idle"] - society[way]) / gain for way in READINGS} if some else {}
    bill = {way: float(crowd.weight @ one) for way, one in costs.items()}
    means = {way: [float(one[crowd.kind == k].mean()) for k in range(len(TYPES))] for way, one in costs.items()}
    owner = crowd.kind == TYPES.index("pv_storage")
    size = np.maximum(crowd.capacity[owner], 1e-12)
    room = {
        way: np.minimum(level, size - level) for way in READINGS for level in [crowd.stored(choices[way])[:, owner]]
    }
    return ProsumersHeadline(
        cost=dict(zip(TYPES, means["mfg"], strict=True)),
        costs=means,
        efficiency=efficiencies.get("mfg"),
        efficiencies=efficiencies,
        price_of_anarchy=bill["mfg"] / bill["team"] if bill["team"] > 0 else None,
        price_of_anarchy_types=bill["mftg"] / bill["team"] if bill["team"] > 0 else None,
        exploitability=certificate.gap,
        price_peak=peak,
        at_limits={way: float((room[way] <= BINDS * size).sum(0).mean()) for way in READINGS},
        discharged={way: float(choices[way].discharge.sum(0)[owner].mean()) for way in READINGS},
        curtailed={way: float((crowd.solar - choices[way].solar).sum(0) @ crowd.weight) for way in READINGS},
        supply=(supply.intercept, supply.slope),
        supply_r2=supply.r2,
        mean_load=profile.mean_load,
    )


def _day(crowd: Prosumers, choices: dict[str, Choice], profile: DayProfile) -> xr.Dataset:
    """Prices and net demand of every way, [way, hour], and the price that was, [hour]."""
    price = np.stack([crowd.price(choice) for choice in choices.values()])
    total = np.stack([crowd.drawn(choice) @ crowd.weight for choice in choices.values()])
    known = profile.price if profile.price is not None else np.full(24, np.nan)
    return xr.Dataset(
        {
            "price": (("way", "hour"), price, {"long_name": "price", "units": "€/MWh"}),
            "net": (("way", "hour"), total, {"long_name": "crowd's net demand", "units": "MW"}),
            "observed": ("hour", known, {"long_name": "price of the record", "units": "€/MWh"}),
        },
        coords={"way": [WAYS[way] for way in choices], "hour": HOUR},
    )


def _batteries(crowd: Prosumers, choices: dict[str, Choice]) -> xr.Dataset:
    """The law of stored energy where each takes the price, [hour, level], and its means in the readings."""
    owner, levels = crowd.kind == TYPES.index("pv_storage"), np.array([0.0, 0.25, 0.75, 1.0])
    words = {"long_name": "stored by a battery", "units": "MWh"}
    stored = {way: crowd.stored(choices[way])[:, owner] for way in READINGS}
    return xr.Dataset(
        {
            "law": (("hour", "level"), np.quantile(stored["mfg"], levels, axis=1).T, words),
            "mean": (("way", "hour"), np.stack([one.mean(1) for one in stored.values()]), words),
        },
        coords={"hour": HOUR, "level": levels, "way": [WAYS[way] for way in READINGS]},
    )


def _price_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    ax = lines("price", by="way", x="hour")(data, axes_or_new(ax))
    if np.isfinite(data.observed).any():
        ax.plot(data.hour, data.observed, ":", color="0.5", label="the record's, of that day")
    return ax


def _law_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    ax = axes_or_new(ax)
    for outer, inner in ((0.0, 1.0), (0.25, 0.75)):
        band(ax, data.hour, data.law.sel(level=outer), data.law.sel(level=inner), colour=COLOURS[0])
    for colour, way in zip(COLOURS, data.way.values, strict=False):
        ax.plot(data.hour, data["mean"].sel(way=way), color=colour, label=f"mean, {way}")
    return label(ax, x=("hour of the local day", "h"), y=("stored by a battery", "MWh"))


def memory(config: ProsumersConfig) -> dict[str, float]:
    """The plans of all ways, and the sparse rows of the program with their factor."""
    return {"members": 8.0 * 24 * len(TYPES) * config.members * 200}


STUDY = Study(
    name="prosumers",
    source="mean-field-type games tutorial, Sections 2, 3 and 8; Alasseur, Ben Taher & Matoussi 2020; Rosen 1965",
    shows="prosumers who take the price share the planner's optimum; types that know they move it hold back",
    config=ProsumersConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"members": 40}},
    minutes={"quick": 0.1, "paper": 0.5},
    headline=ProsumersHeadline,
    example="diffgames run prosumers --set data=hours.csv.gz zone=ES day=2018-06-20 "
    "'columns={load: load, solar: solar, wind: wind, price: price_da}'",
    published="none: the tutorial states the linear-quadratic example of two types, without numbers",
    figures={
        "prices": Drawing(
            "who moves, and for whom, flattens the price", "day", _price_panel, lines("net", by="way", x="hour")
        ),
        "batteries": Drawing(
            "batteries fill at noon and empty in the evening: their whole range and middle half, and the means",
            "batteries",
            _law_panel,
            width=6.0,
        ),
    },
)
