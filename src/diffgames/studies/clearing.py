"""A day of prosumers cleared, negotiated and settled (tutorial, sections 7 and 9; the protocol is ours).

The same market is solved three ways: the linear relaxation by a first-order method (certified by other matrices), the
MILP by HiGHS, and a negotiation in which agents keep what is theirs to themselves. The tutorial claims a percentage of
the Pareto optimum and 47 ms without a protocol. Here the efficiency of a plan of welfare W is (W − W_no)/(W* − W_no)
with W* of the MILP (or of its bound, where HiGHS's time is up), W_no that of nobody using any flexibility, and every
plan is carried out hour by hour before it is valued. Latencies are drawn from an assumed law, and say so.
"""

import math
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.energy.baselines import baseline_welfare, efficiency
from diffgames.energy.clearing import Clearing, clear
from diffgames.energy.exact_clearing import Exact, integer_optimum
from diffgames.energy.linear_program import quantities
from diffgames.energy.market import DAY, Market, batteries, draw_market, unit_warnings
from diffgames.energy.negotiation import SIGMA, Talk, latency_quantiles, negotiate
from diffgames.energy.plan import Plan, carried_out, worth
from diffgames.energy.settlement import settle
from diffgames.errors import InvalidInput, RunFailed
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_clearing import certify_clearing

LOOK = 10  # rounds between two plans that are carried out
LEVELS = {"P50": 0.5, "P90": 0.9, "P95": 0.95, "P99": 0.99}
PerLabel = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ClearingConfig:
    """Who is in the market, what the grid beyond asks, and how long is negotiated."""

    market: Annotated[
        Literal["prosumers", "battery"],
        Parameter(
            meaning="prosumers drawn at random, or batteries alone (2 MWh, 1 MW each way, .9/.9, empty), "
            "without fee, panels or a limit of the feeder"
        ),
    ] = "prosumers"
    agents: Annotated[int, Parameter("N", "agents", minimum=1)] = 200
    prices: Annotated[
        tuple[float, ...],
        Parameter("π of every hour from midnight", "€/MWh", shape="hours", plausible=(-500.0, 4000.0)),
    ] = DAY
    feeder: Annotated[float, Parameter("limit of the feeder", "MW per agent", minimum=1e-9)] = 0.12
    fee: Annotated[float, Parameter("φ, fee of the grid each way", "€/MWh", minimum=0.0)] = 5.0
    solar_share: Annotated[float, Parameter("share of agents with panels", minimum=0.0, maximum=1.0)] = 0.6
    rounds: Annotated[int, Parameter("of negotiation, in tens", "rounds", minimum=10)] = 120
    loss: Annotated[float, Parameter("share of messages lost, lossy variant", minimum=0.0, maximum=0.9)] = 0.1
    deadline: Annotated[float, Parameter("the operator waits so long, asynchronous variant", "ms", minimum=1.0)] = 150.0
    milp_nodes: Annotated[int, Parameter("of HiGHS's tree for the MILP, at most", "nodes", minimum=1)] = 1000
    milp_gap: Annotated[float, Parameter("relative gap at which it stops", minimum=1e-9)] = 1e-4


