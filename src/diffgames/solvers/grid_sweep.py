"""Backward time stepping on a grid: explicit under a step bound, implicit by policy iteration, or to a steady state.

With H_h(V) the discrete Hamiltonian after the min–max and ρ the discount, from V(T) = g,

    explicit:    V(t − dt) = V(t) + dt [H_h(V(t)) − ρ V(t)],            monotone if dt (r + ρ) ≤ 1, r the largest rate
    implicit:    [1 + dt ρ − dt L_h^{u,w}] V(t − dt) = V(t) + dt c^{u,w},   (u, w) the choice at V(t − dt)
                 coefficients are those of the middle of the step (`solvers.grid_steps`), stopping costs of its end
    stationary:  [ρ − L_h^{u,w}] V = c^{u,w}

with the last two by policy iteration: choose at the present V, solve the linear system, repeat until V stands still.
Its matrices are M-matrices, whatever dt. Stopping: whoever may stop replaces V by the better of V and its stopping
cost.

`leak` solves −∂_t ℓ = L_h ℓ for the chosen controls, ℓ = 1 on the artificial ends of the grid and ℓ(T) = 0: for
every regime and point, the probability of meeting such an end before the horizon.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import bicgstab
from jaxtyping import Array, Float

from diffgames.numerics.grid import ARTIFICIAL
from diffgames.solvers.control_search import AbstractControlSearch, Choice
from diffgames.solvers.grid_game import GridGame, state_dtype


class Stopping(eqx.Module):
    """The right to stop: `cost(t, x, i)` is what the game then costs the objective, for the side that has the right."""

    minimiser: Callable[..., Array] | None = None
    maximiser: Callable[..., Array] | None = None


class Ready(eqx.Module):
    """What does not depend on the values: the search's preparation, and the stopping costs (None: no right to stop)."""

    search: Any
    stops: tuple[Array | None, Array | None]


class Policy(eqx.Module):
    """What both sides play on the grid; `stop` is where the game is stopped and `stopped` the value there."""

    u: Array
    w: Array
    stop: Array
    stopped: Array
    value: Array
    gap: Array


class Swept(NamedTuple):
    """Everything a sweep returns, kept times increasing."""

    value: Array
    u: Array
    w: Array
    gap: Array
    leak: Array | None
    iterations: Array
    residual: Array


