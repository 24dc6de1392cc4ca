"""What minding the tail changes: the newsvendor's order, and the output of producers whose price is uncertain.

A decision maker of weight γ minimizes (1 − γ) E L + γ CVaR_α(L), α the share of the worst outcomes (`risk`). Two cases
whose exact solution is known, each solved again on samples through the differentiable estimator:

- the newsvendor of `games.newsvendor`;
- producers i with outputs q_i ≥ 0 and one weight γ_i each, who sell at the price a − Σ_j q_j + σW, W ~ N(0, 1), at unit
  cost c. Their costs L_i = −q_i (a − c − Σ_j q_j + σW) are normal, so with κ = φ(z)/α the CVaR of N(0, 1)

      J_i = −q_i (a − c − Σ_j q_j) + γ_i κ σ q_i,    q_i = μ_i − Σ_j μ_j/(N + 1),   μ_i = a − c − γ_i κ σ:

  risk is a unit cost. Linear-quadratic and Gaussian; a Nash equilibrium of risk-averse types as long as all q_i > 0.

The sampled decisions are roots of the gradients at common samples, their intervals Student's t over replications. The
certificate holds the sampled decisions to the exact objectives.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from scipy import stats

from diffgames.errors import InvalidInput
from diffgames.games.newsvendor import Newsvendor
from diffgames.risk import cvar_exponential, cvar_normal, cvar_student_t, estimate, mean_cvar
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate, exact_gap

BISECTIONS = 32
PerWeight = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class CvarConfig:
    """Tail, weights, the two cases and the samples."""

    tail_mass: Annotated[
        float, Parameter("α, the share of the worst outcomes", minimum=0.0001, maximum=1.0, plausible=(0.005, 1))
    ] = 0.1
    weights: Annotated[tuple[float, ...], Parameter("γ of the CVaR", shape="weights", minimum=0.0, maximum=1.0)] = (
        0.0,
        0.5,
        1.0,
    )
    short: Annotated[float, Parameter("s, per unit of demand not met", "cost/unit", minimum=1e-6)] = 3.0
    over: Annotated[float, Parameter("o, per unit left over", "cost/unit", minimum=1e-6)] = 1.0
    demand_mean: Annotated[float, Parameter("mean of the demand", "units")] = 0.0
    demand_deviation: Annotated[float, Parameter("its deviation", "units", minimum=1e-9)] = 1.0
    margin: Annotated[float, Parameter("a − c of the producers", "price", minimum=0.0)] = 6.0
    price_deviation: Annotated[float, Parameter("σ of the price", "price", minimum=0.0)] = 0.5
    samples: Annotated[int, Parameter("costs per replication", "samples", minimum=2)] = 20_000
    replications: Annotated[int, Parameter("independent sets of samples", "replications", minimum=2)] = 16


PerGamma = partial(Headline, shape="{weight: number}")


@dataclass(frozen=True, kw_only=True)
class CvarHeadline:
    """Exact decisions, what samples say of them, and how often intervals hold the truth."""

    quantity: Annotated[PerWeight, PerGamma("the newsvendor's order", "units")]
    quantity_sampled: Annotated[PerWeight, PerGamma("the order found on samples, their mean", "units")]
    quantity_half_width: Annotated[PerWeight, PerGamma("of its 95% interval", "units")]
    cost: Annotated[PerWeight, PerGamma("(1 − γ) mean + γ CVaR at that order", "cost")]
    cost_sampled: Annotated[PerWeight, PerGamma("the same on samples, all replications", "cost")]
    cost_half_width: Annotated[PerWeight, PerGamma("of its 95% interval", "cost")]
    mean: Annotated[PerWeight, PerGamma("mean cost of that order", "cost")]
    cvar: Annotated[PerWeight, PerGamma("CVaR of its costs", "cost")]
    output: Annotated[PerWeight, PerGamma("equilibrium output of each producer", "units")]
    output_sampled: Annotated[PerWeight, PerGamma("the equilibrium found on samples", "units")]
    output_half_width: Annotated[PerWeight, PerGamma("of its 95% interval", "units")]
    law_cvar: Annotated[PerWeight, Headline("CVaR of standard laws in closed form", shape="{law: number}")]
    law_cvar_sampled: Annotated[PerWeight, Headline("mean estimate, same laws", shape="{law: number}")]
    coverage: Annotated[
        PerWeight, Headline("share of replications whose 95% interval holds the truth", shape="{law: number}")
    ]


def newsvendor_of(config: CvarConfig) -> Newsvendor:
    """The newsvendor's unit costs and demand."""
    return Newsvendor(config.short, config.over, config.demand_mean, config.demand_deviation)


