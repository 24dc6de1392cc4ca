"""What a best reply cannot see: whether a crowd plays what its members play, and how later tiers answer earlier ones.

A player that replies to a crowd takes the crowd as it is, a leader takes its followers' reactions as they are stated.
Both gaps are zero at a crowd, or at reactions, that nobody would play. Two more entries tell.

**consistency** With members' control u_p = U_p z, the map J to the crowd's state and the reactions T to the controls of
earlier tiers e, the crowd should play M z, M_p = U_p J + T_pe (U_e − U_e J). If it plays Ū z instead, members' costs
are misjudged by zᵀDz, with S their value beside the crowd M and E = B̄ (Ū − M),

    continuous   −Ḋ = EᵀS + SE − ρD + 𝒜ᵀD + D𝒜 + noise, jumps, switches,    D(T) = 0,
    discrete     D = EᵀS⁺𝒜 + (𝒜 − E)ᵀS⁺E + 𝒜ᵀD⁺𝒜 + Σ CᵀD⁺C;

the entry is E[zᵀ|D|z], the eigenvalues of D by their absolute values.

**reaction** When player l of an earlier tier adds v to its control, p should answer at its best for the moment. Where
its answer T_p v is stated, the most it could still save per unit of time is vᵀGᵀΛ⁻¹Gv,

    continuous   Λ = T_pᵀRT_p,  G = T_pᵀR T_l,    discrete   Λ = T_pᵀRT_p + W_pᵀS⁺W_p,  G = T_pᵀR T_l + W_pᵀS⁺W_l,

W = BT + B̄T̄. The entry sums it over the unit vectors v and the time, discounted, in the regime where it is largest; a
crowd that answers v otherwise than its members (by δ) adds vᵀδᵀΛδv.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.differential import Profile
from diffgames.games.linear_quadratic import Coefficients, LinearQuadraticGame
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.solvers.base import Status
from diffgames.solvers.recursion import continuation
from diffgames.solvers.riccati import switched
from diffgames.verification.certificate import Gap, exact_gap, magnitude, not_integrated, unbounded_gap
from diffgames.verification.deviator_matrices import LIKENESS
from diffgames.verification.player_indices import PlayerIndices, player_indices

NODES = 33  # of Simpson's rule over the reactions' time
ACCURACY = Accuracy(rtol=1e-9, atol=1e-13)


class Gains(NamedTuple):
    """What all play at one time, regime first: u = U z, ū = Ū z, and the answers to a player's added control."""

    own: Float[Array, "m K n"]
    crowd: Float[Array, "m K n"]
    reaction: Float[Array, "m K K"]
    crowd_reaction: Float[Array, "m K K"]


