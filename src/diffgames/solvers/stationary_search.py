"""How a stationary solution is found: by doubling or by following the value equations, then by Newton's method.

One player in one regime with additive noise has *doubling*: with P the terminal cost, S = P + Δ, closed loop A_P and
F(P) the change of P in a step, a step of the value equations is

    Δ ↦ H + AᵀΔ (I + G Δ)⁻¹ A,      H = F(P),  A = A_P,  G = B (R + BᵀPB)⁻¹ Bᵀ,

and 2ᵏ steps have the same form (Chu, Fan, Lin & Wang 2004, structure-preserving doubling),

    A' = A (I + GH)⁻¹ A,     G' = G + A (I + GH)⁻¹ G Aᵀ,     H' = H + AᵀH (I + GH)⁻¹ A.

In continuous time a step is the exponential of the Hamiltonian matrix. Sixty doublings reach times that no other method
reaches: stiff plants are as easy as others. Where costs of control are singular (R = 0 in discrete time) P is made
positive first. All other games follow the value equations by explicit steps; what these do not reach, linearly implicit
Euler steps of growing length do, y' = y + (I/h − F')⁻¹ F(y), which end as Newton's method. Then the point reached must
attract: the Cayley transform of F' there has a spectral radius below one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.equilibration import equilibrated
from diffgames.numerics.step_size import Sized
from diffgames.solvers.base import Status
from diffgames.solvers.recursion import continuation, step_back
from diffgames.solvers.riccati import value_rate
from diffgames.solvers.stage import stage_games
from diffgames.solvers.units import Units, sizes

LEAST = 1e-6
NOTHING = 1e-6
DOUBLINGS = 64
POLISH = 48
LONG = 1e16


class Search(NamedTuple):
    """The fields of `stationary.Stationary`."""

    tolerance: float
    longest: float
    newton: float


def residual(game: LinearQuadraticGame, values: Array) -> Float[Array, "players m n n"]:
    """What a stationary S makes zero, but for its corner."""
    zero = jnp.zeros((), values.dtype)
    return step_back(game, zero, values)[0] - values if game.discrete else value_rate(game, zero, values)


def doubles(game: LinearQuadraticGame) -> bool:
    """Whether the game is one player's, in one regime, with noise that is known to be additive."""
    noise = game.diffusion
    if callable(noise) or isinstance(noise, Tracer):
        return False
    additive = noise is None or not np.any(np.asarray(noise)[..., :-1])
    plain = game.jump_scale is None and game.regime_count == 1 and not game.has_crowd
    return len(game.players) == 1 and additive and plain


def doubled(game: LinearQuadraticGame, units: Units) -> tuple[Float[Array, "1 1 n n"], Array]:
    """S in its units after 2ᵏ steps, k as large as needed, and the status."""
    eye = jnp.eye(game.size, dtype=game.terminal.dtype)
    unit = jnp.sqrt(jnp.diagonal(units.value[0, 0]))
    first, closed, reach, change = _first_step(game, units, unit, eye)
    inner = 1.0 - eye * eye[-1:]

    def going(carry):
        _, _, values, moved, count = carry
        small = jnp.all(moved <= 1e-13 * measure(values))
        return ~small & (count < DOUBLINGS) & jnp.all(jnp.isfinite(values * inner))

    def measure(values):
        return jnp.maximum(sizes((first + values) * inner, LEAST), NOTHING)

    def once(carry):
        closed, reach, values, _, count = carry
        found = jnp.linalg.solve(eye + reach @ values, jnp.concatenate([closed, reach], axis=1))
        after, spread = found[:, : eye.shape[0]], found[:, eye.shape[0] :]
        moved = closed.T @ values @ after
        reach = reach + closed @ spread @ closed.T
        return (
            closed @ after,
            (reach + reach.T) / 2,
            values + (moved + moved.T) / 2,
            jnp.abs(moved + moved.T) / 2 * inner,
            count + 1,
        )

    carry = (closed, reach, change, jnp.full_like(eye, jnp.inf), 0)
    _, _, values, moved, _ = jax.lax.while_loop(going, once, carry)
    good = jnp.all(moved <= 1e-8 * measure(values))
    return ((first + values) * inner)[None, None], jnp.where(good, int(Status.SOLVED), int(Status.NOT_STATIONARY))


def _first_step(game: LinearQuadraticGame, units: Units, unit: Array, eye: Array) -> tuple[Array, Array, Array, Array]:
    """P, A, G and H of the first step, in units."""
    zero, inner = jnp.zeros((), eye.dtype), 1.0 - eye * eye[-1:]
    c, discount = game.coefficients(zero), jnp.asarray(game.discount, eye.dtype)
    first, own = game.terminal[0, 0] * inner, c.input[0]
    if game.discrete:
        bend = c.control_cost[0, 0] + jnp.exp(-discount) * own.T @ first @ own
        spread = jnp.linalg.svd(equilibrated(bend), compute_uv=False)
        first = jnp.where(spread.min() > 1e-13 * spread.max(), first, first + jnp.diag(unit**2) * inner)
    values = first[None, None]
    stage = stage_games(game, c, continuation(game, zero, values) if game.discrete else values)
    reach = own @ jnp.linalg.solve(stage.curvature[0][0], own.T)
    closed = c.drift[0] + own @ stage.gain[0]
    change = residual(game, values)[0, 0] * inner
    row, column = unit[:, None], unit[None]
    first, change = first / row / column, change / row / column
    closed, reach = row * closed / column, row * reach * column
    if game.discrete:
        return first, jnp.exp(-discount / 2) * closed, jnp.exp(-discount) * reach, change
    closed = closed - discount / 2 * eye
    closed, reach, change = (matrix / units.pace for matrix in (closed, reach, change))
    flow = jnp.concatenate(
        [jnp.concatenate([closed, -reach], axis=1), jnp.concatenate([-change, -closed.T], axis=1)], axis=0
    )
    flow = jax.scipy.linalg.expm(flow / (2 * jnp.maximum(jnp.max(jnp.sum(jnp.abs(flow), axis=0)), 1.0)))
    n = eye.shape[0]
    found = jnp.linalg.solve(flow[n:, n:], jnp.concatenate([flow[n:, :n], eye], axis=1))
    change, closed = -found[:, :n], found[:, n:].T
    reach = -flow[:n, n:] @ closed.T
    return first, closed, (reach + reach.T) / 2, (change + change.T) / 2