def outputs(config: CvarConfig) -> np.ndarray:
    """Equilibrium outputs of the producers; `InvalidInput` where one of them would not produce."""
    worth = config.margin - np.asarray(config.weights) * cvar_normal(config.tail_mass) * config.price_deviation
    found = worth - worth.sum() / (len(worth) + 1)
    if not (found > 0).all():
        raise InvalidInput("margin", config.margin, "so large that every producer sells: raise it, or lower the risk")
    return found


def outlay(config: CvarConfig, played: np.ndarray, i: int, own: float) -> float:
    """J_i where producer i plays `own` and the others `played`."""
    premium = config.weights[i] * cvar_normal(config.tail_mass) * config.price_deviation
    return float(own * (played.sum() - played[i] + own - config.margin + premium))


def run(config: CvarConfig, context: RunContext) -> StudyResult:
    """Exact decisions, the same on samples, and standard laws."""
    if not config.weights or len(set(config.weights)) < len(config.weights):
        raise InvalidInput("weights", config.weights, "at least one, no two alike")
    if config.tail_mass * config.samples < 2:
        raise InvalidInput("samples", config.samples, f"at least {int(np.ceil(2 / config.tail_mass))}: two in the tail")
    exact_outputs = outputs(config)
    vendor, names = newsvendor_of(config), [f"{weight:g}" for weight in config.weights]
    orders = [vendor.solution(config.tail_mass, weight) for weight in config.weights]
    with jax.enable_x64(True):
        keys = jax.random.split(context.key, 3)
        draws = jax.random.normal(keys[0], (config.replications, config.samples))
        demand = config.demand_mean + config.demand_deviation * draws
        context.progress.update("orders on samples", 0.0)
        sampled = np.asarray([_order(config, vendor, demand, weight) for weight in config.weights])
        context.progress.update("equilibria on samples", 0.4)
        shocks = jax.random.normal(keys[1], (config.replications, config.samples))
        played = np.asarray(jax.lax.map(lambda row: _equilibrium(config, row), shocks)).T
        context.progress.update("standard laws", 0.8)
        pairs = list(zip(orders, config.weights, strict=True))
        found = [estimate(vendor.cost(q, demand.reshape(-1)), config.tail_mass, weight) for q, weight in pairs]
        laws = _laws(config, keys[2])

    def per_weight(values: Any) -> PerWeight:
        return dict(zip(names, map(float, values), strict=True))

    half = stats.t.ppf(0.975, config.replications - 1) / np.sqrt(config.replications)
    profile = {"quantity": sampled.mean(axis=1), "output": played.mean(axis=1)}
    low, high = vendor.limits(config.tail_mass)
    return StudyResult(
        CvarHeadline(
            quantity=per_weight(orders),
            quantity_sampled=per_weight(sampled.mean(axis=1)),
            quantity_half_width=per_weight(half * sampled.std(axis=1, ddof=1)),
            cost=per_weight(vendor.objective(q, config.tail_mass, weight) for q, weight in pairs),
            cost_sampled=per_weight(one.value for one in found),
            cost_half_width=per_weight((one.upper - one.lower) / 2 for one in found),
            mean=per_weight(vendor.objective(q, config.tail_mass, 0.0) for q in orders),
            cvar=per_weight(vendor.objective(q, config.tail_mass, 1.0) for q in orders),
            output=per_weight(exact_outputs),
            output_sampled=per_weight(played.mean(axis=1)),
            output_half_width=per_weight(half * played.std(axis=1, ddof=1)),
            law_cvar={name: law["closed"] for name, law in laws.items()},
            law_cvar_sampled={name: law["sampled"] for name, law in laws.items()},
            coverage={name: law["coverage"] for name, law in laws.items()},
        ),
        published={"quantity": {name: value for name, value in (("0", low), ("1", high)) if name in names}},
        certificate=verify(config, profile, context),
        arrays={"orders": _curves(config, vendor)},
        profile=profile,
    )


def _order(config: CvarConfig, vendor: Newsvendor, demand: Array, weight: float) -> np.ndarray:
    """Minimizers of the sampled objective, one per replication, by bisection on its gradient (it is convex)."""

    def objective(q: Array, row: Array) -> Array:
        return mean_cvar(vendor.cost(q, row), config.tail_mass, weight)

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        rising = jax.vmap(jax.grad(objective))(middle, demand) > 0
        return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    ends = jnp.min(demand, axis=1), jnp.max(demand, axis=1)
    return np.asarray(jax.jit(lambda ends: sum(jax.lax.fori_loop(0, BISECTIONS, halve, ends)) / 2)(ends))