class Sweep(eqx.Module):
    """A game on a grid with all that its time stepping needs."""

    view: GridGame
    search: AbstractControlSearch
    stopping: Stopping
    order: str = eqx.field(static=True)
    autonomous: bool = eqx.field(static=True)

    @property
    def dtype(self):
        """Floating-point type of the values."""
        return state_dtype(self.view.game)

    def points(self) -> Array:
        """Points [n, points] of the grid."""
        return self.view.grid.points(self.dtype)

    def prepare(self, t: Array) -> Ready:
        """What does not depend on the values, at time t."""
        stops = []
        for cost in (self.stopping.minimiser, self.stopping.maximiser):
            paid = None
            if cost is not None:
                paid = self.view.everywhere(lambda x, i, cost=cost: _scalar(cost(t, x, i), x.dtype), self.points())
            stops.append(paid)
        return Ready(self.search.prepare(self.view, t, self.points()), (stops[0], stops[1]))

    def wall(self) -> Array:
        """−1, 0, 1 [n, points]: at the lower end, inside, or at the upper end of each constrained axis."""
        grid = self.view.grid
        wall = np.zeros((len(grid.axes), *grid.shape))
        for d, axis in enumerate(grid.axes):
            if axis.boundary == "constrained":
                wall[(d, *(slice(None),) * d, 0)] = -1.0
                wall[(d, *(slice(None),) * d, -1)] = 1.0
        return jnp.asarray(wall.reshape(len(grid.axes), -1), self.dtype)

    def choose(self, ready: Ready, t: Array, values: Array, gap: bool = False) -> Choice:
        """The choice at every point and regime, values being [regimes, points]."""
        x = self.points()
        at = self.view.stencil(t, x, values)
        wall = jnp.broadcast_to(self.wall()[None], (self.view.regimes, *x.shape))

        def one(x, i, at, wall, ready):
            return self.search.best(self.view, ready, t, x, i, at, wall, self.order, gap)

        return self.view.everywhere(one, x, at, wall, ready.search)

    def linear(self, ready: Ready, t: Array, values: Array, u: Array, w: Array) -> tuple[Array, Array]:
        """Running cost and L_h of the values under given controls."""
        x = self.points()
        at = self.view.stencil(t, x, values)

        def one(x, i, at, u, w, ready):
            return self.search.evaluate(self.view, ready, t, x, i, at, u, w)

        return self.view.everywhere(one, x, at, u, w, ready.search)

    def fixed(self) -> Array:
        """Mask [points] where the value stays what it is: absorbing ends."""
        return jnp.asarray(self.view.grid.edge(("absorbing",)))

    @staticmethod
    def stopped(ready: Ready, values: Array) -> Array:
        """Values after whoever may stop has done so where it pays."""
        for paid, better in zip(ready.stops, (jnp.minimum, jnp.maximum), strict=True):
            values = values if paid is None else better(values, paid)
        return values

    def fastest_at(self, t: Array) -> tuple[Array, Array]:
        """Largest rate of leaving any point at a time, and the least slack of monotonicity."""
        rates = self.view.everywhere(lambda x, i: self.search.fastest(self.view, t, x, i), self.points())
        return jnp.max(rates[0]), jnp.min(rates[1])

    def ready_between(self, early: Array, middle: Array) -> Ready:
        """What a step needs: the search prepared at its middle, stopping costs at its end."""
        if self.stopping == Stopping():
            return self.prepare(middle)
        return Ready(self.prepare(middle).search, self.prepare(early).stops)

    # --- one step -------------------------------------------------------------------------------------------------

    def explicit_step(self, ready: Ready | None, t: Array, dt: Array, values: Array, leak: Array | None) -> Any:
        """Values (and leak) at t − dt from those at t."""
        middle = t - 0.5 * dt
        ready = self.ready_between(t - dt, middle) if ready is None else ready
        choice = self.choose(ready, middle, values)
        rho = jnp.asarray(self.view.game.discount, values.dtype)
        after = self.held(values, values + dt * (choice.value - rho * values))
        if leak is not None:
            leak = self.spread(leak, leak + dt * self.linear(ready, middle, leak, choice.u, choice.w)[1])
        return self.stopped(ready, after), leak, jnp.int32(0), jnp.zeros((), values.dtype)

    def implicit_step(self, ready: Ready | None, t: Array, dt: Array, values: Array, leak: Array | None) -> Any:
        """Values (and leak) at t − dt from those at t, by policy iteration."""
        middle = t - 0.5 * dt
        ready = self.ready_between(t - dt, middle) if ready is None else ready
        after, policy, iterations, residual = self.solve(ready, middle, values, dt)
        if leak is not None:

            def operator(field: Array) -> Array:
                held = jnp.where(self.absorbed()[None], 0.0, self.linear(ready, middle, field, policy.u, policy.w)[1])
                return field - dt * held

            leak = self.spread(leak, _solve_linear(operator, leak, leak)[0])
        return after, leak, iterations, residual

    def absorbed(self) -> Array:
        """Mask [points] of the artificial ends."""
        return jnp.asarray(self.view.grid.edge(ARTIFICIAL))

    def held(self, before: Array, after: Array) -> Array:
        """The new values, but at absorbing ends the old ones."""
        if not any(axis.boundary == "absorbing" for axis in self.view.grid.axes):
            return after
        return jnp.where(self.fixed()[None], before, after)

    def spread(self, before: Array, after: Array) -> Array:
        """The new leak: one at artificial ends, the old one at absorbing ends."""
        after = self.held(before, after)
        return jnp.where(self.absorbed()[None], 1.0, jnp.clip(after, 0.0, 1.0))

    def solve(self, ready: Ready, t: Array, values: Array, dt: Array | None, limit: int = 60) -> Any:
        """Policy iteration for one implicit step (or, dt None, for the steady state) starting from `values`."""
        rho = jnp.asarray(self.view.game.discount, values.dtype)
        scale = rho if dt is None else 1.0 / dt + rho
        source = jnp.zeros_like(values) if dt is None else values / dt
        fixed = jnp.broadcast_to(self.fixed()[None], values.shape)
        zero = jnp.zeros_like(values)
        tolerance = 1e-10 if values.dtype == jnp.float64 else 1e-5

        def improve(guess: Array) -> Policy:
            choice = self.choose(ready, t, guess)
            going_on = (choice.value + source - scale * guess) / scale + guess
            stop, stopped = jnp.zeros(values.shape, bool), values
            for paid, wins in zip(ready.stops, (jnp.less, jnp.greater), strict=True):
                if paid is not None:
                    here = wins(paid, jnp.where(stop, stopped, going_on))
                    stop, stopped = stop | here, jnp.where(here, paid, stopped)
            stop, stopped = stop | fixed, jnp.where(fixed, values, stopped)
            return Policy(u=choice.u, w=choice.w, stop=stop, stopped=stopped, value=choice.value, gap=choice.gap)

        def evaluate(policy: Policy, guess: Array) -> tuple[Array, Array]:
            cost, _ = self.linear(ready, t, zero, policy.u, policy.w)
            right = jnp.where(policy.stop, policy.stopped, (source + cost) / scale)

            def operator(field: Array) -> Array:
                change = self.linear(ready, t, field, policy.u, policy.w)[1]
                return jnp.where(policy.stop, field, field - change / scale)

            return _solve_linear(operator, right, guess)

        def body(carry):
            guess, policy, count, _, _ = carry
            after, left = evaluate(policy, guess)
            size = jnp.maximum(jnp.max(jnp.abs(after)), jnp.max(jnp.abs(guess)))  # relative: values have units
            moved = jnp.max(jnp.abs(after - guess)) / jnp.where(size > 0, size, 1.0)
            return after, improve(after), count + 1, moved, left

        def going(carry):
            _, _, count, moved, _ = carry
            return (moved > tolerance) & (count < limit)

        start = (values, improve(values), jnp.int32(0), jnp.asarray(jnp.inf, values.dtype), zero[0, 0])
        after, policy, count, moved, left = jax.lax.while_loop(going, body, start)
        return after, policy, count, jnp.maximum(moved, left)


