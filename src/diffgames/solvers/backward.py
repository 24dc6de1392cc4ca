"""Integrate a matrix equation in the time to go τ = T − t until the horizon or until it escapes, and say when.

Nothing here depends on units. Time runs from 0 to 1 over the span; an entry of a matrix is judged against itself and
against the largest entry of its own matrix, the last two axes of a leaf, each entry measured in its `units`.

Where values escape they have a pole, ‖S‖ ≈ c/(τ* − τ)ᵏ: the distance to it is k ‖S‖/‖Ṡ‖. Adaptive steps shrink with
that distance; the integration stops where ‖S‖/‖Ṡ‖ is below 1e-10 of the time gone (a value that merely grows
exponentially stays 1/rate away from any such point). At a pole of order k > 1 the terms of the equation cancel, and
rounding lets steps run out before: a run that ends with values rising on a scale far below the time gone escapes, too.
The order k follows from the second derivative, S S̈/Ṡ² = 1 + 1/k.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.numerics.step_size import TINY, Sized, rows, sizes
from diffgames.solvers.base import Status

ENORMOUS = 1e150
LARGE = 1e3
NEAR = 1e-10
STEEP = 1e-3
FIRST = 1e-4
BESIDE = 1e-13


class Backward(NamedTuple):
    """Values at the asked times to go (infinite from the escape on), status, and escape time (infinite where none)."""

    values: Any
    code: Int[Array, ""]
    escape_time: Float[Array, ""]


class Accuracy(eqx.Module):
    """Tolerances relative to an entry (`rtol`) and to the largest entry of its matrix (`atol`), and the most steps."""

    rtol: float = eqx.field(static=True, default=1e-10)
    atol: float = eqx.field(static=True, default=1e-12)
    max_steps: int = eqx.field(static=True, default=16_384)


def integrate_to_go(
    rate: Callable[[Any, Any], Any],
    terminal: Any,
    to_go: Float[Array, " times"],
    accuracy: Accuracy,
    *,
    units: Any = None,
    breaks: Float[Array, " breaks"] | None = None,
    longest: float | None = None,
) -> Backward:
    """Solve dS/dτ = rate(τ, S), S(0) = terminal, for values at the increasing times to go, the last one the horizon.

    `units` has the structure of S: what one unit of an entry is, as against other entries of its matrix; without them
    all entries of all matrices have one unit. `breaks` are times to go at which the rate jumps; `longest` bounds a
    step, as a share of the span.
    """
    controller = Sized(accuracy.rtol, accuracy.atol, longest, within="all" if units is None else "matrix")
    units = jax.tree.map(jnp.ones_like, terminal) if units is None else units
    span = to_go[-1]

    def measured(s, y):
        change = rate(s * span, jax.tree.map(jnp.multiply, y, units))
        return jax.tree.map(lambda leaf, unit: span * (leaf / unit), change, units)

    flow = jax.jit(_between(measured, span, breaks))  # asked for at a dozen places, traced once
    start = jax.tree.map(jnp.divide, terminal, units)
    first = flow(jnp.zeros_like(span), start)
    reference = jnp.where(sizes(start) > 0, sizes(start), sizes(first))
    most = jnp.where(reference > 0, jnp.minimum(ENORMOUS * reference, 1e300), 1e300)
    # What is zero until a coefficient jumps has no size yet: it has grown where it is large in units, where these are.
    reference = jnp.where(reference > 0, reference, jnp.inf if controller.within == "all" else 1.0)

    def distance(s, y):
        grown = sizes(y) > LARGE * reference
        return jnp.min(jnp.where(grown, _scale(y, flow(s, y)), jnp.inf))

    def stop(s, y, args, **_):
        return (distance(s, y) < NEAR * s) | ~jnp.all(sizes(y) < most)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda s, y, args: flow(s, y)),
        diffrax.Dopri8(),
        t0=jnp.zeros_like(span),
        t1=jnp.ones_like(span),
        dt0=_first_step(start, first),
        y0=start,
        saveat=diffrax.SaveAt(subs=(diffrax.SubSaveAt(ts=to_go / span), diffrax.SubSaveAt(t1=True))),
        stepsize_controller=controller
        if breaks is None
        else diffrax.ClipStepSizeController(controller, jump_ts=jnp.sort(breaks / span)),
        event=diffrax.Event(stop),
        max_steps=accuracy.max_steps,
        throw=False,
    )
    assert solution.ys is not None and solution.ts is not None
    values, last = solution.ys[0], jax.tree.map(lambda leaf: leaf[-1], solution.ys[1])
    code, escape = _ended(solution.result, solution.ts[1][-1], last, flow)
    values = jax.tree.map(lambda leaf, unit: leaf * unit[None], values, units)
    return Backward(values, code, jax.lax.stop_gradient(escape * span))


def _between(rate: Callable[[Any, Any], Any], span: Array, breaks: Array | None) -> Callable[[Any, Any], Any]:
    """The rate as a function of the share s of the span, never asked at a break but on the side of s."""
    if breaks is None:
        return rate
    ends = jnp.concatenate([jnp.full(1, -jnp.inf, span.dtype), jnp.sort(breaks / span), jnp.full(1, jnp.inf)])

    def one_sided(s, y):
        place = jnp.searchsorted(ends, s, side="right")
        return rate(jnp.clip(s, ends[place - 1] + BESIDE, ends[place] - BESIDE), y)

    return one_sided


def _ended(result: Any, s: Array, y: Any, flow: Callable[[Any, Any], Any]) -> tuple[Array, Array]:
    """Status, and the share of the span at which values escape (infinite where they do not)."""
    change = flow(s, y)
    scale = _scale(y, change)
    left = jnp.min(scale)
    stopped, done = result == diffrax.RESULTS.event_occurred, result == diffrax.RESULTS.successful
    near = left < jnp.where(stopped, 1e3 * NEAR, STEEP) * s
    failed = jnp.where(stopped, int(Status.UNBOUNDED), int(Status.STEPS))
    code = jnp.where(done, int(Status.SOLVED), jnp.where(near, int(Status.ESCAPED), failed))
    _, bend = jax.jvp(flow, (s, y), (jnp.ones_like(s), change))
    orders = jnp.concatenate([_orders(*one) for one in zip(*map(jax.tree.leaves, (y, change, bend)), strict=True)])
    order = orders[jnp.argmin(scale)]
    escape, unsure = s + left * order, jnp.where(order > 1.5, left * order, 0.0)
    digit = 10.0 ** jnp.ceil(jnp.log10(jnp.maximum(unsure, 1e-15)))
    escape = jnp.where(unsure > 0, jnp.round(escape / digit) * digit, escape)
    return code, jnp.where(code == Status.ESCAPED, escape, jnp.inf)


def _orders(y: Array, change: Array, bend: Array) -> Float[Array, " matrices"]:
    """Order of the pole per matrix, by its largest entry: a whole number where it is close to one."""
    place = jnp.argmax(jnp.abs(rows(y)), axis=1)[:, None]
    y, change, bend = (jnp.take_along_axis(rows(leaf), place, axis=1)[:, 0] for leaf in (y, change, bend))
    order = 1 / jnp.maximum((y / change) * (bend / change) - 1, 1 / 8)
    return jnp.clip(jnp.where(jnp.abs(order - jnp.round(order)) < 0.2, jnp.round(order), order), 1.0, 8.0)


def _scale(y: Any, change: Any) -> Float[Array, " matrices"]:
    """Per matrix its size over that of its rate, infinite where it does not rise."""
    inner = jax.tree.map(lambda a, b: jnp.sum(rows(a) * rows(b), axis=1), y, change)
    rising = jnp.concatenate(jax.tree.leaves(inner)) > 0
    return jnp.where(rising, sizes(y) / jnp.maximum(sizes(change), TINY), jnp.inf)


def _first_step(y: Any, change: Any) -> Array:
    """A hundredth of the time in which a matrix would double, FIRST where it starts at zero."""
    ratio = jnp.where(sizes(y) > 0, 0.01 * sizes(y) / jnp.maximum(sizes(change), TINY), FIRST)
    return jax.lax.stop_gradient(jnp.clip(jnp.min(ratio), 1e-12, FIRST))
