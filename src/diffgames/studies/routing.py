"""Payments over a network of channels: the k cheapest paths, and how many payments arrive where balances are hidden.

The paths are the cheapest by (7.1) (`energy.routing`). Payments of one node to others, each under balances of its own
drawing, are sent in one try, along single paths until none is left, and in parts (`energy.payments`). Beside them stand
the share that a maximum flow delivers, which nobody beats, and the least proportional fees of a flow
(`energy.payment_flows`). `destinations=first` pays the nodes of the lowest numbers, as Core Lightning's own test does;
in its file these are well connected. Intervals are Wilson's, at 95%, over balances; for destinations named beforehand
they hold more, since their shares differ.
"""

import itertools
import time
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from scipy.sparse import csgraph, csr_matrix
from scipy.stats import binomtest

from diffgames.energy.liquidity import BalanceLaw, draw_balances
from diffgames.energy.payment_flows import flow_delivers, least_fee
from diffgames.energy.payment_graph import PaymentGraph, read_payment_graph, scale_free_graph
from diffgames.energy.payments import Payer, pay
from diffgames.energy.routing import EdgeWeights, RankedGraph, rank
from diffgames.energy.shortest_paths import Path
from diffgames.errors import InvalidInput
from diffgames.studies.context import RunContext
from diffgames.studies.routing_figures import FIGURES
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

PAYERS = ("one try", "single path", "in parts")
SHARES = (50, 90, 95, 99)


@dataclass(frozen=True, kw_only=True)
class RoutingConfig:
    """The graph, the query, and the payments."""

    graph: Annotated[str | None, Parameter("CSV of a channel graph; null: a synthetic scale-free one")] = None
    nodes: Annotated[int, Parameter("of the synthetic graph", "nodes", minimum=3)] = 1000
    links: Annotated[int, Parameter("that a new node of it opens", "channels", minimum=1)] = 4
    source: Annotated[int, Parameter("number of the node that pays", minimum=0)] = 0
    target: Annotated[int, Parameter("number of the node that the paths lead to", minimum=0)] = 500
    amount: Annotated[int, Parameter("amount that the paths carry", "sat", minimum=1, maximum=100_000_000)] = 100_000
    k: Annotated[int, Parameter("cheapest paths asked for", "paths", minimum=1, maximum=1000)] = 5
    alpha: Annotated[float, Parameter("α, weight of the fee as a share of the amount", minimum=0.0)] = 1000.0
    beta: Annotated[float, Parameter("β, weight of 1 − capacity/largest capacity", minimum=0.0)] = 1.0
    gamma: Annotated[float, Parameter("γ, weight of the CLTV delay", "1/block", minimum=0.0)] = 0.01
    theta: Annotated[float, Parameter("θ, capacities below θ × amount are pruned", minimum=0.0)] = 1.0
    caution: Annotated[float, Parameter("δ, weight of −ln(chance) in payments", "1/nat", minimum=0.0)] = 1.0
    payment: Annotated[int, Parameter("amount of the payments of `success`", "sat", minimum=1, maximum=100_000_000)] = (
        1_000_000
    )
    further: Annotated[
        tuple[int, ...], Parameter("other amounts paid", "sat", shape="further", minimum=1, maximum=100_000_000)
    ] = (100_000, 10_000_000)
    payments: Annotated[int, Parameter("tried at each amount", "payments", minimum=1)] = 500
    destinations: Annotated[
        Literal["first", "random"],
        Parameter("the nodes of the lowest numbers, or drawn from the largest component at `amount`"),
    ] = "first"
    balances: Annotated[BalanceLaw, Parameter("law of the drawn balances")] = "uniform"
    tries: Annotated[int, Parameter("of a payment at most", "tries", minimum=1)] = 60
    fees_compared: Annotated[int, Parameter("so many are held against the least fees", "payments", minimum=0)] = 10
    queries: Annotated[int, Parameter("drawn and timed", "queries", minimum=1)] = 50


