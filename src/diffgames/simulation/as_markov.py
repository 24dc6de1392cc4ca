"""Any differential game as a Markov game, so that whatever learns Markov games learns it: decisions every dt.

    x_{k+1} = Euler steps of the game from x_k with the controls a_k held over [t_k, t_k + dt],
    reward of player p at step k = −sign_p [ Σ e^{−ρt} c_p(t, x, a_k; i) h  (+ e^{−ρT} g_p(x_T; i_T) at the last) ],

so that the return of an episode is minus the cost of a player that minimises, and the objective of one that maximises.
Every player with an objective is a role of one agent that observes

    ( t/T,  (x − centre) / scale,  one indicator per regime where there are several,  controls of earlier tiers ),

the latter as shares of their bounds in [−1, 1]; players of a tier do not see one another's controls. Players without
an objective (a crowd, a rule) play a stated profile. Observations and rewards are float32, the state too unless JAX's
flag for 64 bits is set.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.linalg import expm
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, Profile
from diffgames.games.markov import AbstractMarkovGame, Actions, Continuous, Role
from diffgames.numerics.precision import canonical
from diffgames.simulation.jumps import first_fault, report_fault
from diffgames.simulation.paths import as_differential, with_horizon
from diffgames.simulation.stepping import draw, euler_step


class Position(eqx.Module):
    """State of an episode: the game's state and regime, and the decisions made."""

    state: Float[Array, " n"]
    regime: Int[Array, ""]
    step: Int[Array, ""]


class Moved(eqx.Module):
    """What a step is remembered by: where it led, and every player's cost over it (in the game's own sign)."""

    state: Float[Array, " n"]
    regime: Int[Array, ""]
    cost: Float[Array, " players"]


class MarkovView(AbstractMarkovGame):
    """The Markov game of a differential game; made by `as_markov_game`."""

    game: DifferentialGame
    others: Profile | None
    transition: Float[Array, "m m"] | None
    centre: Float[Array, " n"]
    scale: Float[Array, " n"]
    limits: tuple[tuple[float, float] | None, ...] = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    @property
    def order(self) -> tuple[int, ...]:
        """Players with an objective, in the order of play."""
        return tuple(p for tier in self.game.tiers for p in tier if self.game.signs[p])

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(self._role(player) for player in self.order)

    @property
    def horizon(self) -> int:
        return self.steps

    def reset(self, key: PRNGKeyArray) -> Position:
        x, i = self.game.initial(key)
        return Position(state=x, regime=jnp.asarray(i, jnp.int32), step=jnp.zeros((), jnp.int32))

    def observe(self, state: Position, actions: Actions, role: str) -> Float[Array, "agents features"]:
        x = state.state
        seen = [jnp.asarray(state.step, x.dtype)[None] / self.steps]
        seen.append((x - self.centre.astype(x.dtype)) / self.scale.astype(x.dtype))
        regimes = self.game.regime_count
        if regimes > 1:
            seen.append((jnp.arange(regimes, dtype=jnp.int32) == state.regime).astype(x.dtype))
        for other in self._earlier(self.game.player_index(role)):
            low, high = self._limits(other)
            given = actions[self.game.players[other]][0].astype(x.dtype)
            seen.append((2.0 * given - low - high) / (high - low))
        return jnp.concatenate(seen).astype(jnp.float32)[None]

    def step(
        self, state: Position, actions: Actions, key: PRNGKeyArray
    ) -> tuple[Position, dict[str, Float[Array, " agents"]], Moved]:
        game, dtype = self.game, state.state.dtype
        h = jnp.asarray(game.horizon, dtype) / (self.steps * self.substeps)
        discount = jnp.asarray(game.discount, dtype)

        def part(carry: tuple[Array, Array, Array], k: Array) -> tuple[tuple[Array, Array, Array], None]:
            x, i, cost = carry
            t = (state.step * self.substeps + k).astype(dtype) * h
            u = self._controls(t, x, i, actions)
            draws = jax.tree.map(lambda leaf: leaf[..., 0], draw(game, key, k, 1, False, 1))
            cost = cost + h * jnp.exp(-discount * t) * game.running_cost(t, x, u, i)
            move = euler_step(game, t, h, x, i, u, draws, self.transition)
            return (move.state, move.regime, cost), None

        start = (state.state, state.regime, jnp.zeros(len(game.players), dtype))
        (x, i, cost), _ = jax.lax.scan(part, start, jnp.arange(self.substeps, dtype=jnp.int32))
        terminal = jnp.exp(-discount * jnp.asarray(game.horizon, dtype)) * game.terminal_cost(x, i)
        cost = cost + jnp.where(state.step == self.steps - 1, terminal, jnp.zeros_like(terminal))
        rewards = {game.players[p]: (-game.signs[p] * cost[p]).astype(jnp.float32)[None] for p in self.order}
        return Position(state=x, regime=i, step=state.step + 1), rewards, Moved(state=x, regime=i, cost=cost)

    def _role(self, player: int) -> Role:
        game, n = self.game, self.centre.shape[0]
        names = ["time", *(game.state_names if len(game.state_names) == n else [f"state_{j}" for j in range(n)])]
        if game.regime_count > 1:
            names += [f"regime_{j}" for j in range(game.regime_count)]
        for other in self._earlier(player):
            names += [f"{game.players[other]}_{j}" for j in range(game.control_sizes[other])]
        size, (low, high) = game.control_sizes[player], self._limits(player)
        box = Continuous(tuple(f"control_{j}" for j in range(size)), (low,) * size, (high,) * size)
        return Role(game.players[player], 1, tuple(names), box)

    def _earlier(self, player: int) -> tuple[int, ...]:
        """Players with an objective in earlier tiers."""
        own = next(number for number, tier in enumerate(self.game.tiers) if player in tier)
        return tuple(p for tier in self.game.tiers[:own] for p in tier if self.game.signs[p])

    def _limits(self, player: int) -> tuple[float, float]:
        found = self.limits[player]
        assert found is not None
        return found

    def _controls(self, t: Array, x: Array, i: Array, actions: Actions) -> Controls:
        """All controls: the actions, and what players without an objective do."""
        others = None if self.others is None else self.others(t, x, i)
        played = []
        for p, name in enumerate(self.game.players):
            if self.game.signs[p]:
                played.append(actions[name][0].astype(x.dtype))
            else:
                assert others is not None
                played.append(others[p])
        return tuple(played)


