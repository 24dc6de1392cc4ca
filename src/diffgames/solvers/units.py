"""Units in which the entries of a linear-quadratic game's values are of order one, taken from the game's own data.

Costs may be in dollars or in millions, time in years or in seconds, parts of the state in what each of them likes. With
M_p = B_p R_pp⁻¹ B_pᵀ the rates of player p's game are the eigenvalues of its Hamiltonian matrix; their bound

    pace = max_p ρ( |A|  |M_p| )
                  ( |Q_p| |A|ᵀ )        ρ the spectral radius of a matrix of absolute values,

does not change with the units of costs, controls and states. Within the shorter of 1/pace and the horizon the value
equations, all data by their absolute values, carry the running costs, and as much of the terminal costs as controls
leave by then, to a matrix W_p; √(W_ii W_jj) is the unit of S_ij. All units are powers of two: no digit is lost.
In discrete time the unit of time is the step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import Coefficients, LinearQuadraticGame

SAMPLES = 9
SQUARINGS = 6


class Units(NamedTuple):
    """The unit of every entry of S, a matrix of rank one per player and regime, and rates per unit of time."""

    value: Float[Array, "players m n n"]
    pace: Float[Array, ""]


def units_of(game: LinearQuadraticGame) -> Units:
    """Units from the data, constants for differentiation."""
    c, terminal = _largest(game), jnp.abs(game.terminal)
    owner = np.repeat(np.arange(len(game.players)), game.control_sizes)
    reach = _reach(game, c, owner)
    pace = jnp.ones((), terminal.dtype) if game.discrete else _pace(game, c, reach)
    spread = _carried(game, c, terminal, owner, reach, pace)
    square = jnp.diagonal(spread, axis1=-2, axis2=-1)
    beside = jnp.where(square > 0, square, 1.0)[..., None, :]
    either = jnp.where(square[..., None, :] > 0, spread**2 / beside, spread)
    square = jnp.maximum(square, jnp.max(jnp.where(square[..., None] > 0, 0.0, either), axis=-1))
    unit = jnp.where(square > 0, jnp.exp2(jnp.round(jnp.log2(jnp.where(square > 0, square, 1.0)) / 2)), 1.0)
    return jax.lax.stop_gradient(Units(unit[..., :, None] * unit[..., None, :], pace))


def sizes(values: Float[Array, "*batch n n"], least: float) -> Float[Array, "*batch n n"]:
    """What an error in an entry, in units, is measured by: |S_ij|, √|S_ii S_jj|, and `least` of the largest entry."""
    diagonal = jnp.abs(jnp.diagonal(values, axis1=-2, axis2=-1))
    mixed = jnp.sqrt(diagonal[..., :, None]) * jnp.sqrt(diagonal[..., None, :])
    largest = jnp.max(jnp.abs(values), axis=(-2, -1), keepdims=True)
    return jnp.maximum(jnp.maximum(jnp.abs(values), mixed), least * largest)


def spectral_bound(matrix: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
    """(tr Mᵏ)^{1/k} of a matrix without negative entries, k = 64: unchanged by units of its rows and columns."""
    logarithm = jnp.zeros(matrix.shape[:-2], matrix.dtype)
    for power in range(SQUARINGS):
        largest = jnp.maximum(jnp.max(matrix, axis=(-2, -1)), 1e-290)
        logarithm = logarithm + jnp.log(largest) / 2**power
        matrix = matrix / largest[..., None, None]
        matrix = matrix @ matrix
    return jnp.exp(logarithm + jnp.log(jnp.trace(matrix, axis1=-2, axis2=-1)) / 2**SQUARINGS)


def _largest(game: LinearQuadraticGame) -> Coefficients:
    """The largest absolute value of every coefficient over a few times."""
    end = 0.0 if game.endless else jnp.asarray(game.horizon, game.terminal.dtype)
    times = jnp.linspace(0.0, 1.0, SAMPLES, dtype=game.terminal.dtype) * end
    return jax.tree.map(lambda leaf: jnp.max(jnp.abs(leaf), axis=0), jax.vmap(game.coefficients)(times))


def _reach(game: LinearQuadraticGame, c: Coefficients, owner: np.ndarray) -> Float[Array, "m K"]:
    """1/R_kk of every control, zero where its owner's own cost is zero."""
    own = jnp.stack([c.control_cost[p, :, k, k] for k, p in enumerate(owner)], axis=-1)
    return jnp.where(own > 0, 1 / jnp.where(own > 0, own, 1.0), 0.0)