@dataclass(frozen=True, kw_only=True)
class RoutingHeadline:
    """Paths, time, success, fees."""

    costs: Annotated[tuple[float, ...], Headline("Σ w of the cheapest paths by (7.1)", shape="paths")]
    milliseconds: Annotated[float, Headline("median time of a query on the ranked graph", "ms", timing=True)]
    milliseconds_95: Annotated[float, Headline("95% of the queries take less", "ms", timing=True)]
    milliseconds_scipy: Annotated[float, Headline("median of scipy's yen, the same", "ms", timing=True)]
    directions: Annotated[
        dict[str, int],
        Headline(
            "usable after pruning, the cheapest between each pair of nodes, within the largest component",
            shape="{which: number}",
        ),
    ]
    component: Annotated[int, Headline("in the largest strong component of the usable graph", "nodes")]
    success: Annotated[float, Headline("share of the payments made in parts", published="Core Lightning")]
    success_interval: Annotated[tuple[float, float], Headline("its 95% interval (Wilson)", shape="2")]
    success_single: Annotated[float, Headline("share made along one path", published="Core Lightning")]
    success_one_try: Annotated[float, Headline("share made at the first try")]
    feasible: Annotated[float, Headline("share that a flow through the drawn balances delivers: nobody beats it")]
    amounts: Annotated[list[int], Headline("all amounts paid, rising", "sat", shape="amounts")]
    success_by_amount: Annotated[
        dict[str, list[float]], Headline("shares of payments made, and that a flow delivers", shape="{payer: amounts}")
    ]
    tries: Annotated[float, Headline("mean, of payments in parts", "tries")]
    parts: Annotated[float | None, Headline("mean, of those made", "parts", optional=True)]
    fee_ppm: Annotated[float | None, Headline("mean fee of those made in parts, of the amount", "ppm", optional=True)]
    fee_compared_ppm: Annotated[float | None, Headline("fee_ppm of the first so many made", "ppm", optional=True)]
    fee_least_ppm: Annotated[
        float | None, Headline("least of a flow for these that knows the balances, no base fees", "ppm", optional=True)
    ]
    latency: Annotated[
        dict[str, float] | None,
        Headline("of payments in parts, by assumption", "ms", shape="{percentile: number}", optional=True),
    ]


def weights_of(config: RoutingConfig) -> EdgeWeights:
    """α, β, γ, θ of (7.1)."""
    return EdgeWeights(config.alpha, config.beta, config.gamma, config.theta)


def graph_of_config(config: RoutingConfig, seed: int) -> PaymentGraph:
    """The file's graph, or the synthetic one."""
    if config.graph is not None:
        return read_payment_graph(config.graph)
    if config.links >= config.nodes:
        raise InvalidInput("links", config.links, f"fewer than nodes = {config.nodes}")
    return scale_free_graph(config.nodes, config.links, seed)


def run(config: RoutingConfig, context: RunContext) -> StudyResult:
    """Rank, route, pay."""
    graph = graph_of_config(config, context.seed)
    source, target = graph.position("source", config.source), graph.position("target", config.target)
    if source == target:
        raise InvalidInput("target", config.target, "another node than the source")
    ranked = rank(graph, config.amount, weights_of(config))
    paths = ranked.paths(source, target, config.k)
    if not paths:
        reach = f"a node that {config.amount} sat reach from {config.source}: no path of usable directions leads there"
        raise InvalidInput("target", config.target, reach)
    component = ranked.largest_component()
    payees = _payees(config, component, source, context.seed)
    amounts = sorted({config.payment, *config.further})
    trials = [
        context.stage(f"payments.{one}", lambda one=one: _pay_all(config, graph, source, payees, one, context))
        for one in amounts
    ]
    payments = _payments_dataset(amounts, trials, config.payment)
    places = itertools.zip_longest(*(path.nodes for path in paths), fillvalue=-1)  # −1 beyond the end of a path
    profile = {"nodes": np.asarray(list(places)).T, "costs": np.asarray([path.cost for path in paths])}
    comparable = config.graph is not None and (config.payment, config.destinations) == (1_000_000, "first")
    return StudyResult(
        _headline(config, ranked, paths, component, payments, _times(config, ranked, component, context.seed)),
        certificate=_certificate(config, graph, profile),
        published={"success": 0.82, "success_single": 0.77} if comparable else {},
        warnings=_notes(config, paths, len(payees)),
        arrays={"paths": _paths_dataset(config, graph, profile), "payments": payments},
        profile=profile,
    )


