"""Exact gaps of linear-quadratic games from their matrices, in continuous and in discrete time, thousands at once.

When p deviates from u = U z (crowds ū = Ū z) by playing v, later tiers answer with the reactions T_p, T̄_p (see
`solvers.stage`), and p faces a one-player problem with

    drift A + B (U − T_p U_p) + B̄ (Ū − T̄_p U_p),    input W = B T_p + B̄ T̄_p,    u = (U − T_p U_p) z + T_p v.

Its best reply has value zᵀSz, and what p gains over v = U_p z is zᵀΔz; with the reply K* = −Λ⁻¹Γ, k = U_p − K*,

    continuous   Λ = T_pᵀRT_p,             −Δ̇ = kᵀΛk − ρΔ + 𝒜ᵀΔ + Δ𝒜 + noise, jumps, switches,    Δ(T) = 0,
    discrete     Λ = T_pᵀRT_p + WᵀS⁺W,     Δ = kᵀΛk + 𝒜ᵀΔ⁺𝒜 + Σ CᵀΔ⁺C,

𝒜 the closed loop of the profile: non-negative by construction and accurate where it is tiny. Nothing of the solver's
values enters. `linear_quadratic_response` reads the same off a game's functions; this one needs its matrices, and can
therefore be mapped over games and runs in discrete time.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.solvers.base import Status
from diffgames.solvers.recursion import continuation
from diffgames.solvers.riccati import switched
from diffgames.verification.certificate import Certificate, Gap, exact_gap, magnitude, not_integrated, unbounded_gap
from diffgames.verification.consistency import crowd_and_reactions
from diffgames.verification.player_indices import PlayerIndices, player_indices

EXACT = "exact: linear-quadratic best response"
RESOLUTION = 1e-11
PLAYED = Accuracy(rtol=1e-9, atol=1e-13)
RESPONSE = "linear-quadratic response"
ESCAPES = (int(Status.ESCAPED), int(Status.UNBOUNDED))
UNBOUNDED = (
    "the best reply escapes before the horizon or is not convex in its own control; "
    "shorten the horizon, or raise its control cost"
)


class Reply(NamedTuple):
    """At time 0: value of the best reply, what it gains over the player's own control; how its integration ended, and
    whether the problem is convex in the player's own control."""

    best: Float[Array, "m n n"]
    gain: Float[Array, "m n n"]
    code: Array
    convex: Array

    @property
    def exists(self) -> Array:
        """Whether there is a best reply, and it was found."""
        return (self.code == int(Status.SOLVED)) & self.convex


class OwnProblem(NamedTuple):
    """The matrices of the deviating player at one time, regime first."""

    drift: Float[Array, "m n n"]
    input: Float[Array, "m n k"]
    state_cost: Float[Array, "m n n"]
    cross_cost: Float[Array, "m n k"]
    control_cost: Float[Array, "m k k"]
    own: Float[Array, "m k n"]
    diffusion: Float[Array, "m noises n n"]
    jump_scale: Float[Array, "m laws n n"]
    jump_rate: Float[Array, "m laws"]


class _Unanswered(eqx.Module):
    """The gains of a profile in which nobody reacts to a deviation."""

    profile: Any

    def gain(self, t: Any) -> Float[Array, "m K n"]:
        return self.profile.gain(t)

    def crowd_gain(self, t: Any) -> Float[Array, "m K n"]:
        return self.profile.crowd_gain(t)

    def reaction(self, t: Any) -> Float[Array, "m K K"]:
        stated = self.profile.reaction(t)
        return jnp.broadcast_to(jnp.eye(stated.shape[-1], dtype=stated.dtype), stated.shape)

    def crowd_reaction(self, t: Any) -> Float[Array, "m K K"]:
        return jnp.zeros_like(self.profile.crowd_reaction(t))


def best_reply(game: LinearQuadraticGame, profile: Any, player: int, accuracy: Accuracy = PLAYED) -> Reply:
    """The exact best reply of a player; `profile` offers gain, crowd_gain, reaction and crowd_reaction of time.

    Finite horizon; a generator that is a function must be one of time alone. Values of a maximising player are its
    costs with a minus sign.
    """
    return _best_reply(game, profile, player_indices(game, player), accuracy)


