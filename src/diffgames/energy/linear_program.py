"""The relaxed market as a linear program that knows its structure: min cost(x) over x ∈ C with rows(x) = 0.

x is a plan in *shares* of capacity, so that C does not depend on the data: (charge, discharge) in the triangle
{c, d ≥ 0, c + d ≤ 1}, all else in [0, 1]. The rows are one per battery and hour, one per appliance, one per hour:

    stored   s_t − s_{t−1} − a c_t + b d_t = 0,  a = η_c C/S, b = D/(η_d S)      multiplier `stored`,
    start    Σ_w z_w = 1                                                       multiplier `start`,
    balance  Σ_i q_ti − I_t + X_t = 0                                          multiplier `price`, €/MWh.

Agents meet in the balance alone. So for a metric W on plans, diagonal but for the (charge, discharge) pairs, the
matrix A W Aᵀ of the normal equations is one tridiagonal block per battery, one number per appliance, and a border of T
rows; `Normal` solves with it in O(T N + T³) by elimination of the agents.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.energy.market import Market
from diffgames.energy.plan import Plan, drawn, welfare


class Rows(NamedTuple):
    """One number per row: residuals, or multipliers."""

    stored: Float[Array, "hours agents"]
    start: Float[Array, " agents"]
    price: Float[Array, " hours"]


class Metric(NamedTuple):
    """A nonnegative weight per share; `pair` couples charge and discharge of one battery and hour."""

    weight: Plan
    pair: Float[Array, "hours agents"]

    def __call__(self, x: Plan) -> Plan:
        """W x."""
        w = jax.tree.map(jnp.multiply, self.weight, x)
        return w._replace(charge=w.charge + self.pair * x.discharge, discharge=w.discharge + self.pair * x.charge)


def quantities(market: Market, x: Plan) -> Plan:
    """Shares of capacity in MW and MWh; starts stay as they are."""
    each = (jnp.asarray(size)[None] for size in (market.charge, market.discharge, market.capacity))
    feeder = jnp.asarray(market.feeder)
    sizes = (*each, market.elastic, market.solar, 1.0, feeder, feeder)
    return Plan._make(size * share for size, share in zip(sizes, x, strict=True))


def rows(market: Market, x: Plan) -> Rows:
    """Residuals of the rows at x; zero where x is feasible."""
    a, b = _shares(market)
    begin = jnp.where(market.capacity > 0, market.start / _positive(market.capacity), 0.0)
    before = jnp.concatenate([begin[None], x.stored[:-1]])
    plan = quantities(market, x)
    return Rows(
        stored=jnp.asarray(x.stored - before - a * x.charge + b * x.discharge),
        start=x.starts.sum(axis=0) - jnp.asarray(market.has_appliance),
        price=drawn(market, plan).sum(axis=1) - plan.imports + plan.exports,
    )


def cost(market: Market, x: Plan) -> Float[Array, ""]:
    """−W of the plan in shares, €."""
    return jnp.asarray(-welfare(market, quantities(market, x)))


def slopes(market: Market, y: Rows) -> Plan:
    """∂/∂x of the Lagrangian cost(x) + y·rows(x), which is linear in x: the reduced costs, € per full share."""
    return jax.grad(lambda x: cost(market, x) + _dot(y, rows(market, x)))(nothing(market))


def push(market: Market, x: Plan) -> Rows:
    """A x: what a change of the plan does to the rows."""
    return jax.jvp(lambda plan: rows(market, plan), (nothing(market),), (x,))[1]


def pull(market: Market, y: Rows) -> Plan:
    """Aᵀy."""
    return jax.grad(lambda x: _dot(y, rows(market, x)))(nothing(market))


def bound(market: Market, y: Rows, *, costs: float = 1.0) -> Float[Array, ""]:
    """min over x ∈ C of costs·cost(x) + y·rows(x): by weak duality no feasible plan costs less, whatever y is.

    With `costs` = 0 a positive value proves that no plan is feasible (y is a Farkas ray).
    """

    def lagrangian(x: Plan) -> Float[Array, ""]:
        return costs * cost(market, x) + _dot(y, rows(market, x))

    constant, reduced = jax.value_and_grad(lagrangian)(nothing(market))
    pair = jnp.minimum(jnp.minimum(reduced.charge, reduced.discharge), 0.0).sum()
    rest = reduced._replace(
        charge=jnp.zeros(()), discharge=jnp.zeros(()), starts=jnp.where(market.startable > 0, reduced.starts, 0.0)
    )
    return constant + pair + jnp.stack([jnp.minimum(part, 0.0).sum() for part in rest]).sum()


def nearest(market: Market, x: Plan) -> Plan:
    """The nearest point of C: clipped, pairs projected onto their triangle."""
    shift = (x.charge - x.discharge) / 2
    on_edge = jnp.clip(0.5 + shift, 0.0, 1.0)
    charge, discharge = jnp.maximum(x.charge, 0.0), jnp.maximum(x.discharge, 0.0)
    outside = charge + discharge > 1.0
    clipped = jax.tree.map(lambda share: jnp.clip(share, 0.0, 1.0), x)
    return clipped._replace(
        charge=jnp.where(outside, on_edge, charge),
        discharge=jnp.where(outside, 1.0 - on_edge, discharge),
        starts=jnp.where(market.startable > 0, clipped.starts, 0.0),
    )


def scale(market: Market) -> Metric:
    """The metric in which a step moves all shares alike: one over what a full share costs at a price of one."""

    def inverse(size: Any) -> Array:
        return jnp.where(size > 0, 1.0 / _positive(size), 0.0)

    hours, agents = market.hours, market.agents
    power = jnp.broadcast_to(inverse(0.5 * (market.charge + market.discharge)), (hours, agents))
    feeder = inverse(jnp.asarray(market.feeder))
    weight = Plan(
        charge=power,
        discharge=power,
        stored=jnp.broadcast_to(inverse(market.capacity), (hours, agents)),
        elastic=inverse(market.elastic),
        solar=inverse(market.solar),
        starts=jnp.where(market.startable > 0, inverse(market.appliance)[None], 0.0),
        imports=feeder,
        exports=feeder,
    )
    return Metric(weight, jnp.zeros((hours, agents)))


class Normal(eqx.Module):
    """A W Aᵀ + ridge, its agents eliminated: `solve` takes O(T N)."""

    diagonal: Float[Array, "hours agents"]  # of the LDLᵀ of each battery's block
    below: Float[Array, "hours agents"]
    couple: Float[Array, "hours agents"]  # stored–balance, hour by hour
    start: Float[Array, " agents"]
    runs: Float[Array, "hours agents"]  # start–balance
    border: Float[Array, "hours hours"]  # inverse of the Schur complement

    def solve(self, r: Rows) -> Rows:
        """y with (A W Aᵀ + ridge) y = r."""
        first, share = self.own(r.stored), r.start / self.start
        price = self.border @ (r.price - (self.couple * first).sum(axis=1) - self.runs @ share)
        stored = first - self.own(self.couple * price[:, None])
        return Rows(stored, share - price @ self.runs / self.start, price)

    def own(self, right: Float[Array, "hours agents"]) -> Float[Array, "hours agents"]:
        """Every battery's block solved: forward, then backward over the hours."""

        def forward(before: Array, here: tuple[Array, Array]) -> tuple[Array, Array]:
            value = here[0] - here[1] * before
            return value, value

        _, lower = jax.lax.scan(forward, jnp.zeros_like(right[0]), (right, self.below))
        after = jnp.concatenate([self.below[1:], jnp.zeros_like(self.below[:1])])
        _, found = jax.lax.scan(forward, jnp.zeros_like(right[0]), (lower / self.diagonal, after), reverse=True)
        return found