@dataclass(frozen=True, kw_only=True)
class ClearingHeadline:
    """Welfare by every route, what negotiation costs, what is settled."""

    welfare_lp: Annotated[float, Headline("welfare of the relaxation, first-order method", "€")]
    welfare_milp: Annotated[float, Headline("welfare of the best plan found with binaries (HiGHS)", "€")]
    welfare_bound: Annotated[float, Headline("W*: the MILP's, or its bound where time was up", "€")]
    binary_gap: Annotated[float, Headline("welfare_lp − welfare_milp: what the binaries cost", "€")]
    duality_gap: Annotated[float, Headline("relative gap of the first-order method")]
    efficiency: Annotated[
        float | None, Headline("(W − W_no)/(W* − W_no) of the negotiated plan; null: nothing to gain", optional=True)
    ]
    efficiencies: Annotated[
        PerLabel, Headline("the same of variants and baselines", shape="{way: number}", optional=True)
    ]
    welfare: Annotated[PerLabel, Headline("W of variants and baselines", "€", shape="{way: number}")]
    messages: Annotated[float, Headline("quotes and answers, all rounds", "messages per agent")]
    negotiation_seconds: Annotated[
        PerLabel, Headline("simulated, under the assumed latencies", "s", shape="{way: number}")
    ]
    latency: Annotated[
        PerLabel,
        Headline(
            "quantiles of the assumed law of one message; an assumption, not a result",
            "ms",
            shape="{quantile: number}",
            published="section 9: median 47 ms",
        ),
    ]
    uplift: Annotated[float, Headline("paid beside the prices because of binaries, all agents", "€")]
    payments_sum: Annotated[float, Headline("all payments together, zero but for rounding", "€")]
    clearing_seconds: Annotated[float, Headline("first-order method, compiled", "s", timing=True)]
    milp_seconds: Annotated[float, Headline("HiGHS on the MILP", "s", timing=True)]


def market_of(config: ClearingConfig, seed: int) -> Market:
    """The market of a configuration; `InvalidInput` names what cannot be."""
    if not config.prices:
        raise InvalidInput("prices", config.prices, "a price for every hour, one at least")
    if config.market == "battery":
        capacity = np.full(config.agents, 2.0)
        return batteries(config.prices, capacity=capacity, charge=1.0, discharge=1.0, efficiency=(0.9, 0.9))
    options = {"solar_share": config.solar_share, "feeder": config.feeder, "fee": config.fee}
    return draw_market(config.agents, config.prices, seed=seed, **options)


def run(config: ClearingConfig, context: RunContext) -> StudyResult:
    """Clear, solve the MILP, negotiate three ways, settle at the relaxation's prices."""
    market = market_of(config, context.seed)
    context.progress.update("clearing", 0.0)
    cleared, seconds = _timed(market)
    profile = _profile(market, cleared)
    context.progress.update("MILP", 0.1)
    exact = _with_binaries(market, config, profile, float(cleared.bound))
    best = exact.welfare if exact.solved else min(exact.bound, float(cleared.bound))
    welfare = baseline_welfare(market)
    none, ways = welfare["none"], {"negotiated": (0.0, math.inf), "lossy": (config.loss, math.inf)}
    ways["asynchronous"] = (0.0, config.deadline)
    talks = {}
    for place, (name, (loss, deadline)) in enumerate(ways.items()):
        context.progress.update("negotiating", 0.4 + 0.2 * place)
        talks[name] = _negotiation(market, context, config.rounds, loss, deadline)
        welfare[name] = float(talks[name]["welfare"][-1])
    some = best - none > 1e-6 * (1.0 + abs(best))
    efficiencies = {name: efficiency(value, none, best) for name, value in welfare.items()} if some else {}
    settled = settle(market, exact.plan, profile["prices"])
    return StudyResult(
        ClearingHeadline(
            welfare_lp=float(cleared.welfare),
            welfare_milp=exact.welfare,
            welfare_bound=best,
            binary_gap=float(cleared.welfare) - exact.welfare,
            duality_gap=float(cleared.gap),
            efficiency=efficiencies.get("negotiated"),
            efficiencies=efficiencies,
            welfare=welfare,
            messages=float(talks["negotiated"]["messages"].sum()) / config.agents,
            negotiation_seconds={name: float(talk["milliseconds"].sum()) / 1e3 for name, talk in talks.items()},
            latency=dict(zip(LEVELS, latency_quantiles(np.asarray(list(LEVELS.values()))).tolist(), strict=True)),
            uplift=float(settled.uplift.sum()),
            payments_sum=settled.payments_sum,
            clearing_seconds=seconds,
            milp_seconds=exact.seconds,
        ),
        certificate=verify(config, profile, context),
        published={"latency": {"P50": 47.0}},
        warnings=_warnings(config, exact),
        arrays={
            "day": _day(market, profile, exact.plan, talks["negotiated"]["prices"]),
            "negotiation": _rounds(talks, none, best),
            "welfare": _bars(welfare | {"MILP": exact.welfare, "relaxation": float(cleared.welfare)}),
        },
        profile=profile,
    )


