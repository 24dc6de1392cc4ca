"""Policy gradient in a finite crowd, actor and critic conditioned on the empirical law; plain, with an advantage.

N agents of a `games.mean_field_grid` game play one policy, u ~ N(m_θ(o), s²), and o = (t, x, type, features of the
empirical law μᴺ): mean and deviation of every type, and what the game itself lets an agent feel at x, taken from the
shares of agents per cell. With costs c_t per step, the critic v_ψ(o) and A_t the generalized advantage of −c_t
(`learning.advantage`), the actor ascends (mean-field-type games tutorial, section 4.1)

    ∇_θ J = E Σ_t ∇_θ log π_θ(u_t | x_t, μᴺ_t) A(x_t, u_t, μᴺ_t),

summed over the agents. An agent's A holds its own costs alone, so that it takes the law as given: the rest points are
equilibria of the game reading but for O(1/N). The critic is fitted to A + v. Both descend by Adam, on two timescales
(`learning.two_timescales`): W₁ is that of the positions at the end between two rounds of learning, in deviations of
those positions, less its floor.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.mean_field_grid import TypedMeanFieldGame
from diffgames.learning.adam import descend, start
from diffgames.learning.advantage import advantages
from diffgames.learning.two_timescales import TwoTimescales, sorted_distance, wasserstein_floor
from diffgames.numerics.cells import Cells, Resolvent
from diffgames.numerics.precision import in_double

LAMBDA = 0.6


class CrowdPolicy(eqx.Module):
    """Mean control m_θ and value v_ψ of an observation; see the module's docstring."""

    actor: eqx.nn.MLP
    critic: eqx.nn.MLP

    def mean(self, seen: Float[Array, "... f"]) -> Float[Array, "..."]:
        """The control played but for exploration."""
        return _applied(self.actor, seen)

    def value(self, seen: Float[Array, "... f"]) -> Float[Array, "..."]:
        """Expected −cost to go, in the critic's eyes."""
        return _applied(self.critic, seen)


def _applied(network: eqx.nn.MLP, seen: Array) -> Array:
    flat = seen.reshape(-1, seen.shape[-1])
    return jax.vmap(network)(flat).reshape(seen.shape[:-1])


@dataclass(frozen=True)
class CrowdLearning:
    """Budget of the learner: `updates` rounds of `steps` time steps with at least `agents` agents in all.

    The deviation s of exploration adds s² dt per step to the agents' own noise; it falls like (τ₀/t)^½.
    """

    updates: int = 200
    steps: int = 20
    agents: int = 2000
    width: int = 16
    exploration: float = 0.3
    critic_passes: int = 4
    timescales: TwoTimescales = field(
        default_factory=lambda: TwoTimescales(actor=0.03, rounds=50.0, modulation=0.5, critic=0.03)
    )


def observed(
    game: TypedMeanFieldGame,
    cells: Cells,
    t: Float[Array, ""],
    x: Float[Array, " agents"],
    kind: Float[Array, "agents K"],
    mass: Float[Array, "K N"],
) -> tuple[Float[Array, "agents f"], dict[str, Float[Array, " agents"]]]:
    """What agents see, in numbers of order one, and the game's features at their points; `kind` is one-hot."""
    axis = cells.axes[0]
    centres = jnp.asarray(axis.centres(), x.dtype)
    middle, half = 0.5 * (axis.low + axis.high), 0.5 * (axis.high - axis.low)
    scaled = (centres - middle) / half
    mean = mass @ scaled
    deviation = jnp.sqrt(jnp.maximum(mass @ scaled**2 - mean**2, 0.0))
    period = axis.high - axis.low if axis.wall == "periodic" else None
    fields = game.felt(cells, mass, jnp.zeros((len(mass), 1, cells.size), x.dtype))
    felt = {name: jnp.interp(x, centres, one, period=period) for name, one in fields.items()}
    law = jnp.broadcast_to(jnp.concatenate([mean, deviation]), (len(x), 2 * len(mass)))
    own = jnp.stack([jnp.broadcast_to(2.0 * t / game.horizon - 1.0, x.shape), (x - middle) / half], axis=1)
    squashed = [one / (1.0 + jnp.abs(one)) for one in felt.values()]
    return jnp.concatenate([own, kind, law, *(one[:, None] for one in squashed)], axis=1), felt


