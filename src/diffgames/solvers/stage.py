"""The stage game of a linear-quadratic game: all controls as linear feedback, by tiers, each tier one linear system.

At one instant, in one regime, player p weighs its control against its value S_p (see `games.linear_quadratic`):

    continuous time   uᵀR_p u + 2 zᵀN_p u + 2 zᵀS_p (A z + B u + B̄ ū),
    discrete time     uᵀR_p u + 2 zᵀN_p u + (A z + B u + B̄ ū)ᵀ S_p (A z + B u + B̄ ū),   S_p the continuation value.

Tiers are solved from the last to the first. Let later tiers react by u = F_z z + F_u u. Then p's choice moves all
controls by T_p = F_u[:, p], the crowds' by T̄_p, the state by W_p = B T_p + B̄ T̄_p, and it is optimal where

    T_pᵀ (R_p u + N_pᵀ z) + W_pᵀ g_p = 0,     g_p = S_p z   or   S_p (A z + B u + B̄ ū).

With the crowd's answer ū = X_z J z + X_u u this is, for the players of a tier together, X_u = (L + L̄)⁻¹ rhs_u and X_z
from L X_z + L̄ X_z J = rhs, one linear system in the entries of X_z (in continuous time L̄ = 0).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import Coefficients, LinearQuadraticGame


class Stage(NamedTuple):
    """Feedback in one regime: u = gain·z, ū = crowd_gain·z; column p of the reactions is how all answer a move of p.

    `curvature` holds, per player, the Hessian of what it weighs in its own control (times its sign), `systems` the
    matrices inverted for each tier, the crowd-consistent ones after the plain ones.
    """

    gain: Float[Array, "K n"]
    crowd_gain: Float[Array, "K n"]
    reaction: Float[Array, "K K"]
    crowd_reaction: Float[Array, "K K"]
    curvature: tuple[Float[Array, "k k"], ...]
    systems: tuple[Float[Array, "t t"], ...]


class StageData(NamedTuple):
    """The coefficients of one regime."""

    drift: Float[Array, "n n"]
    input: Float[Array, "n K"]
    crowd_input: Float[Array, "n K"]
    control_cost: Float[Array, "players K K"]
    cross_cost: Float[Array, "players n K"]


def stage_games(game: LinearQuadraticGame, c: Coefficients, values: Float[Array, "players m n n"]) -> Stage:
    """The stage game of every regime (leading axis m); in discrete time `values` are continuation values."""

    def one(drift, own, crowd, control, cross, value):
        return solve_stage(game, StageData(drift, own, crowd, control, cross), value)

    axes = (0, 0, 0, 1, 1, 1)
    return jax.vmap(one, in_axes=axes)(c.drift, c.input, c.crowd_input, c.control_cost, c.cross_cost, values)


def solve_stage(game: LinearQuadraticGame, data: StageData, values: Float[Array, "players n n"]) -> Stage:
    """The stage game of one regime."""
    n, total, slices = data.drift.shape[0], data.input.shape[1], game.control_slices
    dtype = data.drift.dtype
    crowd_map = jnp.eye(n, dtype=dtype) if game.crowd_map is None else jnp.asarray(game.crowd_map, dtype)
    answer_z, answer_u = jnp.zeros((total, n), dtype), jnp.eye(total, dtype=dtype)
    crowd_z, crowd_u = jnp.zeros((total, n), dtype), jnp.zeros((total, total), dtype)
    reaction, crowd_reaction = answer_u, crowd_u
    curvature: list[Array | None] = [None] * len(game.players)
    systems: list[Array] = []
    for tier in reversed(game.tiers):
        own = jnp.concatenate([jnp.arange(slices[p].start, slices[p].stop) for p in tier])
        rows = []
        for p in tier:
            reach, crowd_reach = answer_u[:, slices[p]], crowd_u[:, slices[p]]
            reaction = reaction.at[:, slices[p]].set(reach)
            crowd_reaction = crowd_reaction.at[:, slices[p]].set(crowd_reach)
            in_u, in_crowd, in_z, bend = _stationarity(game, data, values[p], p, reach, crowd_reach)
            curvature[p] = game.players[p].sign * bend
            rows.append((in_u, in_crowd, in_z))
        in_u, in_crowd, in_z = (jnp.concatenate(part) for part in zip(*rows, strict=True))
        system = in_u @ answer_u[:, own] + in_crowd @ crowd_u[:, own]
        crowded = system + in_crowd[:, own]
        systems += [system] if not (game.discrete and game.has_crowd) else [system, crowded]
        rhs_z = -(in_u @ answer_z + in_crowd @ crowd_z + in_z)
        rhs_u = -(in_u @ answer_u + in_crowd @ crowd_u)
        if game.discrete and game.has_crowd:
            found = _consistent(system, in_crowd[:, own], crowd_map, rhs_z)
        else:
            found = solve_small(system, rhs_z)
        common = found @ crowd_map
        earlier = jnp.ones(total, dtype).at[own].set(0.0)
        answered = solve_small(crowded, rhs_u) * earlier[None] if len(game.tiers) > 1 else jnp.zeros_like(rhs_u)
        answer_z = answer_z + answer_u[:, own] @ found
        crowd_z = (crowd_z + crowd_u[:, own] @ found).at[own].set(common)
        crowd_u = (crowd_u * earlier[None] + crowd_u[:, own] @ answered).at[own].set(answered)
        answer_u = answer_u * earlier[None] + answer_u[:, own] @ answered
    return Stage(answer_z, crowd_z, reaction, crowd_reaction, tuple(curvature), tuple(systems))  # pyright: ignore[reportArgumentType] - every player is in a tier


def _stationarity(
    game: LinearQuadraticGame, data: StageData, value: Array, p: int, reach: Array, crowd_reach: Array
) -> tuple[Array, Array, Array, Array]:
    """Coefficients of u, ū and z in p's first-order condition, and the second derivative."""
    moves = data.input @ reach + data.crowd_input @ crowd_reach
    in_u = reach.T @ data.control_cost[p]
    in_z = reach.T @ data.cross_cost[p].T
    bend = in_u @ reach
    if not game.discrete:
        return in_u, jnp.zeros_like(in_u), in_z + moves.T @ value, bend
    pulled = moves.T @ value
    return (
        in_u + pulled @ data.input,
        pulled @ data.crowd_input,
        in_z + pulled @ data.drift,
        bend + pulled @ moves,
    )


def _consistent(own: Array, crowd: Array, crowd_map: Array, rhs: Float[Array, "t n"]) -> Float[Array, "t n"]:
    """X with own X + crowd X J = rhs."""
    together = jnp.kron(own, jnp.eye(crowd_map.shape[0], dtype=own.dtype)) + jnp.kron(crowd, crowd_map.T)
    return jnp.linalg.solve(together, rhs.reshape(-1)).reshape(rhs.shape)


def solve_small(matrix: Float[Array, "k k"], rhs: Float[Array, "k j"]) -> Float[Array, "k j"]:
    """matrix⁻¹ rhs, written out for one and two rows, which a batch of thousands of games runs much faster."""
    if matrix.shape[0] == 1:
        return rhs / matrix
    if matrix.shape[0] == 2:
        (a, b), (c, d) = (matrix[0, 0], matrix[0, 1]), (matrix[1, 0], matrix[1, 1])
        adjugate = jnp.stack([jnp.stack([d, -b]), jnp.stack([-c, a])])
        return (adjugate @ rhs) / (a * d - b * c)
    return jnp.linalg.solve(matrix, rhs)