@eqx.filter_jit
def _best_reply(game: LinearQuadraticGame, profile: Any, who: PlayerIndices, accuracy: Accuracy) -> Reply:
    terminal = who.sign * game.terminal[who.player]
    none = jnp.zeros_like(terminal)
    if game.discrete:
        steps = jnp.arange(int(game.horizon), dtype=terminal.dtype)

        def back(carry, t):
            best, gain, fine = carry
            best, gain, bend = _step(game, t, _own_problem(game, profile, who, t), best, gain)
            return (best, gain, fine & (jnp.linalg.eigvalsh(bend).min() > 0)), None

        (best, gain, fine), _ = jax.lax.scan(back, (terminal, none, jnp.asarray(True)), steps, reverse=True)
        return Reply(best, gain, jnp.asarray(int(Status.SOLVED)), fine)
    horizon = jnp.asarray(game.horizon, terminal.dtype)

    def rate(tau, y):
        return _rate(game, horizon - tau, _own_problem(game, profile, who, horizon - tau), *y)

    found = integrate_to_go(rate, (terminal, none), horizon[None], accuracy)
    best, gain = (leaf[-1] for leaf in found.values)
    convex = jnp.linalg.eigvalsh(_own_problem(game, profile, who, horizon).control_cost).min() > 0
    return Reply(best, gain, found.code, convex)


def _own_problem(game: LinearQuadraticGame, profile: Any, who: PlayerIndices, t: Any) -> OwnProblem:
    """What a deviating player faces at time t."""
    c, (player, place, sign) = game.coefficients(t), who
    gain, reach = profile.gain(t), profile.reaction(t)[:, :, place]
    crowd_gain, crowd_reach = profile.crowd_gain(t), profile.crowd_reaction(t)[:, :, place]
    own = gain[:, place]
    rest, crowd_rest = gain - reach @ own, crowd_gain - crowd_reach @ own
    state, control, cross = c.state_cost[player], c.control_cost[player], c.cross_cost[player]
    mixed = cross @ rest
    return OwnProblem(
        drift=c.drift + c.input @ rest + c.crowd_input @ crowd_rest,
        input=c.input @ reach + c.crowd_input @ crowd_reach,
        state_cost=sign * (state + mixed + _t(mixed) + _t(rest) @ control @ rest),
        cross_cost=sign * (cross + _t(rest) @ control) @ reach,
        control_cost=sign * _t(reach) @ control @ reach,
        own=own,
        diffusion=c.diffusion,
        jump_scale=c.jump_scale,
        jump_rate=c.jump_rate,
    )


def _rate(game: LinearQuadraticGame, t: Any, one: OwnProblem, best: Array, gain: Array) -> tuple[Array, Array]:
    slope = _t(one.cross_cost) + _t(one.input) @ best
    reply = -jnp.linalg.solve(one.control_cost, slope)
    excess = one.own - reply
    closed = one.drift + one.input @ one.own

    pulled, followed = _t(one.drift) @ best, _t(closed) @ gain
    best_rate = one.state_cost + pulled + _t(pulled) - _t(slope) @ jnp.linalg.solve(one.control_cost, slope)
    gain_rate = _t(excess) @ one.control_cost @ excess + followed + _t(followed)
    return best_rate + _spread(game, t, one, best), gain_rate + _spread(game, t, one, gain)


def _spread(game: LinearQuadraticGame, t: Any, one: OwnProblem, value: Array) -> Array:
    """What noise, jumps, switches and the discount add to the rate of a value."""
    noise = jnp.einsum("ikba,ibc,ikcd->iad", one.diffusion, value, one.diffusion)
    jumped = jnp.einsum("il,ilba,ibc,ilcd->iad", one.jump_rate, one.jump_scale, value, one.jump_scale)
    moved = switched(game, t, value[None])[0]
    return noise + jumped + moved - jnp.asarray(game.discount, value.dtype) * value


def _step(game: LinearQuadraticGame, t: Any, one: OwnProblem, best: Array, gain: Array) -> tuple[Array, Array, Array]:
    ahead, ahead_gain = (continuation(game, t, value[None])[0] for value in (best, gain))
    bend = one.control_cost + _t(one.input) @ ahead @ one.input
    slope = _t(one.cross_cost) + _t(one.input) @ ahead @ one.drift
    saved = jnp.linalg.solve(bend, slope)
    excess = one.own + saved
    closed = one.drift + one.input @ one.own

    def spread(value: Array) -> Array:
        return jnp.einsum("ikba,ibc,ikcd->iad", one.diffusion, value, one.diffusion)

    best = one.state_cost + _t(one.drift) @ ahead @ one.drift - _t(slope) @ saved + spread(ahead)
    gain = _t(excess) @ bend @ excess + _t(closed) @ ahead_gain @ closed + spread(ahead_gain)
    return (best + _t(best)) / 2, gain, bend