def verify(config: ClearingConfig, profile: Any, context: RunContext) -> Certificate:
    """What anybody could still gain at the stored prices, by matrices that did not compute them."""
    plan = Plan(**{name: np.asarray(profile[name]) for name in Plan._fields})
    own = {"stored": "stored_price", "start": "start_price", "prices": "prices"}
    multipliers = {name: np.asarray(profile[stored]) for name, stored in own.items()}
    return certify_clearing(market_of(config, context.seed), plan, **multipliers)


def _timed(market: Market) -> tuple[Clearing, float]:
    """The cleared market, and the seconds of a second run, once compiled."""
    clear(market)
    started = time.perf_counter()
    cleared = jax.block_until_ready(clear(market))
    return cleared, time.perf_counter() - started


def _with_binaries(market: Market, config: ClearingConfig, profile: dict[str, np.ndarray], bound: float) -> Exact:
    """The MILP; where HiGHS found no plan in its nodes, the relaxation's as it would be carried out, and its bound."""
    try:
        return integer_optimum(market, nodes=config.milp_nodes, gap=config.milp_gap)
    except RunFailed:
        plan = carried_out(market, Plan(**{name: profile[name] for name in Plan._fields}))
        return Exact(plan, worth(market, plan), bound, 0.0, solved=False)


def _profile(market: Market, cleared: Clearing) -> dict[str, np.ndarray]:
    capacity = np.where(market.capacity > 0, market.capacity, 1.0)
    plan = {name: np.asarray(part) for name, part in cleared.plan._asdict().items()}
    own = {"stored_price": np.asarray(cleared.multipliers.stored) / capacity}
    return plan | own | {"start_price": np.asarray(cleared.multipliers.start), "prices": np.asarray(cleared.prices)}