class _Crowd(eqx.Module):
    """A game on cells with a fixed number of agents of every type, in blocks."""

    game: TypedMeanFieldGame
    cells: Cells = eqx.field(static=True)
    counts: tuple[int, ...] = eqx.field(static=True)
    start: Float[Array, "K N"]

    @property
    def kind(self) -> Float[np.ndarray, "agents K"]:
        return np.repeat(np.eye(len(self.counts), dtype=np.float32), self.counts, axis=0)

    def blocks(self, values: Array) -> list[Array]:
        return jnp.split(values, np.cumsum(self.counts)[:-1])

    def mass(self, x: Float[Array, " agents"]) -> Float[Array, "K N"]:
        """Shares of agents per cell, by type."""
        axis = self.cells.axes[0]
        place = jnp.clip((x - axis.low) / axis.spacing, 0, axis.size - 1).astype(jnp.int32)
        return jnp.stack([jnp.bincount(one, length=axis.size) / len(one) for one in self.blocks(place)])

    def drawn(self, key: PRNGKeyArray) -> Float[Array, " agents"]:
        """Positions at time 0."""
        axis, uniforms = self.cells.axes[0], self.blocks(jax.random.uniform(key, (sum(self.counts),)))
        ends = jnp.asarray(np.linspace(axis.low, axis.high, axis.size + 1), jnp.float32)
        below = [jnp.concatenate([jnp.zeros(1), jnp.cumsum(one)]) for one in self.start]
        return jnp.concatenate([jnp.interp(u, one, ends) for u, one in zip(uniforms, below, strict=True)])

    def folded(self, x: Array) -> Array:
        """Points back on the axis."""
        axis = self.cells.axes[0]
        low, width = axis.low, axis.high - axis.low
        if axis.wall == "periodic":
            return low + jnp.mod(x - low, width)
        return low + width - jnp.abs(jnp.mod(x - low, 2.0 * width) - width) if axis.wall == "reflecting" else x

    def each(self, function: Callable, x: Array, felt: dict, *more: Array) -> Array:
        """A function of (type, x [1], felt, …) for every agent."""
        split = [self.blocks(one) for one in (x, *more)]
        parts = {name: self.blocks(one) for name, one in felt.items()}
        found = []
        for k, one in enumerate(self.game.types):
            near = {name: part[k] for name, part in parts.items()}
            rows = [part[k] for part in split]
            found.append(
                jax.vmap(lambda x, near, *rest, one=one: function(one, x, near, *rest))(rows[0], near, *rows[1:])
            )
        return jnp.concatenate(found)


def _rollout(crowd: _Crowd, policy: CrowdPolicy, key: PRNGKeyArray, steps: int, spread: Array) -> tuple[Array, ...]:
    """One population: observations [n, N, f], exploration [n, N] in deviations, costs [n, N], positions at the end."""
    dt = crowd.game.horizon / steps
    begin, run = jax.random.split(key)
    kind = jnp.asarray(crowd.kind)

    def act(one: Any, x: Array, felt: dict, u: Array, shock: Array) -> Array:
        u = jnp.clip(u, one.control_low, one.control_high)[None]
        x = x[None]
        cost = dt * (one.running_cost(x, felt) + one.control_cost(u, x))
        moved = x + dt * (one.drift(x, felt) + u) + math.sqrt(dt) * one.noise(x) * shock
        return jnp.stack([cost, moved[0]])

    def step(x: Array, index: Array) -> tuple[Array, tuple[Array, ...]]:
        seen, felt = observed(crowd.game, crowd.cells, index * dt, x, kind, crowd.mass(x))
        tried, shock = jax.random.normal(jax.random.fold_in(run, index.astype(jnp.int32)), (2, len(x)))
        found = crowd.each(act, x, felt, policy.mean(seen) + spread * tried, shock)
        return crowd.folded(found[:, 1]), (seen, tried, found[:, 0])

    x, (seen, tried, cost) = jax.lax.scan(step, crowd.drawn(begin), jnp.arange(steps, dtype=jnp.float32))
    _, felt = observed(crowd.game, crowd.cells, jnp.asarray(crowd.game.horizon, jnp.float32), x, kind, crowd.mass(x))
    last = crowd.each(lambda one, x, felt: one.terminal_cost(x[None], felt), x, felt)
    return seen, tried, cost.at[-1].add(last), x


