"""Prices and quantities that clear the market: a batched first-order method that ends on the exact optimum.

For min cost·x over x ∈ C with rows A x = b (`energy.linear_program`) the primal–dual hybrid gradient method, its dual
step taken in the metric of the normal equations (Chambolle & Pock 2011; Pock & Chambolle 2011), is

    x⁺ = proj_C(x − τ W (cost + Aᵀy)),    y⁺ = y + (A W Aᵀ)⁻¹ (A(2x⁺ − x) − b) / τ,

and z = (x, y) moves by the reflected Halpern step z ← (k+1)/(k+2) (2z⁺ − z) + z₀/(k+2), restarted from z₀ = z⁺ when
the residual ‖z − z⁺‖ has fallen, with a new τ that balances both halves (Applegate et al. 2021; Lu & Yang 2024). Agents
meet in the balance alone, so a step costs O(T N).

*Polishing.* A point names a face of C: the shares strictly inside, J. On it the optimality conditions are linear,

    x = x̂ + JAᵀ(AJAᵀ)⁺(b − A x̂),    y = ŷ − (AJAᵀ)⁺ A J (cost + Aᵀŷ),

first for feasibility, then for prices. On the right face that is the optimum, to rounding; a polished point is taken
where its duality gap is smaller. The same conditions, differentiated, give the derivatives of quantities and prices by
the market's data. They hold where the optimum is unique, and are those of least norm on degenerate faces.

*Infeasibility.* Differences of y tend to a ray of the dual. A ray whose `bound` without costs is positive proves that
no plan is feasible, for weak duality says that it is at most zero for any feasible plan (Farkas).
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from diffgames.energy.linear_program import (
    Metric,
    Normal,
    Rows,
    bound,
    cost,
    nearest,
    normal,
    nothing,
    pull,
    push,
    quantities,
    rows,
    scale,
    slopes,
)
from diffgames.energy.market import Market, check
from diffgames.energy.plan import Plan
from diffgames.errors import RunFailed
from diffgames.numerics.precision import in_double

EVERY = 50  # steps between two looks at residual, gap and face
RIDGE = 1e-9  # of the normal equations on a face, taken out again by refinement
FAR = 1e3  # the second polish classifies shares by steps so much longer
PROOF = 1e-7  # MWh that a ray must miss, its largest price one

Point = tuple[Plan, Rows]


class Clearing(eqx.Module):
    """A cleared market: quantities in MW and MWh, prices in €/MWh, welfare and its bound from above in €."""

    plan: Plan
    prices: Float[Array, " hours"]
    multipliers: Rows
    welfare: Float[Array, ""]
    bound: Float[Array, ""]
    gap: Float[Array, ""]  # relative
    residual: Float[Array, ""]  # of balance and stored energy, MWh
    iterations: Float[Array, ""]


class Found(NamedTuple):
    """Where the iteration ended; `ray` proves infeasibility where `missing` > 0."""

    error: Float[Array, ""]
    step: Float[Array, ""]
    iterations: Float[Array, ""]
    missing: Float[Array, ""]
    ray: Rows


@in_double
def clear(market: Market, *, tolerance: float = 1e-9, iterations: int = 20_000) -> Clearing:
    """Clear the relaxed market to a relative duality gap and violation of `tolerance`; differentiable by its data.

    `RunFailed` names the hours in which no plan is feasible, or says how far off the method ended.
    """
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(market)):
        check(market)
    market = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), market)
    (x, y), found = optimum(market, tolerance, iterations)
    if not isinstance(found.error, Tracer):
        _raise_for(found, tolerance)
    off, worth, most = rows(market, x), -cost(market, x), -bound(market, y)
    return Clearing(
        plan=quantities(market, x),
        prices=y.price,
        multipliers=y,
        welfare=worth,
        bound=most,
        gap=jnp.abs(most - worth) / (1.0 + jnp.abs(most) + jnp.abs(worth)),
        residual=jnp.maximum(jnp.abs(off.price).max(), (jnp.abs(off.stored) * market.capacity[None]).max()),
        iterations=found.iterations,
    )


def _raise_for(found: Found, tolerance: float) -> None:
    if found.missing > 0:
        weight = np.abs(np.asarray(found.ray.price))
        heavy = np.flatnonzero(weight > 1e-3)
        hours = f"{heavy[0]}–{heavy[-1]}" if heavy.size == np.ptp(heavy) + 1 else ", ".join(map(str, heavy))
        raise RunFailed(
            f"no plan is feasible: in hours {hours} at least {float(found.missing):.4g} MWh cannot pass the feeder "
            "(proved by a dual ray)",
            "raise feeder, or lower the load",
        )
    if found.error > tolerance:
        raise RunFailed(
            f"clearing ended at a relative gap of {float(found.error):.2g} after {int(found.iterations)} steps",
            "raise iterations, or look at the scale of the market's data",
        )


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def optimum(market: Market, tolerance: float, iterations: int) -> tuple[Point, Found]:
    """Shares and multipliers of the optimum, and how the search for them went."""
    return _iterate(market, jnp.asarray(float(tolerance)), jnp.asarray(float(iterations)))


@optimum.defjvp
def _derivative(tolerance: float, iterations: int, primals: tuple, tangents: tuple) -> tuple:
    """A dx = −(∂ rows) within the face, J Aᵀdy = −J(∂ slopes): what the optimality conditions leave at first order."""
    (market,), (change,) = primals, tangents
    (x, y), found = optimum(market, tolerance, iterations)
    dx, dy = _change(market, change, (x, y), found.step)
    return ((x, y), found), ((dx, dy), jax.tree.map(jnp.zeros_like, found))


@jax.jit
def _change(market: Market, change: Market, point: Point, step: Array) -> Point:
    x, y = point
    face = _face(market, _ahead(market, point, step))
    _, off = jax.jvp(lambda data: rows(data, x), (market,), (change,))
    _, tilt = jax.jvp(lambda data: slopes(data, y), (market,), (change,))
    solver = normal(market, face, RIDGE)
    dx = _times(-1.0, face(pull(market, _solve(market, face, solver, off))))
    return dx, _times(-1.0, _solve(market, face, solver, push(market, face(tilt))))


class _State(NamedTuple):
    """Halpern's iteration between two looks."""

    at: Point
    anchor: Point
    since: Float[Array, ""]  # steps since the restart
    step: Float[Array, ""]  # τ
    first: Float[Array, ""]  # residual at the first look after the restart
    last: Float[Array, ""]
    best: Point
    found: Found