def _negotiation(
    market: Market, context: RunContext, rounds: int, loss: float, deadline: float
) -> dict[str, np.ndarray]:
    """What every round cost, the welfare of what would be carried out after every `LOOK` rounds, the last prices."""
    talk: Talk | None = None
    seen, welfare = [], []
    with jax.enable_x64(True):
        for key in jax.random.split(jax.random.fold_in(context.key, 1), -(-rounds // LOOK)):
            talk, round_ = negotiate(market, key, LOOK, talk, loss=loss, deadline=deadline)
            seen.append(round_)
            plan = jax.tree.map(np.asarray, quantities(market, talk.x))
            welfare.append(worth(market, carried_out(market, plan)))
    assert talk is not None
    found = {name: np.concatenate([np.asarray(getattr(r, name)) for r in seen]) for name in seen[0]._fields}
    return found | {"welfare": np.asarray(welfare), "prices": np.asarray(talk.y.price)}


def _warnings(config: ClearingConfig, exact: Exact) -> list[str]:
    notes = [f"latencies are assumed, not measured: lognormal, median 47 ms, σ = {SIGMA:.4f} (P95 111 ms)"]
    if not exact.solved:
        notes.append(
            f"the MILP was not solved in {config.milp_nodes} nodes: W* is its bound, {exact.bound:.6g} €, "
            f"above the best plan found, {exact.welfare:.6g} €"
        )
    return notes + unit_warnings(config.prices)


def _day(market: Market, profile: dict[str, np.ndarray], exact: Plan, negotiated: np.ndarray) -> xr.Dataset:
    series = {
        "exchange": (market.price, "exchange π", "€/MWh"),
        "cleared": (profile["prices"], "cleared λ", "€/MWh"),
        "negotiated": (negotiated, "negotiated λ", "€/MWh"),
        "net": (profile["imports"] - profile["exports"], "feeder", "MW"),
        "net_milp": (exact.imports - exact.exports, "feeder, MILP", "MW"),
        "solar": (profile["solar"].sum(axis=1), "solar used", "MW"),
        "batteries": ((profile["charge"] - profile["discharge"]).sum(axis=1), "batteries", "MW"),
        "limit": (np.asarray(market.feeder), "feeder's limit", "MW"),
    }
    data = {name: ("hour", values, {"long_name": text, "units": unit}) for name, (values, text, unit) in series.items()}
    return xr.Dataset(data, coords={"hour": ("hour", np.arange(market.hours), {"long_name": "hour", "units": "h"})})


def _rounds(talks: dict[str, dict[str, np.ndarray]], none: float, best: float) -> xr.Dataset:
    spread = best - none if best > none else np.nan
    residual = np.stack([talk["residual"] for talk in talks.values()])
    share = (np.stack([talk["welfare"] for talk in talks.values()]) - none) / spread
    looks = LOOK * (1 + np.arange(share.shape[1]))
    return xr.Dataset(
        {
            "residual": (("way", "round"), residual, {"long_name": "out of balance", "units": "MW"}),
            "efficiency": (("way", "look"), share, {"long_name": "efficiency"}),
        },
        coords={
            "way": list(talks),
            "round": 1 + np.arange(residual.shape[1]),
            "look": ("look", looks, {"long_name": "round"}),
        },
    )


def _bars(welfare: PerLabel) -> xr.Dataset:
    values = ("way", np.asarray(list(welfare.values())), {"long_name": "welfare", "units": "€"})
    return xr.Dataset({"welfare": values}, coords={"way": list(welfare)})


def _welfare(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Bars, the best on top."""
    ax = axes_or_new(ax)
    ordered = data.sortby("welfare")
    ax.barh([str(way) for way in ordered.way.values], ordered.welfare.values, color=COLOURS[0])
    return label(ax, x=("welfare", "€"), y=("", ""), title="Welfare by way of clearing")


def _residual(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    ax = axes_or_new(ax)
    for colour, way in zip(COLOURS, data.way.values, strict=False):
        ax.semilogy(data["round"], data.residual.sel(way=way), color=colour, label=str(way))
    return label(ax, x=("round", ""), y=("out of balance", "MW"), title="What is quoted and what is drawn")


def memory(config: ClearingConfig) -> dict[str, float]:
    """Plans, anchors and the data, in double precision."""
    return {"agents, prices": 8.0 * 40 * config.agents * len(config.prices)}


STUDY = Study(
    name="clearing",
    source="mean-field-type games tutorial, sections 7 and 9 (no protocol is printed; this one is stated)",
    shows="a day of prosumers cleared exactly, negotiated without telling what is private, and settled to zero",
    config=ClearingConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "large": {"agents": 1000}},
    minutes={"quick": 2.0, "large": 8.0},
    headline=ClearingHeadline,
    example="diffgames run clearing --set agents=200 feeder=0.1 solar_share=0.8",
    published="a median latency of 47 ms (section 9), without a protocol",
    figures={
        "welfare": Drawing(
            "negotiation comes near the MILP, far above everybody alone; the relaxation is above the MILP by what "
            "batteries that burn energy at negative prices would earn",
            "welfare",
            _welfare,
        ),
        "day": Drawing(
            "prices part from the exchange's where the feeder is full; batteries and curtailed sun make up for it",
            "day",
            lines("exchange", "cleared", "negotiated", title="Prices"),
            lines("net", "net_milp", "solar", "batteries", title="Quantities"),
        ),
        "negotiation": Drawing(
            "the imbalance falls, with lost and late messages alike; the plan wanders before its efficiency settles",
            "negotiation",
            _residual,
            lines("efficiency", by="way", title="Efficiency of what would be carried out"),
        ),
    },
)