def _equilibrium(config: CvarConfig, shocks: Array) -> Array:
    """Outputs at which every producer's sampled gradient vanishes, by Newton's method (the gradients are affine)."""
    weights = jnp.asarray(config.weights)

    def objective(own: Array, others: Array, weight: Array) -> Array:
        price = config.margin - others - own + config.price_deviation * shocks
        return mean_cvar(-own * price, config.tail_mass, weight)

    def slopes(q: Array) -> Array:
        return jax.vmap(jax.grad(objective))(q, jnp.sum(q) - q, weights)

    def newton(_: Any, q: Array) -> Array:
        return q - jnp.linalg.solve(jax.jacfwd(slopes)(q), slopes(q))

    return jax.lax.fori_loop(0, 2, newton, jnp.asarray(outputs(config)) / 2)


def _laws(config: CvarConfig, key: Array) -> dict[str, dict[str, float]]:
    """Closed form, mean estimate and measured coverage for standard laws."""
    shape, alpha = (config.replications, config.samples), config.tail_mass
    drawn = {
        "normal": (cvar_normal(alpha), jax.random.normal(key, shape)),
        "student t4": (cvar_student_t(alpha, 4.0), jax.random.t(key, 4.0, shape)),
        "exponential": (cvar_exponential(alpha), jax.random.exponential(key, shape)),
    }
    found = {}
    for name, (closed, costs) in drawn.items():
        seen = estimate(costs, alpha)
        held = jnp.mean((seen.lower <= closed) & (closed <= seen.upper))
        found[name] = {"closed": closed, "sampled": float(jnp.mean(seen.value)), "coverage": float(held)}
    return found


def verify(config: CvarConfig, profile: Any, context: RunContext) -> Certificate:
    """What each decision maker loses against its exact best decision (the producers: against their best reply)."""
    vendor, entries = newsvendor_of(config), []
    played = np.asarray(profile["output"], float)
    premium = cvar_normal(config.tail_mass) * config.price_deviation
    for i, (weight, order) in enumerate(zip(config.weights, np.asarray(profile["quantity"], float), strict=True)):
        best = vendor.objective(vendor.solution(config.tail_mass, weight), config.tail_mass, weight)
        value = vendor.objective(order, config.tail_mass, weight)
        how = "exact order: root of the first-order conditions"
        entries.append(exact_gap(f"newsvendor {weight:g}", -value, value - best, 1e-9 * abs(value), selected=how))
        reply = max((config.margin - weight * premium - played.sum() + played[i]) / 2, 0.0)
        value, best = (outlay(config, played, i, own) for own in (played[i], reply))
        how = "exact best reply: the costs are normal"
        entries.append(exact_gap(f"producer {weight:g}", -value, value - best, 1e-9 * abs(value), selected=how))
    return Certificate(tuple(entries), how="exact objectives of the decisions found on samples")


def _curves(config: CvarConfig, vendor: Newsvendor) -> xr.Dataset:
    orders = [vendor.solution(config.tail_mass, weight) for weight in config.weights]
    spread = config.demand_deviation + max(orders) - min(orders)
    grid = np.linspace(min(orders) - spread, max(orders) + spread, 81)
    curves = [[vendor.objective(q, config.tail_mass, weight) for q in grid] for weight in config.weights]
    return xr.Dataset(
        {"cost": (("weight", "quantity"), curves, {"long_name": "(1 − γ) mean + γ CVaR", "units": "cost"})},
        coords={
            "weight": ("weight", list(config.weights)),
            "quantity": ("quantity", grid, {"long_name": "order", "units": "units"}),
        },
    )


def memory(config: CvarConfig) -> dict[str, float]:
    """The draws of all replications and what their costs and their order take."""
    return {"samples, replications": 8.0 * 6 * config.samples * config.replications}


STUDY = Study(
    name="cvar",
    source="mean-field-type games tutorial, section 5; Rockafellar & Uryasev 2000; Gotoh & Takano 2007",
    shows="who minds the tail orders more and sells less: exact decisions, and the same from samples within intervals",
    config=CvarConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"samples": 100_000, "replications": 32}},
    minutes={"quick": 0.3, "paper": 2.0},
    headline=CvarHeadline,
    example="diffgames run cvar --set tail_mass=0.05 --set weights=[0,0.25,1]",
    published="no numbers; beside the orders at weights 0 and 1 stand the closed forms of Gotoh and Takano",
    figures={
        "orders": Drawing(
            "the heavier the tail weighs, the further right the least cost lies, and the higher it is",
            "orders",
            lines("cost", by="weight"),
        )
    },
)