@jax.jit
def _iterate(market: Market, tolerance: Float[Array, ""], most: Float[Array, ""]) -> tuple[Point, Found]:
    metric = scale(market)
    solver = normal(market, metric, 1e-12)

    def move(point: Point, step: Array) -> Point:
        x = nearest(market, _ahead(market, point, step))
        rise = solver.solve(rows(market, jax.tree.map(lambda new, old: 2.0 * new - old, x, point[0])))
        return x, jax.tree.map(lambda old, up: old + up / step, point[1], rise)

    def look(state: _State) -> _State:
        def halpern(_, carry):
            point, k = carry
            w = (k + 1.0) / (k + 2.0)
            new = move(point, state.step)
            mix = jax.tree.map(lambda n, p, a: w * (2.0 * n - p) + (1.0 - w) * a, new, point, state.anchor)
            return mix, k + 1.0

        point, since = jax.lax.fori_loop(0, EVERY, halpern, (state.at, state.since))
        new = move(point, state.step)
        residual = _lengths(market, metric, new, point, state.step)[0]
        first = jnp.where(since <= EVERY, residual, state.first)
        polished, error = _polish(market, new, state.step)
        better, leap = error < state.found.error, error < 0.3 * state.found.error
        fallen = (residual <= 0.2 * first) | ((residual <= 0.8 * first) & (residual > state.last))
        total = state.found.iterations + EVERY
        restart = leap | ((fallen | (since >= 0.36 * total)) & (since > EVERY))
        end = _choose(leap, polished, new)
        _, along, across = _lengths(market, metric, end, state.anchor, state.step)
        moved = restart & (along > 1e-10) & (across > 1e-10)
        step = jnp.where(moved, jnp.sqrt(state.step * along / jnp.where(moved, across, 1.0)), state.step)
        missing, ray = _ray(market, jax.tree.map(jnp.subtract, new[1], point[1]))
        found = Found(jnp.minimum(error, state.found.error), state.step, total, missing, ray)
        found = found._replace(step=jnp.where(better, state.step, state.found.step))
        return _State(
            at=_choose(restart, end, point),
            anchor=_choose(restart, end, state.anchor),
            since=jnp.where(restart, 0.0, since),
            step=step,
            first=first,
            last=jnp.where(restart, jnp.inf, residual),
            best=_choose(better, polished, state.best),
            found=found,
        )

    def unfinished(state: _State) -> Bool[Array, ""]:
        found = state.found
        return (found.error > tolerance) & (found.iterations < most) & (found.missing <= 0)

    none = nothing(market)
    start = (none, jax.tree.map(jnp.zeros_like, rows(market, none))._replace(price=market.price))
    step = 5.0 / jnp.maximum(jnp.abs(market.price).max(), jnp.maximum(market.elastic_value.max(), 1e-6))
    zero, endless = jnp.zeros(()), jnp.asarray(jnp.inf)
    found = Found(endless, step, zero, zero, jax.tree.map(jnp.zeros_like, start[1]))
    state = jax.lax.while_loop(unfinished, look, _State(start, start, zero, step, endless, endless, start, found))
    return state.best, state.found


