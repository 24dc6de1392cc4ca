"""The market cleared by HiGHS on sparse matrices: the oracle of `energy.clearing`, and what its answers are held to.

Variables (charge, discharge, stored, elastic, solar, starts, imports, exports, u), rows

    stored energy   s_t − s_{t−1} − η_c c_t + d_t/η_d = 0 (the start at t = 0),
    one mode        c_t ≤ C u_t,  d_t ≤ D (1 − u_t)            (MILP: u binary),  c_t/C + d_t/D ≤ 1 (its relaxation),
    one start       Σ_w z_w = 1,        balance   Σ_i q_ti − I_t + X_t = 0.

The linear relaxation lets a battery charge and discharge in one hour, in shares that add up to one: at negative prices
that burns energy for money. The MILP is tried first with binaries for the starts alone: where the plan that keeps those
starts and the larger of both modes is worth as much, it is optimal, and no battery needs its binaries.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from diffgames.energy.market import Market
from diffgames.energy.plan import Plan
from diffgames.errors import RunFailed

MISSED = "HiGHS found no clearing"


@dataclass(frozen=True)
class SparseProgram:
    """min cost·x over lower ≤ x ≤ upper, equal x = right, below x ≤ 1; columns in the order of `Plan`."""

    cost: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    equal: Any  # scipy.sparse.csr_array
    right: Float[np.ndarray, " rows"]
    below: Any


@dataclass(frozen=True)
class Exact:
    """A plan, its welfare and a bound from above (equal where `solved`) in €; only the relaxation has prices."""

    plan: Plan
    welfare: float
    bound: float
    seconds: float
    prices: Float[np.ndarray, " hours"] | None = None
    solved: bool = True


def sparse_program(market: Market, *, meters: bool = False) -> SparseProgram:
    """The relaxation, the balance last. With `meters` every agent has a feeder, and a balance, of its own."""
    T, N, W = market.hours, market.agents, market.startable.shape[0]
    own, hour = sp.identity(T * N), sp.identity(T)
    total: Any = own if meters else sp.kron(hour, np.ones((1, N)))
    step = own - sp.kron(sp.eye_array(T, k=-1), sp.identity(N))
    in_, out = np.tile(market.charge_efficiency, T), np.tile(1.0 / np.asarray(market.discharge_efficiency), T)
    appliance = sp.diags_array(market.appliance) if meters else np.asarray(market.appliance)[None]
    flow: Any = sp.identity(total.shape[0])
    blank = [[None] * 3, [None] * 3]
    equal: Any = sp.block_array(
        [
            [-sp.diags_array(in_), sp.diags_array(out), step, *blank[0], None, None],
            [*blank[1], None, None, sp.kron(np.ones((1, W)), sp.identity(N)), None, None],
            [total, -total, None, total, -total, sp.kron(market.running, appliance), -flow, flow],
        ]
    )
    charge, discharge = np.asarray(market.charge), np.asarray(market.discharge)
    keep = np.flatnonzero(np.tile((charge > 0) & (discharge > 0), T))
    shares = [sp.diags_array(np.tile(1.0 / np.where(power > 0, power, 1.0), T)) for power in (charge, discharge)]
    rest = sp.csr_array((T * N, equal.shape[1] - 2 * T * N))
    first = np.zeros((T, N))
    first[0] = market.start
    buy, sell = market.price + market.fee, market.price - market.fee
    limit = np.full(T * N, np.inf) if meters else np.asarray(market.feeder)
    upper = [np.tile(size, T) for size in (charge, discharge, np.asarray(market.capacity))]
    upper += [np.ravel(part) for part in (market.elastic, market.solar, market.startable)] + [limit, limit]
    gain = [np.zeros(3 * T * N), np.ravel(market.elastic_value), np.zeros((T + W) * N)]
    gain += [np.repeat(-buy, flow.shape[0] // T), np.repeat(sell, flow.shape[0] // T)]
    load = np.asarray(market.load)
    return SparseProgram(
        cost=-np.concatenate(gain),
        lower=np.zeros(equal.shape[1]),
        upper=np.concatenate(upper),
        equal=sp.csr_array(equal),
        right=np.concatenate([first.ravel(), market.has_appliance, -(load.ravel() if meters else load.sum(axis=1))]),
        below=sp.csr_array(sp.hstack([*shares, rest]))[keep],
    )


def as_plan(market: Market, x: Float[np.ndarray, " n"]) -> Plan:
    """Columns as a plan."""
    hourly, starts = market.load.size, market.startable.size
    parts = np.split(x, np.cumsum([hourly] * 5 + [starts, (x.size - 5 * hourly - starts) // 2]))
    return Plan._make([*(part.reshape(-1, market.agents) for part in parts[:6]), *parts[6:]])


def linear_optimum(market: Market, *, meters: bool = False) -> Exact:
    """The relaxation; `RunFailed` where nothing is feasible."""
    program, started = sparse_program(market, meters=meters), time.perf_counter()
    found = linprog(
        program.cost,
        program.below,
        np.ones(program.below.shape[0]),
        program.equal,
        program.right,
        np.stack([program.lower, program.upper], axis=1),
        method="highs",
    )
    if found.x is None:
        raise RunFailed(f"{MISSED}: {found.message}", "raise feeder, or lower the load")
    prices = -found.eqlin.marginals[market.load.size + market.agents :]
    return Exact(as_plan(market, found.x), -found.fun, -found.fun, time.perf_counter() - started, prices)


def integer_optimum(market: Market, *, nodes: int = 1000, gap: float = 1e-6) -> Exact:
    """The MILP to a relative `gap`; after so many `nodes` the best plan found, the bound, and `solved` false.

    The budget counts nodes of HiGHS's tree, not seconds: the answer does not depend on the machine's speed.
    """
    program, started = sparse_program(market), time.perf_counter()

    def solve(limits: SparseProgram, modes: bool, starts: bool) -> Any:
        return _milp(market, limits, modes, starts, {"node_limit": nodes, "mip_rel_gap": gap})

    def finish(found: Any, bound: float) -> Exact:
        closed = bound + found.fun <= 1.01 * gap * (1.0 + abs(bound))
        plan = as_plan(market, found.x[: program.cost.size])
        return Exact(plan, -found.fun, bound, time.perf_counter() - started, solved=bool(closed))

    relaxed = solve(program, False, True)
    if relaxed.x is None:
        raise RunFailed(f"{MISSED}: {relaxed.message}", "raise feeder, or lower the load; or give HiGHS more nodes")
    bound, kept = -relaxed.mip_dual_bound, solve(_kept(market, program, relaxed.x), False, False)
    if kept.x is not None and bound + kept.fun <= gap * (1.0 + abs(bound)):
        return finish(kept, bound)
    whole = solve(program, True, True)
    if whole.mip_dual_bound is not None:
        bound = min(bound, -whole.mip_dual_bound)
    best = min((found for found in (kept, whole) if found.x is not None), key=lambda found: found.fun, default=None)
    if best is None:
        raise RunFailed(f"{MISSED} with binaries in {nodes} nodes", "give HiGHS more nodes, or lower the agents")
    return finish(best, bound)


def _kept(market: Market, program: SparseProgram, x: Float[np.ndarray, " n"]) -> SparseProgram:
    """The program with the starts of x and the larger of both modes in x."""
    plan = as_plan(market, x)
    charges = (plan.charge * market.discharge >= plan.discharge * market.charge).ravel()
    lower, upper = program.lower.copy(), program.upper.copy()
    cells, starts = charges.size, slice(5 * charges.size, 5 * charges.size + plan.starts.size)
    upper[:cells] *= charges
    upper[cells : 2 * cells] *= ~charges
    lower[starts] = upper[starts] = np.round(plan.starts.ravel())
    return replace(program, lower=lower, upper=upper)


def _milp(market: Market, program: SparseProgram, modes: bool, starts: bool, options: dict[str, Any]) -> Any:
    """HiGHS on the program, with binaries for the modes (further columns u) and for the starts where asked for."""
    size, cells = program.cost.size, market.load.size
    own = np.flatnonzero(program.upper[:cells] * program.upper[cells : 2 * cells]) if modes else np.zeros(0, int)
    k = own.size
    pick = sp.csr_array((np.ones(k), (np.arange(k), own)), (k, cells))
    none, rest = sp.csr_array((k, cells)), sp.csr_array((k, size - 2 * cells))
    charge, discharge = program.upper[own], program.upper[own + cells]

    def rows(blocks: list[Any], low: Any, high: Any) -> LinearConstraint:
        return LinearConstraint(sp.csr_array(sp.hstack(blocks)), low, high)

    constraints = [
        rows([program.equal, sp.csr_array((program.equal.shape[0], k))], program.right, program.right),
        rows([program.below, sp.csr_array((program.below.shape[0], k))], -np.inf, 1.0),
    ]
    if k:
        constraints += [
            rows([pick, none, rest, -sp.diags_array(charge)], -np.inf, 0.0),
            rows([none, pick, rest, sp.diags_array(discharge)], -np.inf, discharge),
        ]
    integral = np.concatenate([np.zeros(size), np.ones(k)])
    integral[5 * cells : 5 * cells + market.startable.size] = float(starts)
    lower: Any = np.concatenate([program.lower, np.zeros(k)])
    upper: Any = np.concatenate([program.upper, np.ones(k)])
    cost = np.concatenate([program.cost, np.zeros(k)])
    return milp(cost, integrality=integral, bounds=Bounds(lower, upper), constraints=constraints, options=options)