def normal(market: Market, metric: Metric, ridge: float | Array = 0.0) -> Normal:
    """Factorize A W Aᵀ + `ridge`, which rows without any weight need."""
    (a, b), w, pair = _shares(market), metric.weight, metric.pair
    C, D = jnp.asarray(market.charge)[None], jnp.asarray(market.discharge)[None]
    before = jnp.concatenate([jnp.zeros_like(w.stored[:1]), w.stored[:-1]])
    own = a**2 * w.charge + b**2 * w.discharge - 2 * a * b * pair + w.stored + before + ridge

    def eliminate(last: Array, here: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        diagonal, beside = here
        factor = -beside / last
        return diagonal + beside * factor, (diagonal + beside * factor, factor)

    _, (pivots, below) = jax.lax.scan(eliminate, jnp.ones_like(own[0]), (own, before))
    couple = -a * C * w.charge - b * D * w.discharge + (a * D + b * C) * pair
    running = jnp.asarray(market.running)
    runs = running @ w.starts * market.appliance[None]
    flows = C**2 * w.charge + D**2 * w.discharge - 2 * C * D * pair
    flows += market.elastic**2 * w.elastic + market.solar**2 * w.solar
    border = jnp.diag(flows.sum(axis=1) + market.feeder**2 * (w.imports + w.exports) + ridge)
    border += (running * (market.appliance[None] ** 2 * w.starts).sum(axis=1)[None]) @ running.T
    start = w.starts.sum(axis=0)
    start = jnp.where(start > 0, start, 1.0) + ridge
    solver = Normal(pivots, below, couple, start, runs, border)
    columns = jax.vmap(lambda unit: (couple * solver.own(couple * unit[:, None])).sum(axis=1))(jnp.eye(market.hours))
    schur = border - columns - (runs / start[None]) @ runs.T
    return eqx.tree_at(lambda n: n.border, solver, jnp.linalg.inv((schur + schur.T) / 2))


def _shares(market: Market) -> tuple[Float[Array, "1 agents"], Float[Array, "1 agents"]]:
    """a and b: what a full hour of charge or discharge does to the share stored."""
    size = _positive(market.capacity)
    a, b = market.charge_efficiency * market.charge / size, market.discharge / (market.discharge_efficiency * size)
    return jnp.where(market.capacity > 0, a, 0.0)[None], jnp.where(market.capacity > 0, b, 0.0)[None]


def _positive(size: Any) -> Array:
    return jnp.where(jnp.asarray(size) > 0, size, 1.0)


def _dot(y: Rows, r: Rows) -> Float[Array, ""]:
    return jnp.stack([jnp.vdot(left, right) for left, right in zip(y, r, strict=True)]).sum()


def nothing(market: Market) -> Plan:
    """The plan of zeros."""
    # made of the data, for XLA would fold what is done to a constant, agent by agent, while it compiles
    hourly, starts, feeder = (0.0 * jnp.asarray(part) for part in (market.load, market.startable, market.feeder))
    return Plan(hourly, hourly, hourly, hourly, hourly, starts, feeder, feeder)
