"""A week of a decentralized energy market: forecast, scenarios, game, bids, clearing, settlement on a payment graph.

Every day of the week, from what is known at noon of the day before:

1. the zone's load is forecast as Student's t, with joint scenarios (`energy.forecast`); sun and wind count as known;
2. the crowd of the forecast makes the day-ahead prices, as price takers and as a team (`energy.prosumers`);
3. every type bids for its need under the scenarios, by mean and CVaR of its cost (`energy.bidding`);
4. the day comes: a neighborhood of the same types behind one feeder negotiates at these prices plus a fee, and is
   cleared exactly (`energy.negotiation`, `energy.clearing`); it holds batteries, but moves no load and counts no wear;
5. the cleared day is settled, and every agent pays or is paid by the operator over channels with hidden balances
   (`energy.settlement`, `energy.payments`).

The attack: a share of agents reports its load too high by a factor. The market clears on reports; at the meter they
draw what they need. What was bought for them in vain is sold at π − φ, the loss shared by all in proportion to load.
Others pay by the price that the reports make, and by their part of that loss. Latencies are assumptions, no results.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.energy.baselines import efficiency
from diffgames.energy.plan import Plan
from diffgames.energy.prosumer_profiles import TYPES, day_of
from diffgames.energy.prosumers import Choice, Reading, solve
from diffgames.plotting import COLOURS, axes_or_new, calendar, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.energy_market_steps import (
    DAYS,
    SHARES,
    EnergyMarketConfig,
    attacked_day,
    bids_of_day,
    cleared_day,
    crowds_of_week,
    forecast_week,
    graph_of,
    neighborhood,
    paid_week,
)
from diffgames.studies.prosumers import crowd_from, record_of, supply_of
from diffgames.studies.study import Headline, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_clearing import certify_clearing
from diffgames.verification.prosumer_response import certify_prosumers

LEVELS = (50, 90, 95, 99)
PerLabel = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class EnergyMarketHeadline:
    """One number for each step of the week, its baseline beside."""

    crps: Annotated[float, Headline("mean CRPS of the zone's load forecast, held-out year", "MW")]
    crps_gaussian: Annotated[float, Headline("of the normal law, trained alike", "MW")]
    violations: Annotated[float, Headline("share of that year's hours above the 95% forecast")]
    violations_week: Annotated[float, Headline("the same of the week's 168 hours")]
    price_of_anarchy: Annotated[
        float | None, Headline("crowd's cost as price takers over the team's; null: not positive", optional=True)
    ]
    exploitability: Annotated[float, Headline("largest gain in any day's game or clearing", "€")]
    price_error: Annotated[
        float | None, Headline("mean |price − the record's|, of a zone with other panels", "€/MWh", optional=True)
    ]
    cvar: Annotated[float, Headline("CVaR of the crowd's day per MW, scenarios, mean of the week", "€")]
    cvar_median: Annotated[float, Headline("the same where types bid the median", "€")]
    cost_realized: Annotated[float, Headline("what the bids cost as the week came, per MW and day", "€")]
    cost_realized_median: Annotated[float, Headline("the same where types bid the median", "€")]
    efficiency: Annotated[
        float | None, Headline("(W − W_no)/(W* − W_no), negotiated; W* of HiGHS's relaxation, a bound", optional=True)
    ]
    efficiencies: Annotated[PerLabel, Headline("of the baselines", shape="{way: number}", optional=True)]
    messages: Annotated[float, Headline("of a day's negotiation", "messages per agent")]
    negotiation_seconds: Annotated[float, Headline("of a day's, under the assumed latencies", "s")]
    gain: Annotated[PerLabel, Headline("of the week: tariff less settlement", "€", shape="{type: number}")]
    paid_grid: Annotated[float, Headline("to the grid beyond, the week", "€")]
    rent: Annotated[float, Headline("kept by the feeder: fee and congestion", "€")]
    payments_sum: Annotated[float, Headline("all payments together, zero but for rounding", "€")]
    malicious_cost: Annotated[float, Headline("of the attack to all others, the week", "€")]
    malicious_gain: Annotated[float, Headline("of the attack to the attackers; below 0: they lose", "€")]
    malicious_costs: Annotated[
        list[float], Headline("malicious_cost by share of attackers", "€", shape="shares (0, 10, 20, 30%)")
    ]
    success: Annotated[float, Headline("share of the payments made, in parts, under drawn balances")]
    feasible: Annotated[float, Headline("share that a flow through the drawn balances delivers: nobody beats it")]
    fee_ppm: Annotated[float | None, Headline("mean fee of those made", "ppm", optional=True)]
    latency: Annotated[
        PerLabel | None, Headline("of payments, assumed", "ms", shape="{percentile: number}", optional=True)
    ]


def run(config: EnergyMarketConfig, context: RunContext) -> StudyResult:
    """The five steps, the attack, and the certificate."""
    record = record_of(config, context.seed)
    crowd = crowd_from(config, day_of(record), supply_of(config, record), context.seed)  # refuses before the forecast
    graph = graph_of(config, len(crowd.kind), context.seed)
    context.progress.update("forecast", 0.0)
    forecast, first = forecast_week(config, record, context.seed)
    profile: dict[str, Any] = {"first": np.asarray([first]), "load": forecast.pop("load")}
    days = crowds_of_week(config, profile, record, context.seed)
    bids: list[np.ndarray] = []
    week: list[dict[str, Any]] = []
    for place, (crowd, real, observed) in enumerate(days):
        context.progress.update("game and bids", 0.4 + 0.03 * place)
        choices: dict[Reading, Choice] = {"mfg": solve(crowd, "mfg"), "team": solve(crowd, "team")}
        profile[f"game {place}"] = choices["mfg"]._asdict()
        need = forecast["scenarios"][place] / profile["load"][place]
        bids.append(bids_of_day(config, crowd, choices["mfg"], real, need))
        bill = [float(crowd.weight @ crowd.costs(choices[reading])) for reading in ("mfg", "team")]
        week.append({"bill": bill, "price": crowd.price(choices["mfg"]), "observed": observed})
    stored: np.ndarray | None = None
    for place, ((_, real, _), found) in enumerate(zip(days, week, strict=True)):
        context.progress.update("clearing", 0.65 + 0.03 * place)
        market = neighborhood(config, real, found["price"], stored)
        profile[f"start {place}"] = market.start
        found |= cleared_day(config, market, jax.random.fold_in(context.key, place))
        profile[f"clearing {place}"] = found.pop("profile")
        stored = np.clip(profile[f"clearing {place}"]["stored"][-1], 0.0, market.capacity)
        found |= attacked_day(config, market, found["prices"], context.seed)
    payments = paid_week(config, graph, np.stack([one["owed"] for one in week]), context.seed)
    certificate = verify(config, profile, context)
    found = _headline(config, forecast, np.mean(bids, 0), week, payments, certificate)
    return StudyResult(
        found,
        certificate=certificate,
        warnings=[
            *record.notes,
            f"the week begins on {np.datetime64(int(first), 'D')}; sun and wind of a day count as known a day ahead",
            "latencies are assumed, not measured: each message and hop log-normal, median 47 ms, P95 111 ms",
        ],
        arrays={"week": _week_arrays(week, first), "money": _money(config, found, week)},
        profile=profile,
    )


def verify(config: EnergyMarketConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """Every day's game by linear programs, its clearing by weak duality: the largest gain of each."""
    record = record_of(config, context.seed)
    entries, checks = [], {}
    for place, (crowd, real, _) in enumerate(crowds_of_week(config, profile, record, context.seed)):
        game = Choice(**{name: np.asarray(value) for name, value in profile[f"game {place}"].items()})
        market = neighborhood(config, real, crowd.price(game), np.asarray(profile[f"start {place}"]))
        plan = {name: np.asarray(value) for name, value in profile[f"clearing {place}"].items()}
        own = {"stored": plan["stored_price"], "start": plan["start_price"], "prices": plan["prices"]}
        cleared = Plan(**{name: plan[name] for name in Plan._fields})
        found = certify_prosumers(crowd, {"mfg": game}, TYPES), certify_clearing(market, cleared, **own)
        for kind, one in zip(("game", "clearing"), found, strict=True):
            worst = max(one.entries, key=lambda entry: entry.gain)
            entries.append(replace(worst, label=f"day {place + 1}, {kind}: {worst.label}"))
            checks |= {f"day {place + 1}, {kind}: {name}": number for name, number in one.checks.items()}
    return Certificate(
        tuple(entries),
        how="the game by linear programs at marginal prices, the clearing by weak duality; each day's largest gain",
        unseen="bids, negotiation and payments are measured, not certified; binaries: the relaxation is cleared",
        checks=checks,
    )