class _Learner(eqx.Module):
    policy: CrowdPolicy
    actor: Any
    critic: Any
    ends: Float[Array, " agents"]
    round: Float[Array, ""]


class LearnedCrowd(eqx.Module):
    """The policy; per update the mean cost of an agent, the actor's step, and W₁ between rounds in deviations."""

    policy: CrowdPolicy
    cost: Float[np.ndarray, " updates"]
    step: Float[np.ndarray, " updates"]
    distance: Float[np.ndarray, " updates"]


def learn_in_crowd(
    game: TypedMeanFieldGame,
    cells: Cells,
    agents: int,
    key: PRNGKeyArray,
    budget: CrowdLearning = CrowdLearning(),
    report: Callable[[int], None] | None = None,
) -> LearnedCrowd:
    """Learn in populations of `agents` agents, in single precision; several at once where that is less than the budget.

    `InvalidInput` for more than one axis, features of the controls, or a type without an agent; `RunFailed` where the
    costs stop being numbers.
    """
    if len(cells.axes) != 1:
        raise InvalidInput("cells", len(cells.axes), "one axis: agents with one state")
    if game.market is not None:
        raise InvalidInput("game.market", "a market", "none: learning in populations does not clear one")
    probe = np.ones((len(game.types), cells.size)) / cells.size
    still, moving = (
        game.felt(cells, jnp.asarray(probe), jnp.full((*probe.shape[:1], 1, cells.size), c)) for c in (0.0, 1.0)
    )
    feels = [name for name in still if bool(jnp.any(still[name] != moving[name]))]
    if feels:
        raise InvalidInput("game.features", ", ".join(feels), "features of where agents are, not of what they do")
    ends = np.round(agents * np.cumsum([one.share for one in game.types])).astype(int)
    counts = tuple(np.diff(ends, prepend=0).tolist())
    if min(counts) < 1:
        raise InvalidInput("agents", agents, f"so many that every type has one: they share them {counts}")
    with jax.enable_x64(False):
        crowd = _Crowd(game, cells, counts, jnp.asarray(game.start(cells), jnp.float32))
        features = 2 + 3 * len(counts) + len(game.features)
        keys = jax.random.split(key, 3)
        networks = [eqx.nn.MLP(features, "scalar", budget.width, 2, jnp.tanh, key=one) for one in keys[:2]]
        policy = CrowdPolicy(*networks)
        policy = eqx.tree_at(lambda p: p.actor.layers[-1].weight, policy, replace_fn=lambda w: 0.01 * w)
        populations = max(1, budget.agents // agents)
        steps = dataclasses.replace(budget.timescales, floor=wasserstein_floor(populations * agents))
        budget = dataclasses.replace(budget, timescales=steps)
        learner = _Learner(
            policy,
            start(eqx.filter(policy.actor, eqx.is_inexact_array)),
            start(eqx.filter(policy.critic, eqx.is_inexact_array)),
            jnp.full(populations * agents, jnp.nan),
            jnp.zeros(()),
        )
        told = []
        for round_ in range(budget.updates):
            learner, row = _update(crowd, budget, populations, learner, jax.random.fold_in(keys[2], round_))
            told.append(row)
            if report is not None and round_ % 10 == 9:
                report(round_ + 1)
                if not bool(jnp.isfinite(row[0])):
                    break
        table = np.asarray(jnp.stack(told), float)
    if not np.isfinite(table[:, 0]).all():
        raise RunFailed("the costs of the learning crowd are no numbers", "a lower actor's step, or less exploration")
    return LearnedCrowd(learner.policy, table[:, 0], table[:, 1], table[:, 2])


@eqx.filter_jit
def _update(
    crowd: _Crowd, budget: CrowdLearning, populations: int, learner: _Learner, key: PRNGKeyArray
) -> tuple[_Learner, Array]:
    """One round: populations side by side, a step of the actor, and passes of the critic."""
    policy, steps = learner.policy, budget.timescales
    t = learner.round + 1.0
    spread = budget.exploration * jnp.sqrt(jnp.minimum(1.0, steps.rounds / t))
    keys = jax.random.split(key, populations)
    found = jax.vmap(lambda key: _rollout(crowd, policy, key, budget.steps, spread), out_axes=(1, 1, 1, 0))(keys)
    seen, tried, cost = (one.reshape(budget.steps, -1, *one.shape[3:]) for one in found[:3])
    ends = jnp.sort(found[3].reshape(-1))
    gained, wanted = advantages(-cost, policy.value(seen), 1.0, LAMBDA)
    gained = (gained - jnp.mean(gained)) / (jnp.std(gained) + 1e-8)

    def surprise(actor: Any) -> Array:
        """−log-likelihood of the controls played, weighed by the advantage, up to constants."""
        mean = _applied(eqx.combine(actor, policy.actor), seen)
        played = jax.lax.stop_gradient(policy.mean(seen)) + spread * tried
        return jnp.mean(gained * (played - mean) ** 2) / (2.0 * spread**2)

    distance = jnp.where(t > 1, sorted_distance(ends, learner.ends) / (jnp.std(ends) + 1e-8), 0.0)
    rate = steps.actor_step(t, distance)
    actor, rest = eqx.partition(policy.actor, eqx.is_inexact_array)
    moved, actor_state = descend(actor, learner.actor, jax.grad(surprise)(actor), rate, 1.0)
    critic, critic_rest = eqx.partition(policy.critic, eqx.is_inexact_array)

    def fit(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        critic, state = carry
        slope = jax.grad(lambda c: jnp.mean((_applied(eqx.combine(c, critic_rest), seen) - wanted) ** 2))(critic)
        return descend(critic, state, slope, steps.critic_step(t), 1.0), None

    (critic, critic_state), _ = jax.lax.scan(fit, (critic, learner.critic), None, length=budget.critic_passes)
    policy = CrowdPolicy(eqx.combine(moved, rest), eqx.combine(critic, critic_rest))
    row = jnp.stack([jnp.mean(jnp.sum(cost, axis=0)), rate, distance])
    return _Learner(policy, actor_state, critic_state, ends, t), row


@in_double
def law_under(
    play: Callable[[Array], Array], game: TypedMeanFieldGame, cells: Cells, steps: int
) -> tuple[Float[np.ndarray, "n K N"], Float[np.ndarray, "n1 K N"]]:
    """Controls and masses of infinitely many agents who play a function of what they observe (`CrowdPolicy.mean`).

    Fokker–Planck on the cells, implicit in time, central differences with as much upwinding as keeps masses positive.
    """
    play = jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf, play)
    x, h, dt = jnp.asarray(cells.points()[0]), cells.axes[0].spacing, float(game.horizon) / steps
    above, below = (one[0] for one in cells.open_faces())
    spreads = [0.5 * np.asarray(jax.vmap(one.noise)(x[:, None]))[:, 0] ** 2 for one in game.types]

    @jax.jit
    def moves(t: Array, mass: Array) -> tuple[Array, Array]:
        controls, drifts = [], []
        for k, one in enumerate(game.types):
            kind = jnp.zeros((len(x), len(mass))).at[:, k].set(1.0)
            seen, felt = observed(game, cells, t, x, kind, mass)
            controls.append(jnp.clip(play(seen), one.control_low, one.control_high))
            drifts.append(controls[-1] + jax.vmap(one.drift)(x[:, None], felt)[:, 0])
        return jnp.stack(controls), jnp.stack(drifts)

    laws, played = [game.start(cells)], []
    for j in range(steps):
        control, drift = map(np.asarray, moves(jnp.asarray(j * dt), jnp.asarray(laws[-1])))
        spread = np.stack(spreads)
        spread = spread + np.maximum(0.5 * h * np.abs(drift) - spread, 0.0)
        up, down = (spread / h**2 + 0.5 * drift / h) * above, (spread / h**2 - 0.5 * drift / h) * below
        chain = Resolvent(cells, up[:, None], down[:, None], 1.0 / dt)
        laws.append(chain(laws[-1] / dt, transpose=True))
        played.append(control)
    return np.stack(played), np.stack(laws)