class ReadGains(eqx.Module):
    """The gains of any affine profile of a linear-quadratic game, from its values at the unit vectors."""

    profile: Profile
    game: LinearQuadraticGame

    def gain(self, t: Any) -> Float[Array, "m K n"]:
        """U(t)."""
        return self._states(t)[0]

    def crowd_gain(self, t: Any) -> Float[Array, "m K n"]:
        """Ū(t), zero without a crowd."""
        return self._states(t)[1]

    def reaction(self, t: Any) -> Float[Array, "m K K"]:
        """T(t), column by column what all play when a component is raised by one; the unit matrix without `respond`."""
        return self._answers(t)[0]

    def crowd_reaction(self, t: Any) -> Float[Array, "m K K"]:
        """T̄(t)."""
        return self._answers(t)[1]

    def exact(self, draws: int = 8) -> bool:
        """Whether the profile is affine, so that these gains are all of it: asked at random times, states, controls."""
        rng, n = np.random.default_rng(0), self.game.size - 1
        times = jnp.asarray(rng.uniform(size=draws)) * self.game.horizon
        times = jnp.floor(times) if self.game.discrete else times
        regimes = jnp.asarray(rng.integers(self.game.regime_count, size=draws), jnp.int32)
        points, added = (jnp.asarray(rng.normal(size=(draws, k))) for k in (n, sum(self.game.control_sizes)))
        found, read = _asked(self, times, points, regimes, added)
        return bool(jnp.all(jnp.abs(found - read) <= LIKENESS * jnp.max(jnp.abs(read), axis=-1, keepdims=True)))

    def _controls(self, controls: Any) -> tuple[Array, Array]:
        count = len(self.game.players)
        own = jnp.concatenate(list(controls[:count]))
        return own, (controls[count] if self.game.has_crowd else jnp.zeros_like(own))

    def _states(self, t: Any) -> tuple[Array, Array]:
        n = self.game.size - 1
        points = jnp.concatenate([jnp.eye(n), jnp.zeros((1, n))])

        def one(i):
            values = jax.vmap(lambda x: self._controls(self.profile(jnp.asarray(t), x, i)), out_axes=-1)(points)
            own, crowd = (jnp.concatenate([v[:, :n] - v[:, n:], v[:, n:]], axis=1) for v in values)
            return own, crowd

        return jax.vmap(one)(self._regimes)

    def _answers(self, t: Any) -> tuple[Array, Array]:
        m, total = self.game.regime_count, sum(self.game.control_sizes)
        if not hasattr(self.profile, "respond"):
            return jnp.broadcast_to(jnp.eye(total), (m, total, total)), jnp.zeros((m, total, total))
        x = jnp.zeros(self.game.size - 1)

        def one(i, player, size):
            def answer(v):
                return self._controls(self.profile.respond(jnp.asarray(t), x, i, player, v))  # pyright: ignore

            still = answer(jnp.zeros(size))
            moved = jax.vmap(answer, out_axes=-1)(jnp.eye(size))
            return tuple(a - b[:, None] for a, b in zip(moved, still, strict=True))

        columns = [
            jax.vmap(lambda i, p=p, size=size: one(i, p, size))(self._regimes)
            for p, size in enumerate(self.game.control_sizes)
        ]
        return tuple(jnp.concatenate(parts, axis=-1) for parts in zip(*columns, strict=True))  # pyright: ignore

    @property
    def _regimes(self) -> Array:
        return jnp.arange(self.game.regime_count, dtype=jnp.int32)


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0, 0, 0, 0))
def _asked(read: ReadGains, t: Array, x: Array, i: Array, added: Array) -> tuple[Array, Array]:
    """What all play at a state, and when each player in turn adds something to its control: found, and as read."""
    profile, places = read.profile, read.game.control_slices
    z = jnp.append(x, 1.0)
    own, crowd = read.gain(t)[i] @ z, read.crowd_gain(t)[i] @ z
    found, wanted = [jnp.concatenate(read._controls(profile(t, x, i)))], [jnp.concatenate([own, crowd])]
    if hasattr(profile, "respond"):
        moved, crowd_moved = read.reaction(t)[i], read.crowd_reaction(t)[i]
        for player, place in enumerate(places):
            v = added[place]
            answer = profile.respond(t, x, i, player, own[place] + v)  # pyright: ignore
            found.append(jnp.concatenate(read._controls(answer)))
            wanted.append(jnp.concatenate([own + moved[:, place] @ v, crowd + crowd_moved[:, place] @ v]))
    return jnp.stack(found), jnp.stack(wanted)


def crowd_and_reactions(
    game: LinearQuadraticGame, profile: Any, second: Float[Array, "s m n n"], *, reactive: bool = True
) -> tuple[Gap, ...]:
    """The entries `consistency` (games with a crowd) and `reaction` (games with tiers), the worst of all players.

    `profile` offers gain, crowd_gain, reaction and crowd_reaction of time (`ReadGains` reads them off any affine one);
    second[s, i] = E[zzᵀ; I = i] at time 0 for the starts s, of which the worst counts.
    """
    entries = []
    if game.has_crowd:
        members = [p for p, player in enumerate(game.players) if player.crowd_input is not None]
        entries.append(max((_consistency(game, profile, p, second) for p in members), key=lambda entry: entry.gain))
    if reactive and len(game.tiers) > 1:
        pairs = [
            (earlier, later)
            for number, tier in enumerate(game.tiers)
            for later in tier
            for before in game.tiers[:number]
            for earlier in before
        ]
        entries.append(max((_reaction(game, profile, *pair) for pair in pairs), key=lambda entry: entry.gain))
    return tuple(entries)