def _headline(
    config: EnergyMarketConfig,
    forecast: dict[str, Any],
    bids: np.ndarray,
    week: list[dict[str, Any]],
    payments: list[Any],
    certificate: Certificate,
) -> EnergyMarketHeadline:
    welfare = {way: sum(one["welfare"][way] for one in week) for way in week[0]["welfare"]}
    best, none = sum(one["best"] for one in week), welfare.pop("none")
    some = best - none > 1e-9 * (1.0 + abs(best))
    efficiencies = {way: efficiency(value, none, best) for way, value in welfare.items()} if some else {}
    bill, kind = np.sum([one["bill"] for one in week], 0), np.repeat(np.arange(len(TYPES)), config.members)
    gain = np.sum([one["gain"] for one in week], 0)
    attack, made = np.sum([one["attack"] for one in week], 0), [one for one in payments if one[0].made]
    known = np.concatenate([one["observed"] for one in week])
    price = np.concatenate([one["price"] for one in week])
    waits = np.percentile([one.milliseconds for one, _, _ in made], LEVELS).tolist() if made else []
    return EnergyMarketHeadline(
        **{name: forecast[name] for name in ("crps", "crps_gaussian", "violations", "violations_week")},
        price_of_anarchy=float(bill[0] / bill[1]) if bill[1] > 0 else None,
        exploitability=certificate.gap,
        price_error=float(np.nanmean(np.abs(price - known))) if np.isfinite(known).any() else None,
        cvar=float(bids[0]),
        cvar_median=float(bids[1]),
        cost_realized=float(bids[2]),
        cost_realized_median=float(bids[3]),
        efficiency=efficiencies.pop("negotiated", None),
        efficiencies=efficiencies,
        messages=float(np.mean([one["messages"] for one in week])),
        negotiation_seconds=float(np.mean([one["seconds"] for one in week])),
        gain={name: float(gain[kind == k].sum()) for k, name in enumerate(TYPES)},
        paid_grid=float(sum(one["grid"] for one in week)),
        rent=float(sum(one["rent"] for one in week)),
        payments_sum=float(sum(one["sum"] for one in week)),
        malicious_cost=float(attack[0]),
        malicious_gain=float(attack[1]),
        malicious_costs=np.sum([one["attacks"] for one in week], 0).tolist(),
        success=len(made) / len(payments),
        feasible=float(np.mean([delivers for _, _, delivers in payments])),
        fee_ppm=float(np.mean([1e6 * one.fee / amount for one, amount, _ in made])) if made else None,
        latency={f"P{level}": wait for level, wait in zip(LEVELS, waits, strict=True)} if made else None,
    )