def verify(config: RoutingConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate once more, from the stored paths."""
    return _certificate(config, graph_of_config(config, context.seed), profile)


def _payees(config: RoutingConfig, component: np.ndarray, source: int, seed: int) -> list[int]:
    """Positions of the nodes that are paid."""
    nodes = np.arange(len(component)) if config.destinations == "first" else np.flatnonzero(component)
    others = nodes[nodes != source]
    if config.destinations == "random":
        others = np.random.default_rng([seed, 0]).permutation(others)
    return others[: config.payments].tolist()


def _pay_all(
    config: RoutingConfig, graph: PaymentGraph, source: int, payees: list[int], amount: int, context: RunContext
) -> dict[str, np.ndarray]:
    """Every payment of one amount by every payer, [payers, payments], and what a flow does, [payments]."""
    random = np.random.default_rng([context.seed, amount])
    cautious = Payer(weights=weights_of(config), caution=config.caution, tries=config.tries)
    single = replace(cautious, in_parts=False)
    payers = (replace(single, tries=1), single, cautious)
    made, feasible, least, compared = [], [], [], 0
    for place, payee in enumerate(payees):
        context.progress.update(f"payments of {amount} sat", place / len(payees))
        balance = draw_balances(graph, random, config.balances)
        found = [pay(graph, balance, source, payee, 1000 * amount, payer, random) for payer in payers]
        made.append([(one.made, one.tries, one.fee, len(one.parts), one.milliseconds) for one in found])
        feasible.append(flow_delivers(graph, balance, source, payee, amount))
        wanted = amount == config.payment and found[-1].made and compared < config.fees_compared
        compared += wanted
        fee = least_fee(graph, balance, source, payee, amount) if wanted else None
        least.append(np.nan if fee is None else fee)
    names = ("made", "tries", "fee", "parts", "milliseconds")
    arrays = dict(zip(names, np.asarray(made, float).transpose(2, 1, 0), strict=True))
    return arrays | {"flow": np.asarray(feasible, float), "least_fee": np.asarray(least)}


def _times(config: RoutingConfig, ranked: RankedGraph, component: np.ndarray, seed: int) -> np.ndarray:
    """Milliseconds of queries between drawn nodes of the component: ours, then scipy's yen, [2, queries]."""
    random, nodes = np.random.default_rng([seed, 1]), np.flatnonzero(component)
    matrix, times = csr_matrix(ranked.forward), []
    for _ in range(config.queries):
        source, target = (int(one) for one in random.choice(nodes, 2, replace=False))
        clock = [time.perf_counter()]
        ranked.paths(source, target, config.k)
        clock.append(time.perf_counter())
        csgraph.yen(matrix, source, target, config.k)
        times.append(np.diff([*clock, time.perf_counter()]))
    return 1e3 * np.transpose(times)


def _headline(
    config: RoutingConfig,
    ranked: RankedGraph,
    paths: list[Path],
    component: np.ndarray,
    payments: xr.Dataset,
    times: np.ndarray,
) -> RoutingHeadline:
    at = payments.sel(amount=config.payment)
    parts = at.sel(payer="in parts")
    made = parts.made.values > 0
    compared = np.isfinite(parts.least_fee.values)
    per_million = 1e6 / (1000 * config.payment)

    def mean(values: xr.DataArray, chosen: np.ndarray) -> float | None:
        return float(values.values[chosen].mean()) if chosen.any() else None

    fees = parts.fee * per_million
    latency = {str(q): float(np.percentile(parts.milliseconds.values[made], q)) for q in SHARES} if made.any() else None
    return RoutingHeadline(
        costs=tuple(path.cost for path in paths),
        milliseconds=float(np.median(times[0])),
        milliseconds_95=float(np.percentile(times[0], 95)),
        milliseconds_scipy=float(np.median(times[1])),
        directions={
            "usable": int(weights_of(config).usable(ranked.graph, config.amount).sum()),
            "cheapest": len(ranked.kept),
            "component": ranked.within(component),
        },
        component=int(component.sum()),
        success=float(parts.success),
        success_interval=tuple(parts.interval.values.tolist()),
        success_single=float(at.success.sel(payer="single path")),
        success_one_try=float(at.success.sel(payer="one try")),
        feasible=float(at.feasible),
        amounts=payments.amount.values.tolist(),
        success_by_amount={name: payments.success.sel(payer=name).values.tolist() for name in PAYERS}
        | {"a flow": payments.feasible.values.tolist()},
        tries=float(parts.tries.mean()),
        parts=mean(parts.parts, made),
        fee_ppm=mean(fees, made),
        fee_compared_ppm=mean(fees, compared),
        fee_least_ppm=mean(parts.least_fee * per_million, compared),
        latency=latency,
    )


def _payments_dataset(amounts: list[int], trials: list[dict[str, np.ndarray]], payment: int) -> xr.Dataset:
    stacked = {name: np.stack([one[name] for one in trials]) for name in trials[0]}
    stacked["milliseconds"] = np.where(stacked["made"] > 0, stacked["milliseconds"], np.nan)
    axes, units = ("amount", "payer", "trial"), {"fee": "msat", "least_fee": "msat", "milliseconds": "ms"}
    series: dict[str, Any] = {
        name: (axes if values.ndim == 3 else ("amount", "trial"), values, {"units": units.get(name, "")})
        for name, values in stacked.items()
    }
    made, count = stacked["made"].sum(-1), stacked["made"].shape[-1]
    ends = [[binomtest(int(n), count).proportion_ci(method="wilson") for n in row] for row in made]
    series["success"] = (axes[:2], made / count, {"units": ""})
    series["interval"] = ((*axes[:2], "end"), np.asarray([[tuple(one) for one in row] for row in ends]), {"units": ""})
    series["feasible"] = ("amount", stacked["flow"].mean(-1), {"units": ""})
    coordinates = {"amount": ("amount", amounts, {"units": "sat"}), "payer": list(PAYERS), "end": ["low", "high"]}
    return xr.Dataset(series, coords=coordinates, attrs={"payment": payment})


def _paths_dataset(config: RoutingConfig, graph: PaymentGraph, profile: dict[str, np.ndarray]) -> xr.Dataset:
    nodes = profile["nodes"]
    numbers = np.where(nodes >= 0, graph.nodes[nodes], -1)
    series = {"node": (("path", "place"), numbers), "cost": ("path", profile["costs"])}
    return xr.Dataset(series, attrs={"amount": config.amount})


def _certificate(config: RoutingConfig, graph: PaymentGraph, profile: dict[str, Any]) -> Certificate:
    """Paths and costs held against a plain reading of the graph, and against scipy's yen on it."""
    plain = _plain_weights(config, graph)
    paths = [[int(node) for node in row if node >= 0] for row in np.asarray(profile["nodes"])]
    steps = [list(itertools.pairwise(path)) for path in paths]
    costs = np.asarray(profile["costs"])
    again = np.asarray([sum(plain.get(step, np.nan) for step in path) for path in steps])
    ends = np.asarray(list(plain), np.int32).T
    matrix = csr_matrix((list(plain.values()), (ends[0], ends[1])), shape=(len(graph.nodes),) * 2)
    source, target = (graph.position(key, getattr(config, key)) for key in ("source", "target"))
    yen = csgraph.yen(matrix, source, target, config.k)
    shared = min(len(yen), len(costs))
    missing = sum(step not in plain for path in steps for step in path)
    checks = {
        "paths": len(paths),
        "paths_of_yen": len(yen),
        "alike": len(paths) - len({tuple(path) for path in paths}),
        "not_between_the_ends": sum((path[0], path[-1]) != (source, target) for path in paths),
        "not_simple": sum(len(set(path)) < len(path) for path in paths),
        "steps_not_usable": missing,
        "cost_off": None if missing else float(np.max(np.abs(again - costs))),
        "yen_off": float(np.max(np.abs(yen[:shared] - costs[:shared]))) if shared else None,
    }
    return Certificate(
        (),
        how="weights of (7.1) once more in plain Python, paths walked on them, scipy's yen for the cheapest",
        unseen="nobody plays here: one payer chooses paths, and other nodes forward by their posted policies",
        checks=checks,
    )


def _plain_weights(config: RoutingConfig, graph: PaymentGraph) -> dict[tuple[int, int], float]:
    """(source, target) → w of the cheapest usable direction, one by one."""
    found: dict[tuple[int, int], float] = {}
    largest, amount = int(graph.capacity.max()), config.amount
    names = ("source", "target", "capacity", "base_fee", "rate", "delay", "smallest", "largest", "disabled")
    for s, t, capacity, base, rate, delay, low, high, disabled in zip(
        *(getattr(graph, name).tolist() for name in names), strict=True
    ):
        if disabled or capacity < config.theta * amount or not low <= 1000 * amount <= high:
            continue
        fee = base / 1000 + amount * rate / 1e6
        weight = config.alpha * fee / amount + config.beta * (1 - capacity / largest) + config.gamma * delay
        found[s, t] = min(weight, found.get((s, t), np.inf))
    return found


def _notes(config: RoutingConfig, paths: list[Path], payees: int) -> list[str]:
    said = []
    if len(paths) < config.k:
        said.append(f"there are {len(paths)} simple paths, fewer than k = {config.k}")
    if payees < config.payments:
        said.append(f"there are {payees} nodes to pay, fewer than payments = {config.payments}")
    return said


def memory(config: RoutingConfig) -> dict[str, float]:
    """The columns of the synthetic graph, and what is kept of the payments."""
    synthetic = 0.0 if config.graph is not None else 8.0 * 10 * 2 * config.nodes * config.links
    return {"nodes, links": synthetic, "payments, further": 8.0 * 17 * config.payments * (1 + len(config.further))}


STUDY = Study(
    name="routing",
    source="mean-field-type games tutorial, Section 7; Yen 1971; Pickhardt & Richter 2021",
    shows="payments in parts find nearly every flow that hidden balances allow, along the cheapest paths by (7.1)",
    config=RoutingConfig,
    run=run,
    verify=verify,
    memory=memory,
    presets={
        "quick": {},
        "paper": {"nodes": 10_000, "further": [10_000, 100_000, 3_000_000, 10_000_000]},
    },
    minutes={"quick": 0.8, "paper": 8.0},
    headline=RoutingHeadline,
    example="diffgames run routing --set graph=channels.csv.gz source=0 target=2134 amount=100000 k=5",
    published="the tutorial prints no results; Core Lightning's success of 82% in parts and 77% along one path",
    figures=FIGURES,
)
