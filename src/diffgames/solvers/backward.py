"""Integrate a matrix equation in the time to go τ = T − t until the horizon or until it escapes, and say when.

A Riccati equation that escapes has a simple pole, ‖S‖ ≈ c/(τ* − τ): the distance to it is ‖S‖/‖Ṡ‖. Adaptive steps
shrink with that distance; the integration stops where it is below 1e-10 of the time gone (a value that merely grows
exponentially stays 1/rate away from any such point), and the escape time is τ plus the distance left.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.solvers.base import Status

ENORMOUS = 1e100
LARGE = 1e5
NEAR = 1e-10


class Backward(NamedTuple):
    """Values at the asked times to go (infinite from the escape on), status, and escape time (infinite where none)."""

    values: Any
    code: Int[Array, ""]
    escape_time: Float[Array, ""]


class Accuracy(eqx.Module):
    """Relative and absolute tolerance and the most steps of an adaptive integration."""

    rtol: float = eqx.field(static=True, default=1e-10)
    atol: float = eqx.field(static=True, default=1e-12)
    max_steps: int = eqx.field(static=True, default=16_384)


def integrate_to_go(
    rate: Callable[[Any, Any], Any],
    terminal: Any,
    to_go: Float[Array, " times"],
    accuracy: Accuracy,
) -> Backward:
    """Solve dS/dτ = rate(τ, S), S(0) = terminal, for values at the increasing times to go, the last one the horizon."""
    size0 = 1.0 + _size(terminal)

    def distance(tau, y):
        return _size(y) / jnp.maximum(_size(rate(tau, y)), 1e-300)

    def stop(tau, y, args, **_):
        size = _size(y)
        close = (size > LARGE * size0) & (distance(tau, y) < NEAR * (1e-3 + tau))
        return close | ~(size < ENORMOUS)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda tau, y, args: rate(tau, y)),
        diffrax.Dopri8(),
        t0=jnp.zeros_like(to_go[-1]),
        t1=to_go[-1],
        dt0=None,
        y0=terminal,
        saveat=diffrax.SaveAt(subs=(diffrax.SubSaveAt(ts=to_go), diffrax.SubSaveAt(t1=True))),
        stepsize_controller=diffrax.PIDController(rtol=accuracy.rtol, atol=accuracy.atol),
        event=diffrax.Event(stop),
        max_steps=accuracy.max_steps,
        throw=False,
    )
    assert solution.ys is not None and solution.ts is not None
    values, last = solution.ys[0], jax.tree.map(lambda leaf: leaf[-1], solution.ys[1])
    tau = solution.ts[1][-1]
    stopped = solution.result == diffrax.RESULTS.event_occurred
    done = solution.result == diffrax.RESULTS.successful
    left = distance(tau, last)
    near = left < 1e3 * NEAR * (1e-3 + tau)
    stopped_code = jnp.where(near, int(Status.ESCAPED), int(Status.UNBOUNDED))
    code = jnp.where(done, int(Status.SOLVED), jnp.where(stopped, stopped_code, int(Status.STEPS)))
    escape = jnp.where(code == Status.ESCAPED, tau + left, jnp.inf)
    return Backward(values, code, jax.lax.stop_gradient(escape))


def _size(tree: Any) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))
