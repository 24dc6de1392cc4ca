"""Games in games, committed reading: whole policies over the regimes, which the inner players know and answer.

In the feedback reading (`solvers.switching_game`) the outer players take V as given. If instead α and β are policies on
[0, T] that the inner players re-solve for, then V = V^{α,β} moves with them, and so do the stress φ(V) and the inner
feedback (u*, w*) in the equation of U (Pan & Zhu 2025, φ(V_i^{α,β}) inside the min–max). The players then play

    min_α max_β J(α, β) = Σ_{i,x} weights_i(x) U_i^{α,β}(0, x)

over tables α[t, i, x, a], β[t, i, x, b], constant between kept times. With π_ab = α_a β_b the gradient

    G_ab(t, i, x) = ∂J/∂π_ab    (the mass that gets there × the total stage game, V's answer included)

comes from the adjoint of the backward sweep; where V did not move it would be the mass times the feedback stage game. A
fixed point is a pair whose (α, β)(t, i, x) solves the matrix game G(t, i, x) everywhere. It is sought from the feedback
solution: every (t, i, x) moves towards the saddle point of its matrix by a share of its own, which shrinks where the
direction has just turned and grows where it has not. What is left,

    gap = Σ_{t,i,x} [max_b (αᵀG)_b − min_a (Gβ)_a] ≥ 0,

is what both sides could gain in J to first order. Pure actions (`mixed=False`) jump instead, and may have no fixed
point. The weights matter here; in the feedback reading they do not.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame
from diffgames.numerics.grid import Grid
from diffgames.solvers.control_search import AbstractControlSearch
from diffgames.solvers.grid_sweep import Ready, Sweep
from diffgames.solvers.isaacs import check_values, leaks
from diffgames.solvers.matrix_game import solve_matrix_game, solve_pure
from diffgames.solvers.switching_game import (
    MacroGame,
    SwitchingSolution,
    first_leak,
    inner_and_outer,
    prepared,
    sweep_both,
    switching_solution,
)

FIRST_SHARE, GROWTH, SHRINKAGE = 0.5, 1.1, 0.6
Carry = tuple[Array, Array, Array | None]
Policies = tuple[Float[Array, "kept regimes points defender"], Float[Array, "kept regimes points attacker"]]


class Players(eqx.Module):
    """What the iteration carries: policies, shares, last moves, the policies of least gap, that gap, J and a count."""

    policies: Policies
    shares: tuple[Array, Array]
    moves: Policies
    best: Policies
    gap: Array
    value: Array
    count: Array


def solve_committed_switching(
    game: DifferentialGame,
    macro: MacroGame,
    grid: Grid,
    *,
    weights: Float[Array, "regimes points"] | None = None,
    search: AbstractControlSearch | None = None,
    keep: int = 10,
    steps: int | None = None,
    breaks: tuple[float, ...] = (),
    tolerance: float = 1e-6,
    most: int = 100,
    leak_tolerance: float | None = 0.05,
) -> SwitchingSolution:
    """A fixed point of committed policies, constant on each of `keep` intervals of the horizon.

    `weights` of the starting states (≥ 0, not all 0; None: all alike). The solution's `gap` is the first-order one
    above; it has to fall below `tolerance` Σ weights |U(0)|, U of the feedback reading, which `RunFailed` says if it
    does not in `most` iterations.
    `breaks` and `leak_tolerance` as of `solvers.switching_game.solve_switching_game`.
    """
    sweep, mesh = prepared(game, macro, grid, search, keep, steps, breaks)
    shape = (sweep.view.regimes, grid.size)
    start = jnp.full(shape, 1.0, sweep.dtype) if weights is None else jnp.asarray(weights, sweep.dtype)
    if start.shape != shape or not (bool(jnp.all(start >= 0)) and float(jnp.sum(start)) > 0):
        raise InvalidInput("weights", f"shape {start.shape}", f"numbers ≥ 0, not all 0, of shape {shape}")
    feedback = sweep_both(sweep, macro, mesh)
    policies = (feedback.defender[:-1], feedback.attacker[:-1])
    start = start / jnp.sum(start)
    allowed = jnp.asarray(tolerance, sweep.dtype) * jnp.sum(start * jnp.abs(feedback.outer[0]))
    found = _settle(sweep, macro, start, policies, mesh, allowed, most)
    gap, value = float(found.gap), float(found.value)
    if not gap <= float(allowed):
        remedy = "more iterations (most), costs on the efforts, or the feedback reading"
        raise RunFailed(
            f"no fixed point of the committed {'mixed' if macro.mixed else 'pure'} policies found: after "
            f"{int(found.count)} iterations both sides could gain {gap:.3g} of {value:.6g}",
            remedy if macro.mixed else f"mixed actions (mixed=True), {remedy}",
        )
    solution = _solution(sweep, macro, found.best, mesh, found.gap, leaks(grid, leak_tolerance))
    check_values(grid, solution.inner, solution.leak_at_start, leak_tolerance)
    return solution


def committed_value(
    sweep: Sweep,
    macro: MacroGame,
    weights: Array,
    joint: Float[Array, "kept regimes points d a"],
    mesh: Float[Array, "kept times"],
    leaking: bool = False,
) -> tuple[Array, tuple[Array, Array, Array | None]]:
    """J, (V, U) at the kept times, increasing, and the leak, for joint actions π on the intervals between them."""
    dtype = sweep.dtype
    ready = sweep.prepare(jnp.zeros((), dtype)) if sweep.autonomous else None

    def advance(carry: Carry, times: tuple[Array, Array], now: Array) -> tuple[Carry, None]:
        t, dt = 0.5 * (times[0] + times[1]), times[0] - times[1]
        here: Ready = sweep.prepare(t) if ready is None else ready
        rates = jnp.einsum("ipab,abij->ipj", now, macro.rates)
        paid = jnp.einsum("ipab,ab->ip", now, macro.effort)
        outer = paid + jnp.einsum("ipj,jp->ip", rates, carry[1])
        return inner_and_outer(sweep, macro, here, t, dt, carry, rates, outer), None

    @jax.checkpoint
    def block(carry: Carry, inputs: tuple[Array, Array]) -> tuple[Carry, Any]:
        row, now = inputs
        carry, _ = jax.lax.scan(jax.checkpoint(lambda c, times: advance(c, times, now)), carry, (row[:-1], row[1:]))
        return carry, carry[:2]

    terminal = sweep.view.terminal(sweep.points())
    (_, outer, leak), path = jax.lax.scan(block, (terminal, terminal, first_leak(sweep, leaking)), (mesh, joint[::-1]))
    values = tuple(jnp.concatenate([terminal[None], part])[::-1] for part in path)
    return jnp.sum(weights * outer), (values[0], values[1], leak)


def _joint(policies: Policies) -> Array:
    return policies[0][..., :, None] * policies[1][..., None, :]


@eqx.filter_jit
def _settle(
    sweep: Sweep, macro: MacroGame, weights: Array, start: Policies, mesh: Array, allowed: Array, most: int
) -> Players:
    """Move until the gap is a hundredth of what is allowed, or `most` times."""

    def improve(state: Players) -> Players:
        defender, attacker = state.policies

        def objective(joint: Array) -> Array:
            return committed_value(sweep, macro, weights, joint, mesh)[0]

        value, game = jax.value_and_grad(objective)(_joint(state.policies))
        upper = jnp.max(jnp.sum(defender[..., :, None] * game, axis=-2), axis=-1)
        lower = jnp.min(jnp.sum(attacker[..., None, :] * game, axis=-1), axis=-1)
        gap = jnp.sum(upper - lower)
        size = jnp.max(jnp.abs(game), axis=(-2, -1), keepdims=True)
        scaled = game / jnp.where(size > 0, size, 1.0)
        saddle = solve_matrix_game(scaled) if macro.mixed else solve_pure(scaled)
        moves = (saddle.row - defender, saddle.column - attacker)
        shares = tuple(map(_share, state.shares, moves, state.moves)) if macro.mixed else state.shares
        after = jax.tree.map(lambda old, share, move: old + share[..., None] * move, state.policies, shares, moves)
        better = gap < state.gap
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.policies, state.best)
        return Players(
            policies=after,
            shares=(shares[0], shares[1]),
            moves=moves,
            best=best,
            gap=jnp.where(better, gap, state.gap),
            value=jnp.where(better, value, state.value),
            count=state.count + 1,
        )

    def unfinished(state: Players) -> Array:
        return (state.count < most) & (state.gap > 0.01 * allowed)

    first = FIRST_SHARE if macro.mixed else 1.0
    begin = Players(
        policies=start,
        shares=(jnp.full_like(start[0][..., 0], first), jnp.full_like(start[1][..., 0], first)),
        moves=(jnp.zeros_like(start[0]), jnp.zeros_like(start[1])),
        best=start,
        gap=jnp.asarray(jnp.inf, weights.dtype),
        value=jnp.zeros((), weights.dtype),
        count=jnp.zeros((), jnp.int32),
    )
    return jax.lax.while_loop(unfinished, improve, begin)


def _share(share: Array, move: Array, before: Array) -> Array:
    turned = jnp.sum(move * before, axis=-1) < 0
    return jnp.where(turned, SHRINKAGE * share, jnp.minimum(GROWTH * share, 1.0))


@eqx.filter_jit
def _solution(
    sweep: Sweep, macro: MacroGame, policies: Policies, mesh: Array, gap: Array, leaking: bool
) -> SwitchingSolution:
    weights = jnp.zeros((sweep.view.regimes, sweep.view.grid.size), sweep.dtype)
    _, values = committed_value(sweep, macro, weights, _joint(policies), mesh, leaking)
    alpha, beta = (jnp.concatenate([part, part[-1:]]) for part in policies)  # at T what was played until then
    return switching_solution(sweep, macro, values, (alpha, beta), gap)
