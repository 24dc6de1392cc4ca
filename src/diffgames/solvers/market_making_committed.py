"""The committed reading: attacker and stabilizer choose whole policies, and the market maker answers them.

In the feedback reading the efforts at (t, q, i) take the market maker's value as given. If instead f and g are policies
on [0, T] that the market maker knows and re-solves for, θ = θ^{f,g} moves with them, and the stress φ(θ^{f,g}) and the
fills Λ(u*(θ^{f,g})) inside the game over regimes move too. The players then play

    min_g max_f  J(f, g) = mean over regimes and inventories of U^{f,g}(0),

a saddle point of a functional. Its gradient comes from the adjoint of the backward system (reverse-mode through a
Runge–Kutta scheme of fourth order with efforts linear between grid times). With s the gradient by an additional source
in the equation of U (the mass that reaches a state) the total pulls are

    pull = ρ_f f + (∂J/∂f)/s,   push = ρ_g g − (∂J/∂g)/s,   f ← clip(pull⁺/ρ_f, 0, f̄),   g ← clip(push⁺/ρ_g, 0, ḡ),

(bang-bang in the sign where an effort is free), repeated until it stands still. Where θ did not move, pull would be
Σ_j attack_ij (U_j − U_i): the feedback efforts, from which the iteration starts. The weights of the starting states
matter here, and are equal for all; in the feedback reading they do not.

Every effort at (t, q, i) moves towards its best response by a share of its own, which shrinks where the direction has
just turned and grows where it has not: undamped, policies swing between no effort and full effort. Free efforts chatter
between the two on and on: where an attacker would switch, the market maker's answer turns the pull around, and most
parameters have no fixed point of zeros and full efforts. The shrinking shares settle them in between, which is also a
mixture of the two, rates being affine in them. How far it got is measured by what both sides could still gain to first
order, Σ (∂J/∂f)(f' − f) − Σ (∂J/∂g)(g' − g) with f', g' the best responses.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.market_making import Efforts, MarketMakingGame, best_side, dimensionless
from diffgames.solvers.market_making import (
    MarketMakerSolution,
    backward_field,
    initial_state,
    solution_from,
    solve_market_maker,
)

STIFFNESS = 1.0  # rate × step that the Runge–Kutta scheme is given
FIRST_SHARE, GROWTH, SHRINKAGE = 0.5, 1.1, 0.6
LARGEST_GAP = 1e-6  # of J, to first order: more is no fixed point
Tables = dict[str, Float[Array, "*times N K"]]


def solve_committed(
    game: MarketMakingGame, *, steps: int = 200, tolerance: float = 1e-6, most: int = 150
) -> MarketMakerSolution:
    """The saddle point of committed policies, by at most `most` iterations.

    It stops when efforts move by less than `tolerance`, free ones (which keep jumping) when the first-order gap is
    below 1e-8 of J. `RunFailed`, with the gap that is left, where that stays above 1e-6 of J: no fixed point.
    """
    if game.switching != "strategic":
        raise InvalidInput("reading", "committed", "feedback, where nobody plays over regimes (switching)")
    with jax.enable_x64(True):
        own_units, (game, unit) = game, dimensionless(game)
        feedback = solve_market_maker(game, steps=steps)
        start = {"attack": feedback.attack_effort[::-1], "stabilize": feedback.stabilize_effort[::-1]}
        substeps = _substeps(game, feedback)
        tables, residual, gap = _iterate(game, start, tolerance, most, substeps, (True, True))
        value, path = _value(tables, game, substeps)
        if not float(gap) <= LARGEST_GAP * abs(float(value)):
            raise RunFailed(
                f"no fixed point of the committed policies found: after {most} iterations they move by "
                f"{float(residual):.3g} and could gain {float(gap * unit.stress):.3g} of "
                f"{float(value * unit.stress):.6g}",
                "raise the costs effort_attack and effort_stabilize, or use reading=feedback",
            )
        effort = Efforts(attack=tables["attack"], stabilize=tables["stabilize"])
        theta, stress = unit.price * path["theta"], unit.stress * path["stress"]
        return solution_from(own_units, theta, stress, effort, jnp.all(jnp.isfinite(path["theta"])))


def committed_gains(
    game: MarketMakingGame, attack: Float[np.ndarray, "S N K"], stabilize: Float[np.ndarray, "S N K"]
) -> dict[str, tuple[float, float]]:
    """(J, gain) of the attacker and of the stabilizer when one of them alone searches for a better policy.

    The search starts from no effort and from full effort; tables in the order of time. What it finds is a lower bound
    of the gain.
    """
    with jax.enable_x64(True):
        game, unit = dimensionless(game)
        played = {"attack": jnp.asarray(attack)[::-1], "stabilize": jnp.asarray(stabilize)[::-1]}
        substeps = _substeps(game, solve_market_maker(game, steps=attack.shape[0] - 1))
        value = float(_value(played, game, substeps)[0])
        most = {"attack": game.attack_max, "stabilize": game.stabilize_max}
        found = {}
        for name, sign in (("attack", 1.0), ("stabilize", -1.0)):
            best = -math.inf
            for other in (0.0 * played[name], 0.0 * played[name] + most[name]):
                free = (name == "attack", name == "stabilize")
                tables, _, _ = _iterate(game, played | {name: other}, 1e-6, 25, substeps, free)
                best = max(best, sign * (float(_value(tables, game, substeps)[0]) - value))
            found[name] = (sign * value * float(unit.stress), best * float(unit.stress))
        return found


def _substeps(game: MarketMakingGame, feedback: MarketMakerSolution) -> int:
    sides = [jax.vmap(lambda one, sign=sign: best_side(game, one, sign).intensity)(feedback.theta) for sign in (-1, 1)]
    fills = max(float(jnp.max(jnp.sum(sides[0] + sides[1], axis=-1))), 1e-12)
    switches = float(jnp.max(jnp.sum(feedback.rates, axis=2)))
    step = float(game.horizon) / (feedback.time.shape[0] - 1)
    return max(1, math.ceil(step * (2 * fills + switches) / STIFFNESS))


def _value(tables: Tables, game: MarketMakingGame, substeps: int) -> tuple[Array, dict[str, Array]]:
    """J and the states at τ = 0, …, T for efforts (and an additional source of U) at the grid times."""
    steps = tables["attack"].shape[0] - 1
    h = game.horizon / (steps * substeps)
    zero = jnp.zeros_like(tables["attack"])
    full = {"source": zero} | tables

    def field(tau: Array, state: dict[str, Array], now: Tables) -> dict[str, Array]:
        change = backward_field(tau, state, game, Efforts(attack=now["attack"], stabilize=now["stabilize"]))
        return change | {"stress": change["stress"] + now["source"]}

    def step(state: dict[str, Array], inputs: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        index, left, right = inputs

        def at(weight: Array) -> Tables:
            return jax.tree.map(lambda a, b: (1 - weight) * a + weight * b, left, right)

        def inner(state: dict[str, Array], part: Array) -> tuple[dict[str, Array], None]:
            now = [at((part + c) / substeps) for c in (0.0, 0.5, 1.0)]
            return _runge_kutta(field, (index * substeps + part) * h, h, state, now), None

        state, _ = jax.lax.scan(inner, state, jnp.arange(substeps, dtype=h.dtype))
        return state, {name: state[name] for name in ("theta", "stress")}

    start = initial_state(game)
    order = jnp.arange(steps, dtype=h.dtype)
    left, right = jax.tree.map(lambda t: t[:-1], full), jax.tree.map(lambda t: t[1:], full)
    end, path = jax.lax.scan(jax.checkpoint(step), start, (order, left, right))
    first = {name: start[name][None] for name in path}
    return jnp.mean(end["stress"]), jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, path)


def _runge_kutta(field: Any, tau: Array, h: Array, state: dict[str, Array], now: list[Tables]) -> dict[str, Array]:
    def ahead(slope: dict[str, Array], part: float) -> dict[str, Array]:
        return jax.tree.map(lambda y, k: y + part * h * k, state, slope)

    a = field(tau, state, now[0])
    b = field(tau + 0.5 * h, ahead(a, 0.5), now[1])
    c = field(tau + 0.5 * h, ahead(b, 0.5), now[1])
    d = field(tau + h, ahead(c, 1.0), now[2])
    return jax.tree.map(lambda y, p, q, r, s: y + h / 6 * (p + 2 * q + 2 * r + s), state, a, b, c, d)


def _iterate(
    game: MarketMakingGame, start: Tables, tolerance: float, most: int, substeps: int, free: tuple[bool, bool]
) -> tuple[Tables, Array, Array]:
    """Efforts of least gap, the last move, and that gap; `free` says which of (attacker, stabilizer) moves."""
    return _repeat(game, start, jnp.asarray(tolerance), jnp.asarray(most, jnp.int32), substeps, jnp.asarray(free))


@eqx.filter_jit
def _repeat(
    game: MarketMakingGame, start: Tables, tolerance: Array, most: Array, substeps: int, free: Bool[Array, " 2"]
) -> tuple[Tables, Array, Array]:
    costless = (game.effort_attack == 0) | (game.effort_stabilize == 0)

    def improve(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        tables, shares, last, kept, _, least, _, count = carry
        full = tables | {"source": jnp.zeros_like(tables["attack"])}
        (value, _), slope = jax.value_and_grad(_value, has_aux=True)(full, game, substeps)
        pull = game.effort_attack * tables["attack"] + slope["attack"] / slope["source"]
        push = game.effort_stabilize * tables["stabilize"] - slope["stabilize"] / slope["source"]
        best = {
            "attack": _clipped(pull, game.effort_attack, game.attack_max),
            "stabilize": _clipped(push, game.effort_stabilize, game.stabilize_max),
        }
        moves = {name: jnp.where(free[row], best[name] - tables[name], 0.0) for row, name in enumerate(best)}
        gap = jnp.sum(slope["attack"] * moves["attack"]) - jnp.sum(slope["stabilize"] * moves["stabilize"])
        moved = jnp.maximum(*(jnp.max(jnp.abs(move)) for move in moves.values()))
        done = (moved <= tolerance) | (costless & (gap <= 0.01 * LARGEST_GAP * jnp.abs(value)))
        shares = jax.tree.map(
            lambda share, move, before: jnp.where(
                move * before < 0, SHRINKAGE * share, jnp.minimum(GROWTH * share, 1.0)
            ),
            shares,
            moves,
            last,
        )
        after = jax.tree.map(lambda old, share, move: old + share * move, tables, shares, moves)
        kept = jax.tree.map(lambda new, old: jnp.where(gap < least, new, old), tables, kept)
        return after, shares, moves, kept, moved, jnp.minimum(gap, least), done, count + 1

    def unfinished(carry: tuple[Any, ...]) -> Array:
        return ~carry[-2] & (carry[-1] < most)

    infinite = jnp.asarray(jnp.inf, game.horizon.dtype)
    shares, still = (jax.tree.map(lambda table, v=v: jnp.full_like(table, v), start) for v in (FIRST_SHARE, 0.0))
    begin = (start, shares, still, start, infinite, infinite, jnp.zeros((), bool), jnp.zeros((), jnp.int32))
    _, _, _, kept, moved, least, _, _ = jax.lax.while_loop(unfinished, improve, begin)
    return kept, moved, least


def _clipped(gain: Array, cost: Array, most: Array) -> Array:
    free = jnp.where(gain > 0, most, 0.0)
    return jnp.where(cost > 0, jnp.clip(gain / jnp.where(cost > 0, cost, 1.0), 0.0, most), free)