def _scalar(value: Array, dtype: Any) -> Array:
    return jnp.asarray(value, dtype).reshape(())


LARGEST_DIRECT = 700
"""Unknowns up to which linear systems are solved by elimination, beyond by BiCGSTAB."""


def _solve_linear(operator: Callable, right: Array, guess: Array) -> tuple[Array, Array]:
    """Solve operator(field) = right; the field and the residual left, relative to the right-hand side."""
    if right.size <= LARGEST_DIRECT:
        units = jnp.eye(right.size, dtype=right.dtype).reshape(right.size, *right.shape)
        matrix = jax.vmap(operator)(units).reshape(right.size, right.size).T
        field = jnp.linalg.solve(matrix, right.reshape(-1)).reshape(right.shape)
    else:
        tolerance = 1e-12 if right.dtype == jnp.float64 else 1e-6
        field, _ = bicgstab(operator, right, x0=guess, tol=tolerance, atol=0.0, maxiter=4000)
    size = jnp.max(jnp.abs(right))
    off = jnp.max(jnp.abs(operator(field) - right)) / jnp.where(size > 0, size, 1.0)
    return field, off


@eqx.filter_jit
def sweep_back(sweep: Sweep, mesh: Float[Array, "kept times"], implicit: bool, with_leak: bool) -> Swept:
    """From the horizon to 0 over the times of `mesh`, keeping its rows' ends; feedback and gap at each of them."""
    dtype, kept = sweep.dtype, mesh.shape[0]
    horizon = jnp.asarray(sweep.view.game.horizon, dtype)
    step = sweep.implicit_step if implicit else sweep.explicit_step
    zero = jnp.zeros((), dtype)
    ready = sweep.prepare(zero) if sweep.autonomous else None

    def advance(carry, times):
        values, leak, iterations, residual = carry
        values, leak, count, left = step(ready, times[0], times[0] - times[1], values, leak)
        return (values, leak, jnp.maximum(iterations, count), jnp.maximum(residual, left)), None

    def block(carry, row):
        carry, _ = jax.lax.scan(advance, carry, (row[:-1], row[1:]))
        return carry, carry[0]

    def play(pair: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        t, values = pair
        choice = sweep.choose(sweep.prepare(t) if ready is None else ready, t, values, gap=True)
        return choice.u, choice.w, jnp.max(choice.gap)

    values = sweep.stopped(sweep.prepare(horizon) if ready is None else ready, sweep.view.terminal(sweep.points()))
    leak = None
    if with_leak:
        leak = jnp.broadcast_to(sweep.absorbed()[None], values.shape).astype(dtype)
    (_, leak, iterations, residual), rest = jax.lax.scan(block, (values, leak, jnp.int32(0), zero), mesh)
    value = jnp.concatenate([values[None], rest])[::-1]
    u, w, gap = jax.lax.map(play, (jnp.linspace(0.0, 1.0, kept + 1, dtype=dtype) * horizon, value))
    return Swept(value, u, w, gap, leak, iterations, residual)


@eqx.filter_jit
def steady_state(sweep: Sweep, limit: int) -> Swept:
    """Policy iteration for the stationary problem, from zero."""
    x, zero = sweep.points(), jnp.zeros((), sweep.dtype)
    ready = sweep.prepare(zero)
    start = jnp.zeros((sweep.view.regimes, x.shape[1]), sweep.dtype)
    start = jnp.where(sweep.fixed()[None], sweep.view.terminal(x), start)
    values, policy, count, residual = sweep.solve(ready, zero, start, None, limit)
    gap = jnp.max(sweep.choose(ready, zero, values, gap=True).gap)
    return Swept(values[None], policy.u[None], policy.w[None], gap[None], None, count, residual)