def _consistency(game: LinearQuadraticGame, profile: Any, player: int, second: Array) -> Gap:
    value, misjudged, solved = _crowd_values(game, profile, player_indices(game, player))
    if not bool(solved):
        raise not_integrated(f"{game.players[player].name} beside its crowd")
    gains = jnp.einsum("siab,iab->s", second, magnitude(misjudged))
    worst, played = int(jnp.argmax(gains)), value + misjudged
    return exact_gap(
        "consistency",
        -float(jnp.sum(second[worst] * played)),
        float(gains[worst]),
        0.0,
        selected=f"cost of {game.players[player].name} beside a crowd that plays what its members play",
        scale=float(jnp.sum(second[worst] * magnitude(played))),
    )


def _reaction(game: LinearQuadraticGame, profile: Any, earlier: int, later: int) -> Gap:
    beside = game.players[later].crowd_input is not None
    found = _answers(game, profile, player_indices(game, earlier).place, player_indices(game, later), beside)
    saved, worth, bend = map(float, found)
    selected = f"{game.players[later].name} answers a unit added to the control of {game.players[earlier].name}"
    if not bend > 0:
        return unbounded_gap("reaction", -worth, "the later tier's cost is not convex in its own control", selected)
    return exact_gap("reaction", -worth, saved, 0.0, selected=selected, scale=abs(worth))


def _gains(profile: Any, t: Any) -> Gains:
    return Gains(profile.gain(t), profile.crowd_gain(t), profile.reaction(t), profile.crowd_reaction(t))


def _members(game: LinearQuadraticGame, gains: Gains) -> Float[Array, "m K n"]:
    """M: what the crowd plays when it does as its members do."""
    crowd_map = jnp.asarray(game.crowd_map, gains.own.dtype)
    found, apart = gains.own @ crowd_map, gains.own - gains.own @ crowd_map
    for number, tier in enumerate(game.tiers):
        for p in tier:
            for before in game.tiers[:number]:
                for earlier in before:
                    rows, columns = game.control_slices[p], game.control_slices[earlier]
                    found = found.at[:, rows].add(gains.reaction[:, rows, columns] @ apart[:, columns])
    return found


def _paid(c: Coefficients, gains: Gains, who: PlayerIndices) -> Float[Array, "m n n"]:
    """The player's running cost under the gains, to be minimised."""
    player = who.player
    crossed = c.cross_cost[player] @ gains.own
    cost = c.state_cost[player] + crossed + _t(crossed) + _t(gains.own) @ c.control_cost[player] @ gains.own
    return who.sign * cost


@eqx.filter_jit
def _crowd_values(game: LinearQuadraticGame, profile: Any, who: PlayerIndices) -> tuple[Array, Array, Array]:
    """S, the player's value beside a consistent crowd, and D, at time 0; whether the integration reached it."""
    terminal = who.sign * game.terminal[who.player]
    start = (terminal, jnp.zeros_like(terminal))

    def parts(t):
        c, gains = game.coefficients(t), _gains(profile, t)
        moved = c.drift + c.input @ gains.own
        astray = c.crowd_input @ (gains.crowd - _members(game, gains))
        return c, _paid(c, gains, who), moved + c.crowd_input @ gains.crowd, astray

    if game.discrete:

        def back(values, t):
            c, paid, closed, astray = parts(t)
            value, apart = (continuation(game, t, one[None])[0] for one in values)
            beside = closed - astray
            earlier = paid + _t(beside) @ value @ beside + _noise(c, value)
            change = _t(astray) @ value @ closed + _t(beside) @ value @ astray
            return (earlier, change + _t(closed) @ apart @ closed + _noise(c, apart)), None

        steps = jnp.arange(int(game.horizon), dtype=terminal.dtype)
        return *jax.lax.scan(back, start, steps, reverse=True)[0], jnp.asarray(True)
    horizon = jnp.asarray(game.horizon, terminal.dtype)

    def rate(tau, values):
        t = horizon - tau
        c, paid, closed, astray = parts(t)
        value, apart = values

        def flow(one, drift):
            pulled = _t(drift) @ one
            jumped = jnp.einsum("il,ilba,ibc,ilcd->iad", c.jump_rate, c.jump_scale, one, c.jump_scale)
            still = _noise(c, one) + jumped - jnp.asarray(game.discount, one.dtype) * one
            return pulled + _t(pulled) + still + switched(game, t, one[None])[0]

        pulled = _t(astray) @ value
        return paid + flow(value, closed - astray), pulled + _t(pulled) + flow(apart, closed)

    found = integrate_to_go(rate, start, horizon[None], ACCURACY)
    value, apart = (leaf[-1] for leaf in found.values)
    return value, apart, found.code == int(Status.SOLVED)


