"""What a player of a distributed game could gain: freshly trained deviators, all players at once, on common noise.

The others' controls are processes: when player i deviates they stay what they were on the same noise (Definition 2.3 of
Guo, Li & Zhang, arXiv 2508.01929). So the profile is simulated once, and beside it every player's own deviation X′_i,

    u′_i = κ u_i + (D_i(t) (X′_i − κ X_i − (1 − κ) m_i) + G_i(t) (X − m) + c_i(t)) / (T − t + δ),   m = mean of X,

which may react to everything the profile reacts to; in a large crowd G_i (X − m) becomes a reaction to the average of
all players, and a sample of the players deviates, their costs summed over everybody exactly. κ = 1 starts from the
profile's own control, κ = 0 afresh from doing nothing; both are trained by Adam on each player's own cost, the better
on validation paths is chosen per player, and held-out paths, paired with the profile by the same noise, give the gain
with its interval; below zero it says that training found nothing better than the profile, and how near it came.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.distributed import DistributedGame, OwnControls, OwnStates, States, apply
from diffgames.solvers.descent import descend, start
from diffgames.solvers.distributed_paths import Grid, Noise, Policy, draw_noise, initial_states
from diffgames.solvers.policies import Clock
from diffgames.verification.certificate import LOWER_BOUND, Budget, Certificate, CurvePoint, gap_of_pairs


class DeviatorBudget(eqx.Module):
    """What the search may spend; `evaluation` paths are held out for the interval."""

    updates: int = eqx.field(static=True, default=400)
    paths: int = eqx.field(static=True, default=200)
    validation: int = eqx.field(static=True, default=2000)
    evaluation: int = eqx.field(static=True, default=8000)
    learning_rate: float = 0.03
    knots: int = eqx.field(static=True, default=17)


class _Deviation(eqx.Module):
    """The own deviation of every player that is looked at; `others` or `around` is what it makes of the crowd."""

    own: Float[Array, "knots some k d"]
    others: Float[Array, "knots ks dn"] | None
    around: Float[Array, "knots some k d"] | None
    offset: Float[Array, "knots k some"]

    def __call__(self, clock: Clock, t: Array, shift: OwnStates, x: States) -> OwnControls:
        """The change of control, from the deviation of the own state and the states of all."""
        d, n, paths = x.shape
        change = apply(clock.between(t, self.own), shift) + clock.between(t, self.offset)[:, :, None]
        crowd = x - jnp.mean(x, axis=2, keepdims=True)
        if self.others is not None:
            change = change + (clock.between(t, self.others) @ crowd.reshape(d * n, paths)).reshape(change.shape)
        if self.around is not None:
            average = jnp.broadcast_to(jnp.mean(crowd, axis=1, keepdims=True), shift.shape)
            change = change + apply(clock.between(t, self.around), average)
        return clock.urgency(t) * change


def certify_players(
    game: DistributedGame,
    policy: Policy,
    grid: Grid,
    key: PRNGKeyArray,
    *,
    patience: float,
    budget: DeviatorBudget | None = None,
    grade: float = 2.0,
    react_to_all: bool = True,
    players: tuple[int, ...] | None = None,
) -> Certificate:
    """The gap of every player, or of `players` (from 0); values are rewards, minus the costs.

    In large crowds let a sample of `players` deviate, with `react_to_all` = False.
    """
    budget = budget if budget is not None else DeviatorBudget()
    names = game.players if players is None else tuple(game.players[i] for i in players)
    clock = Clock(float(game.horizon), patience, grade, budget.knots)
    train_key, validation_key, evaluation_key = jax.random.split(key, 3)
    found, curves, gains = [], [], []
    checks = max(budget.updates // 8, 1)
    for kappa in (1.0, 0.0):
        deviation, curve, gain = _train(
            game, policy, grid, clock, kappa, players, train_key, validation_key, budget, checks, react_to_all
        )
        found.append(deviation)
        curves.append(curve)
        gains.append(np.asarray(gain))
    base, other = (
        _batched_costs((game, policy, grid, clock, kappa, players), deviation, evaluation_key, budget.evaluation)
        for kappa, deviation in zip((1.0, 0.0), found, strict=True)
    )
    deviated = [base[1], other[1]]
    spent = 2 * budget.updates
    entries = []
    for i, name in enumerate(names):
        best = int(np.argmax([gain[i] for gain in gains]))
        entries.append(
            gap_of_pairs(
                name,
                -base[0][i],
                -deviated[best][i],
                budget=Budget(spent, spent * budget.paths, spent * budget.paths * grid.steps),
                selected=("from the profile", "afresh")[best],
                curves={label: curve[i] for label, curve in zip(("from the profile", "afresh"), curves, strict=True)},
            )
        )
    return Certificate(tuple(entries), LOWER_BOUND)


def _train(
    game: DistributedGame,
    policy: Policy,
    grid: Grid,
    clock: Clock,
    kappa: float,
    players: tuple[int, ...] | None,
    key: PRNGKeyArray,
    validation_key: PRNGKeyArray,
    budget: DeviatorBudget,
    checks: int,
    react_to_all: bool,
) -> tuple[_Deviation, list[list[CurvePoint]], np.ndarray]:
    """The best deviation met per player, its validation curve, and its mean gain there."""
    d, n, k, knots = game.state_size, game.player_count, game.control_size, clock.knots
    some = n if players is None else len(players)
    own = jnp.zeros((knots, some, k, d), jnp.float32)
    deviation = _Deviation(
        own=own,
        others=jnp.zeros((knots, k * some, d * n), jnp.float32) if react_to_all else None,
        around=None if react_to_all else own,
        offset=jnp.zeros((knots, k, some), jnp.float32),
    )
    carry = (deviation, start(deviation))
    best, best_gain = deviation, np.full(some, -np.inf)
    curves: list[list[CurvePoint]] = [[] for _ in range(some)]
    fixed = (game, policy, grid, clock, jnp.asarray(kappa, jnp.float32), players)
    done = 0
    while done < budget.updates:
        count = min(checks, budget.updates - done)
        rate = budget.learning_rate * 0.05 ** (done / budget.updates)
        carry = _updates(
            fixed, carry, jax.random.fold_in(key, done), jnp.asarray(rate, jnp.float32), budget.paths, count
        )
        done += count
        before, after = _batched_costs(fixed, carry[0], validation_key, budget.validation)
        paired = before - after
        gain, error = paired.mean(axis=1), paired.std(axis=1, ddof=1) / np.sqrt(paired.shape[1])
        for i in range(some):
            curves[i].append(CurvePoint(done, float(gain[i]), float(error[i])))
        better = np.nan_to_num(gain, nan=-np.inf) > best_gain
        best = _choose(jnp.asarray(better), carry[0], best)
        best_gain = np.where(better, gain, best_gain)
    return best, curves, best_gain


def _choose(better: Array, new: _Deviation, old: _Deviation) -> _Deviation:
    """The players' own parts of `new` where `better`, of `old` elsewhere."""

    def kept(mask: Array, now: Array | None, then: Array | None) -> Array | None:
        return None if now is None or then is None else jnp.where(mask, now, then)

    gains, rows = better[None, :, None, None], jnp.tile(better, new.offset.shape[1])[None, :, None]
    return _Deviation(
        own=jnp.where(gains, new.own, old.own),
        others=kept(rows, new.others, old.others),
        around=kept(gains, new.around, old.around),
        offset=jnp.where(better[None, None], new.offset, old.offset),
    )