def as_markov_game(
    game: Any,
    dt: float,
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    profile: Profile | None = None,
    centre: float | Sequence[float] = 0.0,
    scale: float | Sequence[float] = 1.0,
    substeps: int = 1,
    horizon: float | None = None,
) -> MarkovView:
    """The Markov game in which the players of `game` decide every `dt` (in the game's unit of time).

    `bounds` = {player: (low, high)} of every component of its control, where the game itself gives none; `profile` is
    what players without an objective do. `centre` and `scale` are units of the observed state, one number or one per
    component. `substeps` Euler steps are made between decisions. `horizon` cuts a game without end. Raises
    `InvalidInput` for rates that are negative or no number at starts, times and actions drawn at random.
    """
    game, profile = canonical((with_horizon(as_differential(game), horizon), profile))
    game.check()
    if not (np.isfinite(dt) and dt > 0):
        raise InvalidInput("dt", dt, "a positive time")
    if substeps < 1:
        raise InvalidInput("substeps", substeps, "an integer, at least 1")
    total = float(game.horizon)
    steps = max(round(total / dt), 1)
    if abs(steps * dt - total) > 1e-6 * total:
        raise InvalidInput("dt", dt, f"a whole part of the horizon {total:g}, such as {total / steps:g}")
    limits = _all_limits(game, bounds or {})
    if profile is None and 0 in game.signs:
        idle = game.players[game.signs.index(0)]
        raise InvalidInput("profile", None, f"a profile that says what {idle}, which has no objective, does")
    n, dtype = game.state_size, jax.eval_shape(game.initial, jax.random.key(0))[0].dtype
    centres, scales = (np.broadcast_to(np.asarray(value, float), (n,)) for value in (centre, scale))
    if not np.all(scales > 0):
        raise InvalidInput("scale", scale, "positive numbers")
    transition = None
    if game.generator is not None and not callable(game.generator):
        transition = expm(jnp.asarray(game.generator, dtype) * jnp.asarray(dt / substeps, dtype))
    view = MarkovView(
        game=game,
        others=profile,
        transition=transition,
        centre=jnp.asarray(centres, dtype),
        scale=jnp.asarray(scales, dtype),
        limits=limits,
        steps=steps,
        substeps=substeps,
    )
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(view)):
        report_fault(_faults(view))
    return view


@eqx.filter_jit
def _faults(view: MarkovView, count: int = 256) -> Float[Array, " sources"]:
    """Rates that are none (else 0) at starts, times and actions drawn at random: one per law, one for the generator."""
    game = view.game

    def at(key: PRNGKeyArray) -> Array:
        start, when, *own = jax.random.split(key, 2 + len(view.order))
        x, i = game.initial(start)
        t = jax.random.uniform(when, (), x.dtype) * jnp.asarray(game.horizon, x.dtype)
        actions = {}
        for p, key in zip(view.order, own, strict=True):
            low, high = view.limits[p] or (0.0, 0.0)
            actions[game.players[p]] = jax.random.uniform(key, (1, game.control_sizes[p]), x.dtype, low, high)
        u = view._controls(t, x, i, actions)
        rates = [jnp.asarray(law.rate(t, x, u, i), x.dtype)[None] for law in game.jumps]
        own_row = jnp.zeros(1, x.dtype)
        if callable(game.generator):
            row = jnp.asarray(game.generator(t, x, u, i), x.dtype)
            own_row = jnp.where(jnp.arange(row.shape[0], dtype=jnp.int32) == i, 0.0, row)
        found = [jnp.where((rate >= 0) & (rate < jnp.inf), 0.0, rate) for rate in (*rates, own_row)]
        return jnp.stack([first_fault(part) for part in found])

    return first_fault(jax.vmap(at, out_axes=-1)(jax.random.split(jax.random.key(0), count)))


def _all_limits(
    game: DifferentialGame, bounds: Mapping[str, tuple[float, float]]
) -> tuple[tuple[float, float] | None, ...]:
    for name in bounds:
        game.player_index(name)
    limits = []
    for name, sign, own in zip(game.players, game.signs, game.bounds, strict=True):
        found = bounds.get(name, own)
        if sign and found is None:
            raise InvalidInput("bounds", None, f"an interval for the control of {name}, which the game leaves open")
        if found is not None and not found[0] < found[1]:
            raise InvalidInput("bounds", found, f"an interval low < high for {name}")
        limits.append(None if found is None else (float(found[0]), float(found[1])))
    return tuple(limits)