def _week_arrays(week: list[dict[str, Any]], first: int) -> xr.Dataset:
    """Hourly prices and flows of the neighborhood, all days on end."""
    words = {
        "price": ("day-ahead price of the crowd", "€/MWh"),
        "observed": ("price of the record", "€/MWh"),
        "prices": ("cleared in the neighborhood", "€/MWh"),
        "load": ("load", "MW"),
        "solar": ("solar used", "MW"),
        "batteries": ("batteries, charging", "MW"),
        "net": ("from the feeder", "MW"),
    }
    series = {
        name: ("hour", np.concatenate([one[name] for one in week]), {"long_name": text, "units": unit})
        for name, (text, unit) in words.items()
    }
    start = np.datetime64(int(first), "D").astype("datetime64[h]")
    hour = ("hour", (start + np.arange(24 * DAYS)).astype("datetime64[ns]"), {"long_name": "local time"})
    return xr.Dataset(series, coords={"hour": hour})


def _money(config: EnergyMarketConfig, found: EnergyMarketHeadline, week: list[dict[str, Any]]) -> xr.Dataset:
    """Who pays whom in the week, €, and what an attack costs others, by its share."""
    kind, owed = np.repeat(TYPES, config.members), np.sum([one["owed"] for one in week], 0)
    paid = [float(owed[kind == name].sum()) for name in TYPES]
    words = {"units": "€"}
    return xr.Dataset(
        {
            "paid": ("who", [*paid, -found.paid_grid, -found.rent], words | {"long_name": "pays in the week"}),
            "gain": ("type", list(found.gain.values()), words | {"long_name": "gains on the tariff"}),
            "attack": ("share", found.malicious_costs, words | {"long_name": "cost to others"}),
        },
        coords={
            "who": [*TYPES, "grid", "feeder"],
            "type": list(TYPES),
            "share": ("share", 100 * np.array(SHARES), {"long_name": "attackers", "units": "%"}),
        },
    )