@eqx.filter_jit
def _updates(fixed: Any, carry: Any, key: PRNGKeyArray, rate: Array, paths: int, count: int) -> Any:
    game, _, grid, *_ = fixed

    def step(carry, index):
        deviation, state = carry

        def loss(deviation):
            noise = draw_noise(game, grid, jax.random.fold_in(key, index), paths)
            return jnp.sum(jnp.mean(_costs(fixed, deviation, noise)[1], axis=1))

        gradient = jax.grad(loss)(deviation)
        return descend(deviation, state, gradient, rate), None

    return jax.lax.scan(step, carry, jnp.arange(count, dtype=jnp.int32))[0]


def _batched_costs(
    fixed: Any,
    deviation: _Deviation,
    key: PRNGKeyArray,
    paths: int,
    chunk: int = 4000,
) -> tuple[np.ndarray, np.ndarray]:
    """Costs of the profile and of the deviations on the same paths, [players, paths], in bounded memory."""
    game, policy, grid, clock, kappa, players = fixed
    chunk = max(2, min(chunk, 4000 * 4 * 50 // (game.player_count * grid.steps)))
    fixed = (game, policy, grid, clock, jnp.asarray(kappa, jnp.float32), players)
    keys = [jax.random.fold_in(key, index) for index in range(-(-paths // chunk))]
    parts = [_drawn_costs(fixed, deviation, one, min(chunk, paths)) for one in keys]
    before, after = zip(*parts, strict=True)
    return np.concatenate(before, axis=1)[:, :paths], np.concatenate(after, axis=1)[:, :paths]


@eqx.filter_jit
def _drawn_costs(fixed: Any, deviation: _Deviation, key: PRNGKeyArray, paths: int) -> tuple[Array, Array]:
    return _costs(fixed, deviation, draw_noise(fixed[0], fixed[2], key, paths))


def _costs(
    fixed: Any, deviation: _Deviation, noise: Noise
) -> tuple[Float[Array, "some paths"], Float[Array, "some paths"]]:
    """The cost of every player that is looked at, at the profile and when it alone deviates."""
    game, policy, grid, clock, kappa, players = fixed
    who = None if players is None else np.asarray(players)
    costs = game.costs if who is None else game.costs.of(who, game.player_count)
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)

    def theirs(values: Array) -> Array:
        return values if who is None else values[:, who]

    zero = jnp.zeros(theirs(x).shape[1:], x.dtype)

    @jax.checkpoint
    def step(carry, inputs):
        x, y, own, before, after = carry
        t, h, shock = inputs
        u, now = policy(t, x, y), theirs(x)
        base = kappa * now + (1.0 - kappa) * jnp.mean(now, axis=2, keepdims=True)
        own_u = kappa * theirs(u) + deviation(clock, t, own - base, x)
        before = before + h * costs.own_running(t, now, theirs(u), x, u)
        after = after + h * costs.own_running(t, own, own_u, x, u)
        moved = x + h * game.velocity(t, x, u) + shock
        y = y + h * game.velocity(t, y, u)
        return (moved, y, own + h * game.velocity(t, own, own_u, who) + theirs(shock), before, after), None

    times = jnp.asarray(grid.times, x.dtype)
    carry = (x, jnp.zeros_like(x), theirs(x), zero, zero)
    (x, _, own, before, after), _ = jax.lax.scan(step, carry, (times[:-1], jnp.diff(times), noise.increments))
    return before + costs.own_terminal(theirs(x), x), after + costs.own_terminal(own, x)