def _pace(game: LinearQuadraticGame, c: Coefficients, reach: Array) -> Array:
    found = [jnp.abs(jnp.asarray(game.discount, c.drift.dtype))]
    for p, place in enumerate(game.control_slices):
        own = c.input[:, :, place]
        moved = jnp.einsum("iak,ik,ibk->iab", own, reach[:, place], own)
        rows = (
            jnp.concatenate([c.drift, moved], axis=-1),
            jnp.concatenate([c.state_cost[p], jnp.swapaxes(c.drift, -1, -2)], axis=-1),
        )
        found.append(jnp.max(spectral_bound(jnp.concatenate(rows, axis=-2))))
    pace = jnp.max(jnp.stack(found))
    none = 1.0 if game.endless else 1 / jnp.asarray(game.horizon, pace.dtype)
    return jnp.where(pace > 0, pace, none)


def _carried(
    game: LinearQuadraticGame, c: Coefficients, terminal: Array, owner: np.ndarray, reach: Array, pace: Array
) -> Float[Array, "players m n n"]:
    """W: the value equations by absolute values over one unit of time, in as many steps as there are states."""
    count, dtype = game.size + 2, pace.dtype
    span = 1 / pace if game.endless else jnp.minimum(1 / pace, jnp.asarray(game.horizon, dtype))
    crowd_map = jnp.eye(game.size, dtype=dtype) if game.crowd_map is None else jnp.abs(game.crowd_map)
    rates = jnp.abs(game.rates(jnp.zeros_like(pace), game.terminal)).astype(dtype)
    stay = jnp.eye(game.regime_count, dtype=dtype)
    away = rates + stay if game.discrete else rates * (1 - stay)

    def moved(values: Array) -> Array:
        if game.switch is None:
            return jnp.einsum("ij,pjab->piab", away, values)
        switch = jnp.abs(game.switch)
        return jnp.einsum("ij,ijba,pjbc,ijcd->piad", away, switch, values, switch)

    def once(_: Any, values: Array) -> Array:
        ahead = jnp.exp(-jnp.asarray(game.discount, dtype)) * moved(values) if game.discrete else values
        pull = jnp.einsum("iak,kiab->ikb", c.input, ahead[owner])
        bend = jnp.einsum("ikb,ibk->ik", pull, c.input) if game.discrete else 0.0
        pull = pull + jnp.stack([c.cross_cost[p, :, :, k] for k, p in enumerate(owner)], axis=1)
        cost = jnp.where(reach > 0, 1 / jnp.where(reach > 0, reach, 1.0), 0.0) + bend
        gain = jnp.where(cost > 0, 1 / jnp.where(cost > 0, cost, 1.0), 0.0)[..., None] * pull
        closed = c.drift + c.input @ gain + c.crowd_input @ gain @ crowd_map
        crossed = jnp.einsum("piak,ikb->piab", c.cross_cost, gain)
        paid = c.state_cost + jnp.einsum("ika,pikl,ilb->piab", gain, c.control_cost, gain)
        paid = paid + crossed + jnp.swapaxes(crossed, -1, -2)
        paid = paid + jnp.einsum("ikba,pibc,ikcd->piad", c.diffusion, ahead, c.diffusion)
        if game.discrete:
            return paid + jnp.einsum("iba,pibc,icd->piad", closed, ahead, closed)
        paid = paid + jnp.einsum("il,ilba,pibc,ilcd->piad", c.jump_rate, c.jump_scale, values, c.jump_scale)
        pulled = jnp.einsum("iba,pibc->piac", closed, values)
        return values + span / count * (paid + pulled + jnp.swapaxes(pulled, -1, -2) + moved(values))

    return jax.lax.fori_loop(0, count, once, terminal / (1 + span * _worth(game, c, terminal, reach)))


def _worth(game: LinearQuadraticGame, c: Coefficients, terminal: Array, reach: Array) -> Array:
    """The rate at which controls work off the terminal costs: the largest spectral radius of |M_p||G_p|."""
    found = []
    for p, place in enumerate(game.control_slices):
        own = c.input[:, :, place]
        moved = jnp.einsum("iak,ik,ibk->iab", own, reach[:, place], own)
        found.append(jnp.max(spectral_bound(moved @ terminal[p])))
    return jnp.max(jnp.stack(found))