def _in_time(panel: Callable[..., Axes]) -> Callable[..., Axes]:
    """The panel, its hours told by the calendar."""
    return lambda data, ax=None: calendar(panel(data, ax))


def _bars(name: str, along: str, title: str) -> Callable[..., Axes]:
    """Horizontal bars of a variable."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in data[name].values]
        ax.barh([str(one) for one in data[along].values], data[name].values, color=colours)
        return label(ax, x=(data[name].attrs["long_name"], "€"), y=("", ""), title=title)

    return panel


def memory(config: EnergyMarketConfig) -> dict[str, float]:
    """The linear programs of the neighborhood and of the bids."""
    agents = len(TYPES) * config.members
    return {"members": 8.0 * 24 * agents * 300, "scenarios": 8.0 * 24 * config.scenarios * 60}


STUDY = Study(
    name="energy-market",
    source="mean-field-type games tutorial, Sections 5 to 9 (no protocol is printed; this one is stated)",
    shows="a week from forecast to payment: what uncertainty, negotiation and attackers cost, who gains and who pays",
    config=EnergyMarketConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"trees": 200, "updates": 300, "scenarios": 100}},
    minutes={"quick": 1.5, "paper": 4.0},
    headline=EnergyMarketHeadline,
    example="diffgames run energy-market --set data=hours.csv.gz zone=ES operator=load_tso_da malicious=0.2",
    published="the tutorial claims 47 ms and 3–6% of CRPS for Student's t against the normal law, without a protocol",
    figures={
        "prices": Drawing(
            "the crowd's price beside the record's, and what the feeder and its fee make of it",
            "week",
            _in_time(lines("price", "observed", "prices", y="price", styles=("-", ":", "-"))),
            width=7.0,
        ),
        "energy": Drawing(
            "where the neighborhood's energy comes from and goes",
            "week",
            _in_time(lines("load", "solar", "batteries", "net", y="power")),
            width=7.0,
        ),
        "money": Drawing(
            "who pays and who is paid (below 0); who gains on the tariff; what attackers cost others",
            "money",
            _bars("paid", "who", "Flow of money"),
            _bars("gain", "type", "Gains on the tariff"),
            lines("attack", marker="o"),
        ),
    },
)