@eqx.filter_jit
def _played_value(game: LinearQuadraticGame, profile: Any, who: PlayerIndices) -> Float[Array, "m n n"]:
    """P: what a player's own control costs it at time 0 from z, zᵀPz. Linear, so that it exists where no reply does."""
    terminal = who.sign * game.terminal[who.player]

    def closed(t: Any) -> OwnProblem:
        """The player's problem with its own control put in."""
        one = _own_problem(game, profile, who, t)
        crossed = one.cross_cost @ one.own
        paid = one.state_cost + crossed + _t(crossed) + _t(one.own) @ one.control_cost @ one.own
        return one._replace(drift=one.drift + one.input @ one.own, state_cost=paid)

    if game.discrete:
        steps = jnp.arange(int(game.horizon), dtype=terminal.dtype)

        def back(value, t):
            one, ahead = closed(t), continuation(game, t, value[None])[0]
            noise = jnp.einsum("ikba,ibc,ikcd->iad", one.diffusion, ahead, one.diffusion)
            return one.state_cost + _t(one.drift) @ ahead @ one.drift + noise, None

        return jax.lax.scan(back, terminal, steps, reverse=True)[0]
    horizon = jnp.asarray(game.horizon, terminal.dtype)

    def rate(tau, value):
        one = closed(horizon - tau)
        pulled = _t(one.drift) @ value
        return one.state_cost + pulled + _t(pulled) + _spread(game, horizon - tau, one, value)

    return integrate_to_go(rate, terminal, horizon[None], PLAYED).values[-1]


def matrix_gaps(
    game: LinearQuadraticGame,
    profile: Any,
    starts: Float[Array, "m n n"] | Float[Array, "s m n n"],
    players: tuple[int, ...] | None = None,
    *,
    nash: bool = False,
) -> Certificate:
    """Certificate of exact gaps, where starts[s, i] = E[zzᵀ; I = i] at time 0, z = (x, 1), of a law or of several.

    Of several the start counts from which a player gains most. Games with a crowd or tiers have the entries of
    `verification.consistency` as well. A gain without bound is an entry, ∞ with its reason. Values are rewards: a
    minimising player's is its cost with a minus sign. With `nash` nobody reacts to a deviation, whatever the tiers.
    """
    game = _with_numbers(game)
    starts = starts if starts.ndim == 4 else starts[None]
    chosen = range(len(game.players)) if players is None else players
    judged = _Unanswered(profile) if nash else profile
    entries = [_entry(game, judged, player, starts) for player in chosen]
    beside = crowd_and_reactions(game, profile, starts, reactive=not nash)
    return Certificate(entries=(*entries, *beside), how=EXACT)


def _entry(game: LinearQuadraticGame, profile: Any, player: int, starts: Float[Array, "s m n n"]) -> Gap:
    reply, label = best_reply(game, profile, player), game.players[player].name
    if not bool(reply.exists):
        if bool(reply.convex) and int(reply.code) not in ESCAPES:
            raise not_integrated(label)
        value = -float(jnp.sum(starts[0] * _played_value(game, profile, player_indices(game, player))))
        return unbounded_gap(label, value, UNBOUNDED, RESPONSE)
    gains = jnp.einsum("siab,iab->s", starts, reply.gain)
    second = starts[int(jnp.argmax(gains))]
    gain, best = float(jnp.max(gains)), float(jnp.sum(second * reply.best))
    scale = float(jnp.sum(second * magnitude(reply.best + reply.gain)))
    return exact_gap(label, -best - gain, gain, RESOLUTION * scale, selected=RESPONSE, scale=scale)


def _with_numbers(game: LinearQuadraticGame) -> LinearQuadraticGame:
    """The game with horizon and discount as arrays, so that another value is no other program (steps shape one)."""
    horizon = game.horizon if game.discrete else jnp.asarray(game.horizon, game.terminal.dtype)
    return dataclasses.replace(game, horizon=horizon, discount=jnp.asarray(game.discount, game.terminal.dtype))


def _t(matrix: Array) -> Array:
    return jnp.swapaxes(matrix, -1, -2)