@eqx.filter_jit
def _answers(
    game: LinearQuadraticGame, profile: Any, columns: Array, who: PlayerIndices, beside: bool
) -> tuple[Array, Array, Array]:
    """What a later player could save in all, what a unit of the earlier control costs it, and the least of Λ.

    The earlier control stands at `columns` of u; `beside` says whether the later player has a crowd.
    """
    (later, rows, sign), dtype = who, game.terminal.dtype

    def stage(c: Coefficients, gains: Gains, ahead: Array) -> tuple[Array, Array, Array]:
        """For every regime: saved and paid per unit of time, and the least eigenvalue of Λ."""
        reach, crowd_reach = gains.reaction[:, :, rows], gains.crowd_reaction[:, :, rows]
        added, crowd_added = gains.reaction[:, :, columns], gains.crowd_reaction[:, :, columns]
        cost = sign * c.control_cost[later]
        moved, pushed = c.input @ reach + c.crowd_input @ crowd_reach, c.input @ added + c.crowd_input @ crowd_added
        bend = _t(reach) @ cost @ reach + _t(moved) @ ahead @ moved
        slope = _t(reach) @ cost @ added + _t(moved) @ ahead @ pushed
        paid = _t(added) @ cost @ added + _t(pushed) @ ahead @ pushed
        saved = jnp.trace(_t(slope) @ jnp.linalg.solve(bend, slope), axis1=-2, axis2=-1)
        if beside:
            apart = crowd_added[:, rows] - added[:, rows]
            saved = saved + jnp.trace(_t(apart) @ bend @ apart, axis1=-2, axis2=-1)
        size = jnp.trace(jnp.abs(paid), axis1=-2, axis2=-1) + jnp.trace(bend, axis1=-2, axis2=-1)
        return saved, size, jnp.linalg.eigvalsh(bend)[:, 0]

    discount = jnp.asarray(game.discount, dtype)
    if game.discrete:

        def back(value, t):
            c, gains = game.coefficients(t), _gains(profile, t)
            ahead = continuation(game, t, value[None])[0]
            closed = c.drift + c.input @ gains.own + c.crowd_input @ gains.crowd
            before = _paid(c, gains, who) + _t(closed) @ ahead @ closed + _noise(c, ahead)
            return before, stage(c, gains, ahead)

        times = jnp.arange(int(game.horizon), dtype=dtype)
        weights = jnp.ones_like(times)
        _, found = jax.lax.scan(back, sign * game.terminal[later], times, reverse=True)
    else:
        times = jnp.linspace(0.0, 1.0, NODES, dtype=dtype) * jnp.asarray(game.horizon, dtype)
        weights = jnp.ones_like(times).at[1:-1:2].set(4.0).at[2:-1:2].set(2.0) * (times[1] - times[0]) / 3
        none = jnp.zeros(game.terminal.shape[1:], dtype)
        found = jax.vmap(lambda t: stage(game.coefficients(t), _gains(profile, t), none))(times)
    saved, size, bend = found
    weights = weights * jnp.exp(-discount * times)
    return weights @ jnp.max(saved, axis=1), weights @ jnp.max(size, axis=1), jnp.min(bend)


def _noise(c: Coefficients, value: Array) -> Array:
    return jnp.einsum("ikba,ibc,ikcd->iad", c.diffusion, value, c.diffusion)


def _t(matrix: Array) -> Array:
    return jnp.swapaxes(matrix, -1, -2)
