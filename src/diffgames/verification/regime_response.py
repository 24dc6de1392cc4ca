"""Exact gaps of the outer players of a game over regimes: the attacker and the stabilizer of `games.regimes`.

Given what is stored of a profile, inner gains U(t) and efforts f(t), g(t) per regime, the inner values S and the outer
ones K are *evaluated* (no stage game enters), and each outer player's own problem is solved against the other's efforts
with the inner values as running cost, as the feedback reading says:

    attacker     −Ẇ_i = S_i + 𝓛W_i + Σ_j (μ⁰ − g λ^stab)_ij (W_j − W_i) + max_{0≤f≤1} f xᵀM_i x,
    stabilizer   −Ẇ_i = S_i + 𝓛W_i + Σ_j (μ⁰ + f λ^att)_ij (W_j − W_i) − max_{0≤g≤1} g xᵀM_i x,

M_i = Σ_j λ_ij (W_j − W_i) with the player's own rates. Where M_i is semidefinite the maximum is M_i or 0 and W exact.
Otherwise the best effort depends on x: efforts that do not bound the gain from below, the positive part of M_i in place
of the maximum from above (xᵀM x ≤ xᵀM₊x).
"""

import math
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import RunFailed
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.precision import in_double
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.solvers.base import Status
from diffgames.solvers.regimes import Switching
from diffgames.solvers.riccati import evaluation_rate, switched
from diffgames.verification.certificate import Gap, exact_gap, magnitude, not_integrated, unbounded_gap
from diffgames.verification.linear_response import ESCAPES

TIGHT = Accuracy(rtol=1e-10, atol=1e-13)
RESOLUTION = 1e-9
SELECTED = "best effort against the other's"
UNBOUNDED = "what its best effort gains escapes before the horizon; shorten the horizon"


class Efforts(eqx.Module):
    """What attacker and stabilizer play: functions of time per regime."""

    attack: Any
    stabilize: Any


@in_double
def outer_gaps(
    game: LinearQuadraticGame, switching: Switching, gain: Any, efforts: Efforts, second: Float[Array, "m n n"]
) -> tuple[Gap, Gap]:
    """Gaps of attacker and stabilizer, where second[i] = E[zzᵀ; I = i] at time 0, z = (x, 1).

    `gain(t)` is U[m, K, n]. Values are rewards: the stabilizer's is the outer cost with a minus sign.
    """
    played, low, high, code = _evaluate(game, switching, gain, efforts)
    if int(code) not in (int(Status.SOLVED), *ESCAPES):
        raise not_integrated("attacker and stabilizer")
    value = float(jnp.sum(second * played[0]))
    if not math.isfinite(value):
        raise RunFailed("the outer cost of what is played is not finite", "shorten the horizon")
    scale = float(jnp.sum(second * magnitude(played[0])))
    found = []
    for player, name, sign in ((0, "attacker", 1.0), (1, "stabilizer", -1.0)):
        least, most = (float(jnp.sum(second * part[player])) for part in (low, high))
        if not (math.isfinite(least) and math.isfinite(most)):
            found.append(unbounded_gap(name, sign * value, UNBOUNDED, SELECTED))
            continue
        gained, resolution = max(least, 0.0), RESOLUTION * scale
        entry = exact_gap(name, sign * value, gained, resolution, selected=SELECTED, scale=scale)
        most = max(most, gained) + resolution
        found.append(replace(entry, interval=(gained - resolution, most), upper=most))
    return found[0], found[1]


@eqx.filter_jit
def _evaluate(
    game: LinearQuadraticGame, switching: Switching, gain: Any, efforts: Efforts
) -> tuple[Array, Array, Array, Array]:
    """K [1, m, n, n], what attacker and stabilizer gain at least and at most [2, m, n, n], how the integration ends."""
    terminal = game.terminal[0]
    horizon = jnp.asarray(game.horizon, terminal.dtype)
    weights = (switching.attack, switching.stabilize)

    def rate(tau: Array, y: tuple[Array, ...]) -> tuple[Array, ...]:
        t = horizon - tau
        f, g = efforts.attack(t), efforts.stabilize(t)
        inner, outer, best, bound = y
        control = gain(t)
        own = (switching.rates(jnp.zeros_like(f), g), switching.rates(f, jnp.zeros_like(g)))

        def flow(values: Array, running: Array | None, rates: Array) -> Array:
            """dW/dτ under the gains at these rates, with the game's running cost or another."""
            frozen = eqx.tree_at(lambda one: one.generator, game, rates, is_leaf=lambda x: x is None)
            found = evaluation_rate(
                frozen, t, jnp.broadcast_to(values[None], game.terminal.shape), control, 0 * control
            )
            if running is None:
                return found[0]
            return found[0] - _running(game, t, control) + running

        played = switching.rates(f, g)
        changes = [flow(inner, None, played), flow(outer, inner, played)]
        for values, part in ((best, _definite), (bound, _positive)):
            moved = []
            for player, sign in ((0, 1.0), (1, -1.0)):
                risk = switched(_chain(game, weights[player]), t, values[player][None])[0]
                moved.append(flow(values[player], inner, own[player]) + sign * part(risk))
            changes.append(jnp.stack(moved))
        return tuple(changes)

    both = jnp.stack([terminal, terminal])
    found = integrate_to_go(rate, (terminal, terminal, both, both), horizon[None], TIGHT)
    _, outer, best, bound = (leaf[-1] for leaf in found.values)
    signs = jnp.asarray([1.0, -1.0])[:, None, None, None]
    good = found.code == int(Status.SOLVED)
    gains = [jnp.where(good, signs * (part - outer[None]), jnp.inf) for part in (best, bound)]
    return outer[None], gains[0], gains[1], found.code


def _running(game: LinearQuadraticGame, t: Any, gain: Array) -> Float[Array, "m n n"]:
    """The game's own running cost under the gains, as a matrix on z."""
    c = game.coefficients(t)
    crossed = jnp.einsum("iak,ikb->iab", c.cross_cost[0], gain)
    cost = c.state_cost[0] + jnp.einsum("ika,ikl,ilb->iab", gain, c.control_cost[0], gain)
    return cost + crossed + jnp.swapaxes(crossed, -1, -2)


def _chain(game: LinearQuadraticGame, weights: Array) -> LinearQuadraticGame:
    generator = weights - jnp.diag(jnp.sum(weights, axis=1))
    return eqx.tree_at(lambda one: one.generator, game, generator, is_leaf=lambda x: x is None)


def _definite(risk: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
    """M where its largest eigenvalue outweighs the smallest, else 0."""
    values = jnp.linalg.eigvalsh(risk)
    on = values[:, -1] > -values[:, 0]
    return jnp.where(on[:, None, None], risk, 0.0)


def _positive(risk: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
    """M₊."""
    values, vectors = jax.numpy.linalg.eigh(risk)
    return jnp.einsum("iak,ik,ibk->iab", vectors, jnp.maximum(values, 0.0), vectors)