def _ahead(market: Market, point: Point, step: Array) -> Plan:
    """x − τ W (cost + Aᵀy), before the projection."""
    return jax.tree.map(lambda share, slope: share - step * slope, point[0], scale(market)(slopes(market, point[1])))


def _lengths(market: Market, metric: Metric, new: Point, old: Point, step: Array) -> Float[Array, " 3"]:
    """‖z − z'‖ in the norm in which the iteration contracts, and what it is made of: ‖x − x'‖ and ‖Aᵀ(y − y')‖."""
    dx, dy = jax.tree.map(jnp.subtract, new, old)
    back = metric(pull(market, dy))
    both = jax.tree.map(lambda one, other: one - step * other, dx, back)
    inverse = jax.tree.map(lambda w: jnp.where(w > 0, 1.0 / jnp.where(w > 0, w, 1.0), 0.0), metric.weight)
    squares = [jax.tree.map(lambda w, part: (w * part**2).sum(), inverse, parts) for parts in (both, dx, back)]
    return jnp.sqrt(jnp.stack([jnp.stack(each).sum() for each in squares]))


def _polish(market: Market, point: Point, step: Array) -> tuple[Point, Float[Array, ""]]:
    """The optimality conditions solved on the face of the point, then on that of the outcome seen from afar."""

    def again(point: Point, longer: Array) -> tuple[Point, tuple[Point, Array]]:
        ahead = _ahead(market, point, longer * step)
        x, y, face = nearest(market, ahead), point[1], _face(market, ahead)
        off, tilt = rows(market, x), push(market, face(slopes(market, y)))
        solver = normal(market, face, RIDGE)
        x = jax.tree.map(jnp.subtract, x, face(pull(market, _solve(market, face, solver, off))))
        y = jax.tree.map(jnp.subtract, y, _solve(market, face, solver, tilt))
        end = nearest(market, x), y
        return end, (end, _error(market, end))

    _, (ends, errors) = jax.lax.scan(again, point, jnp.asarray([1.0, FAR]))
    best = jnp.argmin(errors)
    return jax.tree.map(lambda both: both[best], ends), errors[best]


def _face(market: Market, ahead: Plan) -> Metric:
    """J: the metric on the shares that the projection of `ahead` leaves strictly inside C, zero on all others."""
    weight = scale(market).weight
    inside = jax.tree.map(lambda share, w: jnp.where((share > 0) & (share < 1), w, 0.0), ahead, weight)
    edge = jnp.maximum(ahead.charge, 0.0) + jnp.maximum(ahead.discharge, 0.0) > 1.0
    along = edge & (jnp.abs(ahead.charge - ahead.discharge) < 1.0)  # charge + discharge = 1, neither of them zero
    halves = jnp.where(along, 0.5 * weight.charge, 0.0)
    charge, discharge = (jnp.where(edge, halves, own) for own in (inside.charge, inside.discharge))
    inside = inside._replace(charge=charge, discharge=discharge)
    return Metric(inside, -halves)


def _solve(market: Market, face: Metric, solver: Normal, right: Rows) -> Rows:
    """y with A J Aᵀ y = right where there is one: what the ridge takes is given back by refinement."""

    def refine(_, found: Rows) -> Rows:
        left = jax.tree.map(jnp.subtract, right, push(market, face(pull(market, found))))
        return jax.tree.map(jnp.add, found, solver.solve(left))

    return jax.lax.fori_loop(0, 3, refine, jax.tree.map(jnp.zeros_like, right))


def _error(market: Market, point: Point) -> Float[Array, ""]:
    """Duality gap and violated rows at their multipliers, relative to the objectives; or the worst row, in shares."""
    x, y = point
    above, below, off = cost(market, x), bound(market, y), rows(market, x)
    valued = jnp.stack([jnp.abs(price * row).sum() for price, row in zip(y, off, strict=True)]).sum()
    worst = jnp.maximum(jnp.abs(off.stored).max(), jnp.abs(off.price).max() / jnp.maximum(market.feeder.max(), 1e-300))
    error = jnp.maximum((jnp.abs(above - below) + valued) / (1.0 + jnp.abs(above) + jnp.abs(below)), worst)
    return jnp.where(jnp.isfinite(error), error, jnp.inf)


def _ray(market: Market, rise: Rows) -> tuple[Float[Array, ""], Rows]:
    """The ray along which y rises, its largest price one, and the MWh that every plan misses by it (0: no proof)."""
    size = jnp.abs(rise.price).max()
    ray = _times(1.0 / jnp.where(size > 0, size, 1.0), rise)
    missing = bound(market, ray, costs=0.0)
    return jnp.where((size > 0) & (missing > PROOF * (1.0 + jnp.abs(market.load).sum())), missing, 0.0), ray


def _times(number: float | Array, parts: Any) -> Any:
    return jax.tree.map(lambda part: number * part, parts)


def _choose(condition: Bool[Array, ""], one: Point, other: Point) -> Point:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
