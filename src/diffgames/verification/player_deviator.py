"""What a player of a distributed game could gain: freshly trained deviators, all players at once, on common noise.

The others' controls are processes: when player i deviates they stay what they were on the same noise (Definition 2.3 of
Guo, Li & Zhang, arXiv 2508.01929). So the profile is simulated once, and beside it every player's own deviation X′_i,

    u′_i = κ u_i + (D_i(t) (X′_i − κ X_i − (1 − κ) m_i) + G_i(t) (X − m) + c_i(t)) / (T − t + δ),   m = mean of X,

which may react to everything the profile reacts to. κ = 1 starts from the profile's own control, κ = 0 afresh from
doing nothing; both are trained by Adam on each player's own cost, the better on validation paths is chosen per
player, and held-out paths, paired with the profile by the same noise, give the gain with its interval.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.distributed import Controls, DistributedGame, States, apply
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
    """Every player's own deviation."""

    own: Float[Array, "knots players k d"]
    others: Float[Array, "knots kn dn"] | None
    offset: Float[Array, "knots k players"]

    def __call__(self, clock: Clock, t: Array, shift: States, x: States) -> Controls:
        """The change of control, from the deviation of the own state and the states of all."""
        d, n, paths = x.shape
        change = apply(clock.between(t, self.own), shift) + clock.between(t, self.offset)[:, :, None]
        if self.others is not None:
            centre = jnp.mean(x, axis=2, keepdims=True)
            change = change + (clock.between(t, self.others) @ (x - centre).reshape(d * n, paths)).reshape(-1, n, paths)
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
) -> Certificate:
    """The gap of every player; values are rewards, minus the costs. `react_to_all` = False for large crowds."""
    budget = budget if budget is not None else DeviatorBudget()
    clock = Clock(float(game.horizon), patience, grade, budget.knots)
    train_key, validation_key, evaluation_key = jax.random.split(key, 3)
    found, curves, gains = [], [], []
    checks = max(budget.updates // 8, 1)
    for kappa in (1.0, 0.0):
        deviation, curve, gain = _train(
            game, policy, grid, clock, kappa, train_key, validation_key, budget, checks, react_to_all
        )
        found.append(deviation)
        curves.append(curve)
        gains.append(np.asarray(gain))
    base = _batched_costs(game, policy, grid, clock, found[0], 1.0, evaluation_key, budget.evaluation)
    deviated = [base[1], _batched_costs(game, policy, grid, clock, found[1], 0.0, evaluation_key, budget.evaluation)[1]]
    spent = 2 * budget.updates
    entries = []
    for i, name in enumerate(game.players):
        best = int(np.argmax([gain[i] for gain in gains]))
        kept = deviated[best][i] if gains[best][i] > 0 else base[0][i]
        entries.append(
            gap_of_pairs(
                name,
                -base[0][i],
                -kept,
                budget=Budget(spent, spent * budget.paths, spent * budget.paths * grid.steps),
                selected=("from the profile", "afresh")[best] if gains[best][i] > 0 else "the profile's own control",
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
    key: PRNGKeyArray,
    validation_key: PRNGKeyArray,
    budget: DeviatorBudget,
    checks: int,
    react_to_all: bool,
) -> tuple[_Deviation, list[list[CurvePoint]], np.ndarray]:
    """The best deviation met per player, its validation curve, and its mean gain there."""
    d, n, k, knots = game.state_size, game.player_count, game.control_size, clock.knots
    deviation = _Deviation(
        own=jnp.zeros((knots, n, k, d), jnp.float32),
        others=jnp.zeros((knots, k * n, d * n), jnp.float32) if react_to_all else None,
        offset=jnp.zeros((knots, k, n), jnp.float32),
    )
    carry = (deviation, start(deviation))
    best, best_gain = deviation, np.full(n, -np.inf)
    curves: list[list[CurvePoint]] = [[] for _ in range(n)]
    fixed = (game, policy, grid, clock, jnp.asarray(kappa, jnp.float32))
    done = 0
    while done < budget.updates:
        count = min(checks, budget.updates - done)
        rate = budget.learning_rate * 0.05 ** (done / budget.updates)
        carry = _updates(
            fixed, carry, jax.random.fold_in(key, done), jnp.asarray(rate, jnp.float32), budget.paths, count
        )
        done += count
        before, after = _batched_costs(game, policy, grid, clock, carry[0], kappa, validation_key, budget.validation)
        paired = before - after
        gain, error = paired.mean(axis=1), paired.std(axis=1, ddof=1) / np.sqrt(paired.shape[1])
        for i in range(n):
            curves[i].append(CurvePoint(done, float(gain[i]), float(error[i])))
        better = np.nan_to_num(gain, nan=-np.inf) > best_gain
        best = _choose(jnp.asarray(better), carry[0], best)
        best_gain = np.where(better, gain, best_gain)
    return best, curves, best_gain


def _choose(better: Array, new: _Deviation, old: _Deviation) -> _Deviation:
    """The players' own parts of `new` where `better`, of `old` elsewhere."""
    k = old.offset.shape[1]
    others = None
    if new.others is not None and old.others is not None:
        others = jnp.where(jnp.tile(better, k)[None, :, None], new.others, old.others)
    return _Deviation(
        own=jnp.where(better[None, :, None, None], new.own, old.own),
        others=others,
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
    game: DistributedGame,
    policy: Policy,
    grid: Grid,
    clock: Clock,
    deviation: _Deviation,
    kappa: float,
    key: PRNGKeyArray,
    paths: int,
    chunk: int = 4000,
) -> tuple[np.ndarray, np.ndarray]:
    """Costs of the profile and of the deviations on the same paths, [players, paths], in bounded memory."""
    chunk = max(2, min(chunk, 4000 * 4 * 50 // (game.player_count * grid.steps)))
    fixed = (game, policy, grid, clock, jnp.asarray(kappa, jnp.float32))
    keys = [jax.random.fold_in(key, index) for index in range(-(-paths // chunk))]
    parts = [_drawn_costs(fixed, deviation, one, min(chunk, paths)) for one in keys]
    before, after = zip(*parts, strict=True)
    return np.concatenate(before, axis=1)[:, :paths], np.concatenate(after, axis=1)[:, :paths]


@eqx.filter_jit
def _drawn_costs(fixed: Any, deviation: _Deviation, key: PRNGKeyArray, paths: int) -> tuple[Array, Array]:
    return _costs(fixed, deviation, draw_noise(fixed[0], fixed[2], key, paths))


def _costs(
    fixed: Any, deviation: _Deviation, noise: Noise
) -> tuple[Float[Array, "players paths"], Float[Array, "players paths"]]:
    """Every player's cost at the profile, and when it alone deviates."""
    game, policy, grid, clock, kappa = fixed
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)
    zero = jnp.zeros(x.shape[1:], x.dtype)

    @jax.checkpoint
    def step(carry, inputs):
        x, y, own, before, after = carry
        t, h, shock = inputs
        u = policy(t, x, y)
        base = kappa * x + (1.0 - kappa) * jnp.mean(x, axis=2, keepdims=True)
        own_u = kappa * u + deviation(clock, t, own - base, x)
        before = before + h * game.costs.own_running(t, x, u, x, u)
        after = after + h * game.costs.own_running(t, own, own_u, x, u)
        moved = x + h * game.velocity(t, x, u) + shock
        y = y + h * game.velocity(t, y, u)
        return (moved, y, own + h * game.velocity(t, own, own_u) + shock, before, after), None

    times = jnp.asarray(grid.times, x.dtype)
    carry = (x, jnp.zeros_like(x), x, zero, zero)
    (x, _, own, before, after), _ = jax.lax.scan(step, carry, (times[:-1], jnp.diff(times), noise.increments))
    return before + game.costs.own_terminal(x, x), after + game.costs.own_terminal(own, x)