def settled(search: Search, game: LinearQuadraticGame, units: Units) -> tuple[Float[Array, "players m n n"], Array]:
    """S in its units after which nothing changes any more, and the status."""
    free = jnp.ones_like(game.terminal).at[..., -1, -1].set(0.0)
    start = game.terminal / units.value * free

    def change(values: Array) -> Array:
        return residual(game, values * units.value) / units.value / units.pace * free

    def still(values: Array) -> Array:
        allowed = jnp.maximum(sizes(values, LEAST), NOTHING)
        return jnp.all(jnp.abs(change(values)) <= search.tolerance * allowed)

    def bounded(values: Array) -> Array:
        return jnp.max(jnp.abs(values)) < 1e100

    if game.discrete:

        def going(carry):
            values, step = carry
            return ~still(values) & (step < search.longest) & bounded(values)

        zero = jnp.zeros((), start.dtype)
        values, _ = jax.lax.while_loop(going, lambda carry: (carry[0] + change(carry[0]), carry[1] + 1), (start, zero))
    else:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda tau, y, args: change(y)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=search.longest,
            dt0=1e-3,
            y0=start,
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=Sized(1e-8, 1e-10),
            event=diffrax.Event(lambda t, y, args, **_: still(y) | ~bounded(y)),
            max_steps=65_536,
            throw=False,
        )
        assert solution.ys is not None
        values = solution.ys[-1]
    unfinished = jnp.where(bounded(values), int(Status.SLOW), int(Status.NOT_STATIONARY))
    return values, jnp.where(still(values), int(Status.SOLVED), unfinished)


def polished(
    search: Search, equation: Callable[[Array], Array], measure: Callable[[Array], Array], start: Array, code: Array
) -> tuple[Array, Array]:
    """The root of the equation near the start (the one that attracts it, where it is not close yet), and the status.

    Differentiable by the implicit function theorem.
    """
    near = code == Status.SOLVED

    def solve(f: Callable, flat: Array) -> tuple[Array, Array]:
        jacobian = jax.jacfwd(f)

        def going(carry):
            _, h, moved, before, count = carry
            done = (h >= LONG) & ((moved < search.newton) | ((moved < 1e-9) & (moved > before / 2)))
            return ~done & (count < POLISH) & (moved < jnp.inf)

        def once(carry):
            flat, h, moved, _, count = carry
            step = jnp.linalg.solve(jnp.eye(flat.size, dtype=flat.dtype) / h - jacobian(flat), f(flat))
            new = jnp.max(jnp.abs(step) / measure(flat + step))
            return flat + step, jnp.minimum(8 * h, LONG), jnp.where(jnp.isfinite(new), new, jnp.inf), moved, count + 1

        zero = jnp.zeros((), flat.dtype)
        carry = (flat, jnp.where(near, LONG, 1.0), zero + 1e9, zero + 1e9, 0)
        found, _, moved, _, _ = jax.lax.while_loop(going, once, carry)
        return found, moved

    def tangent(g: Callable, right: Array) -> Array:
        return jnp.linalg.solve(jax.vmap(g, in_axes=1, out_axes=1)(jnp.eye(right.size, dtype=right.dtype)), right)

    root, moved = jax.lax.custom_root(equation, start, solve, tangent, has_aux=True)
    fixed = jax.lax.stop_gradient(root)
    close = jnp.max(jnp.abs(fixed - start) / measure(fixed)) < 1e-2
    exact = (jax.lax.stop_gradient(moved) < 1e-9) & jnp.all(jnp.isfinite(fixed))
    far = exact & ~near
    reached = close | jax.lax.cond(far, lambda: _attracts(jax.jacfwd(equation)(fixed)), lambda: jnp.zeros_like(far))
    lost = jnp.where(near, int(Status.INEXACT), code)
    return root, jnp.where(exact & reached, int(Status.SOLVED), lost)


def _attracts(jacobian: Float[Array, "k k"]) -> Array:
    """Whether all eigenvalues have negative real parts, by powers of the Cayley transform."""
    eye = jnp.eye(jacobian.shape[0], dtype=jacobian.dtype)

    def squared(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        matrix, logarithm = carry
        largest = jnp.max(jnp.abs(matrix))
        matrix = matrix / largest
        return matrix @ matrix, 2 * (logarithm + jnp.log(largest))

    start = (jnp.linalg.solve(eye - jacobian, eye + jacobian), jnp.zeros((), jacobian.dtype))
    matrix, logarithm = jax.lax.fori_loop(0, 40, squared, start)
    return logarithm + jnp.log(jnp.max(jnp.abs(matrix))) < 0
