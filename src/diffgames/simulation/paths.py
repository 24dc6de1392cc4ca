"""Simulating a profile: Euler–Maruyama paths of a differential game, their costs and the errors of the means.

    J_p ≈ mean over paths of Σ_k e^{−ρ t_k} c_p(t_k, x_k, u_k; i_k) h + e^{−ρT} g_p(x_S; i_S),   h = T/S,

of weak order one in h (strong order one half, one where the diffusion is additive and there are no jumps or switches).
Standard errors are those of a mean of independent paths; an antithetic pair counts as one. Time is one compiled scan;
paths are the last, contiguous axis, in chunks one after the other: memory is bounded by a chunk and by what is kept.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, Profile
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.mean_field_discrete import PlayedPolicy, played_policy
from diffgames.games.mean_field_frozen import FrozenCrowd
from diffgames.numerics.precision import in_double, keeping_double
from diffgames.simulation.jumps import first_fault, report_fault
from diffgames.simulation.mean_field_paths import chain_agents, crowd_agents
from diffgames.simulation.rollout import Batch, Scheme, run_batch
from diffgames.simulation.steps import run_steps
from diffgames.simulation.target import law_of, played, started


class Paths(eqx.Module):
    """Simulated paths and what they cost.

    `mean`, `deviation` (standard deviation across paths) and `occupation` (share of paths in each regime) are over all
    paths at every time. `state` and `regime` hold every `keep`-th time of every path and `control` what was played
    from each of these times but the last; they are None where nothing is kept. `costs` are per path, `cost` their mean.
    """

    time: Float[Array, " times"]
    mean: Float[Array, "times n"]
    deviation: Float[Array, "times n"]
    occupation: Float[Array, "times regimes"]
    costs: Float[Array, "paths players"]
    cost: Float[Array, " players"]
    standard_error: Float[Array, " players"]
    state: Float[Array, "paths kept n"] | None
    regime: Int[Array, "paths kept"] | None
    control: tuple[Float[Array, "paths kept_controls _"], ...] | None
    players: tuple[str, ...] = eqx.field(static=True)
    keep: int = eqx.field(static=True)

    @property
    def kept_time(self) -> Float[Array, " kept"]:
        """Times of `state` and `regime`."""
        return self.time[:: self.keep] if self.keep else self.time[:0]

    def __repr__(self) -> str:
        paths, steps = self.costs.shape[0], self.time.shape[0] - 1
        costs = ", ".join(
            f"{name} {float(mean):.6g} ± {1.96 * float(error):.2g}"
            for name, mean, error in zip(self.players, self.cost, self.standard_error, strict=True)
        )
        return f"Paths({paths} paths, {steps} steps to T = {float(self.time[-1]):g}; cost, 95% interval: {costs})"


@keeping_double
def simulate(
    game: Any,
    profile: Any = None,
    key: PRNGKeyArray | None = None,
    *,
    paths: int,
    steps: int | None = None,
    antithetic: bool = False,
    keep: int = 1,
    horizon: float | int | None = None,
    initial: Any = None,
    scheme: Scheme | None = None,
) -> Paths:
    """Simulate `paths` paths of `profile` in `steps` equal steps from `initial`.

    `game` is a `DifferentialGame`, offers `as_differential()`, or is a linear-quadratic game in discrete time, whose
    `steps` are its own. A solution may stand for `profile`, or alone for both. `initial` is a state (a list or an
    array) or a law such as `GaussianLaw`. `keep` = k keeps every k-th step of every path (k divides `steps`), 0 keeps
    statistics alone. `horizon` cuts the game there; a game without end needs it, and then has the solution's value as
    terminal cost where one was handed over, else none. With `antithetic`, paths come in pairs on opposite Brownian
    increments and uniforms. Raises `InvalidInput` for a jump or switching rate that is negative or no number where a
    path meets it (under a transformation of JAX such paths are NaN).

    Paths of a mean-field game are those of one agent of each type against the law of its solution
    (`simulation.mean_field_paths`); those on finitely many states earn rewards, which stand in `costs`.
    """
    game, profile = played(game, profile, horizon)
    if key is None:
        raise InvalidInput("key", None, "a key, such as jax.random.key(0)")
    if isinstance(profile, FrozenCrowd | PlayedPolicy):
        if antithetic or initial is not None:
            raise InvalidInput("antithetic, initial", (antithetic, initial), "False and None: the law says who starts")
        return _crowd(game, profile, key, (paths, steps, keep), horizon)
    if isinstance(game, LinearQuadraticGame) and game.discrete:
        return _discrete(game, profile, key, (paths, steps, keep), antithetic, horizon, initial)
    game = started(as_differential(game), initial)
    scheme = scheme if scheme is not None else Scheme()
    if steps is None:
        raise InvalidInput("steps", None, "the number of steps up to the horizon")
    for name, value, least in (("paths", paths, 2 if antithetic else 1), ("steps", steps, 1), ("keep", keep, 0)):
        if value < least:
            raise InvalidInput(name, value, f"an integer, at least {least}")
    if antithetic and (paths % 2 or scheme.chunk % 2):
        raise InvalidInput("paths", (paths, scheme.chunk), "an even number, and an even chunk, for antithetic pairs")
    if keep and steps % keep:
        raise InvalidInput("keep", keep, f"a divisor of steps = {steps}, or 0")
    game = with_horizon(game, horizon)
    found, fault = _simulate(game, profile, key, (paths, steps, keep), antithetic, scheme)
    report_fault(fault)
    return found


def _discrete(
    game: LinearQuadraticGame,
    profile: Any,
    key: PRNGKeyArray,
    sizes: tuple[int, int | None, int],
    antithetic: bool,
    horizon: float | int | None,
    initial: Any,
) -> Paths:
    """Paths of a game in discrete time."""
    paths, steps, keep = sizes
    if antithetic:
        raise InvalidInput("antithetic", True, "False in discrete time")
    length = game.horizon if horizon is None else horizon
    if not math.isfinite(float(length)):
        raise InvalidInput("horizon", horizon, "a whole number of steps at which to cut a game without end")
    length = int(length)
    for name, value, fine, words in (
        ("paths", paths, paths >= 1, "an integer, at least 1"),
        ("steps", steps, steps in (None, length), f"{length}, the steps of the game (or None)"),
        ("keep", keep, keep >= 0 and (not keep or length % keep == 0), f"a divisor of {length}, or 0"),
    ):
        if not fine:
            raise InvalidInput(name, value, words)
    law = law_of([0.0] * (game.size - 1) if initial is None else initial, game.size - 1)
    law = jax.tree.map(lambda leaf: leaf.astype(game.terminal.dtype) if eqx.is_inexact_array(leaf) else leaf, law)
    states, regimes, controls, costs = run_steps(game, profile, law, key, paths, length)
    names = tuple(player.name for player in game.players)
    return _gathered(jnp.arange(length + 1.0), states, (regimes, game.regime_count), controls, costs, names, keep)


def _gathered(
    time: Array,
    states: Array,
    regimes: tuple[Array, int],
    controls: tuple[Array, ...],
    costs: Array,
    players: tuple[str, ...],
    keep: int,
) -> Paths:
    """Paths of arrays that hold every time of every path; regimes with their number."""
    own = jax.nn.one_hot(*regimes, dtype=costs.dtype)
    return Paths(
        time=time.astype(costs.dtype),
        mean=jnp.mean(states, axis=0),
        deviation=jnp.std(states, axis=0),
        occupation=jnp.mean(own, axis=0),
        costs=costs,
        cost=jnp.mean(costs, axis=0),
        standard_error=jnp.std(costs, axis=0) / math.sqrt(max(len(costs) - 1, 1)),
        state=states[:, ::keep] if keep else None,
        regime=regimes[0][:, ::keep] if keep else None,
        control=tuple(one[:, ::keep] for one in controls) if keep else None,
        players=players,
        keep=keep,
    )


@in_double
def _crowd(
    game: Any,
    profile: FrozenCrowd | PlayedPolicy,
    key: PRNGKeyArray,
    sizes: tuple[int, int | None, int],
    horizon: float | int | None,
) -> Paths:
    """Paths of single agents against the law of a crowd; states of a chain are regimes, and its control an action."""
    paths, steps, keep = sizes
    chain = isinstance(profile, PlayedPolicy)
    if chain and steps is None:
        steps = horizon if game.horizon is None else game.times
    fine = (steps is not None and steps >= 1) and (not chain or game.horizon is None or steps == game.times)
    words = f"{game.times}, the decisions of the game" if chain and game.horizon is not None else "at least 1"
    for name, value, right, allowed in (
        ("paths", paths, paths >= 1, "an integer, at least 1"),
        ("steps", steps, fine, f"an integer, {words}"),
        ("keep", keep, fine and keep >= 0 and (not keep or int(steps or 1) % keep == 0), "a divisor of steps, or 0"),
    ):
        if not right:
            raise InvalidInput(name, value, allowed)
    count = int(steps or 1)
    if isinstance(profile, PlayedPolicy):
        states, actions, costs = chain_agents(game, played_policy(game, profile), key, paths, count)
        size, time = len(game.initial), jnp.arange(count + 1.0)
        ends = (states, size), (actions[:, :, None],), costs[:, None], ("representative player",)
        return _gathered(time, states[:, :, None].astype(costs.dtype), *ends, keep)
    crowd = profile.within(game)
    states, controls, costs = crowd_agents(crowd, key, paths, count)
    names = tuple(f"type {k}" for k in range(len(crowd.game.types)))
    alone = jnp.zeros(states.shape[:2], jnp.int32), 1
    played = tuple(controls[:, :, k : k + 1] for k in range(len(names)))
    return _gathered(jnp.linspace(0.0, crowd.horizon, count + 1), states, alone, played, costs, names, keep)


def as_differential(game: Any) -> DifferentialGame:
    """`game` itself, or the differential game it presents itself as."""
    if isinstance(game, DifferentialGame):
        return game
    if hasattr(game, "as_differential"):
        return game.as_differential()
    raise InvalidInput("game", type(game).__name__, "a DifferentialGame, or a game with as_differential()")


def with_horizon(game: DifferentialGame, horizon: float | int | None) -> DifferentialGame:
    """The game cut at `horizon`; a game without end needs one, and then has no terminal cost."""
    endless = not bool(np.all(np.isfinite(np.asarray(game.horizon))))
    if horizon is None:
        if endless:
            raise InvalidInput("horizon", None, "a finite time at which to cut a game without end")
        return _with_numbers(game)
    if not (math.isfinite(horizon) and horizon > 0):
        raise InvalidInput("horizon", horizon, "a positive, finite time")
    cut = eqx.tree_at(lambda g: g.horizon, game, horizon)
    if endless:
        cut = eqx.tree_at(lambda g: g.terminal_cost, cut, _NoTerminalCost(len(game.players)))
    return _with_numbers(cut)


def _with_numbers(game: DifferentialGame) -> DifferentialGame:
    """The game with horizon and discount as arrays, so that another value is no other program."""
    dtype = jax.eval_shape(game.initial, jax.random.key(0))[0].dtype
    with jax.enable_x64(True):  # a double game's numbers are double, whatever the flag says
        values = (jnp.asarray(game.horizon, dtype), jnp.asarray(game.discount, dtype))
    return eqx.tree_at(lambda g: (g.horizon, g.discount), game, values)


class _NoTerminalCost(eqx.Module):
    count: int = eqx.field(static=True)

    def __call__(self, x: Array, i: Array) -> Array:
        return jnp.zeros(self.count, x.dtype)


@eqx.filter_jit
def _simulate(
    game: DifferentialGame,
    profile: Profile,
    key: PRNGKeyArray,
    sizes: tuple[int, int, int],
    antithetic: bool,
    scheme: Scheme,
) -> tuple[Paths, Array]:
    game.check()
    paths, steps, keep = sizes

    def run(index: Array, count: int) -> Batch:
        return run_batch(game, profile, jax.random.fold_in(key, index), count, steps, scheme, antithetic, keep)

    whole, rest = divmod(paths, scheme.chunk)
    parts: list[tuple[Batch, int]] = []  # batches stacked along a first axis, and the paths in each
    if whole:
        stack = jax.lax.map(lambda index: run(index, scheme.chunk), jnp.arange(whole, dtype=jnp.int32))
        parts.append((stack, scheme.chunk))
    if rest:
        single = run(jnp.asarray(whole, jnp.int32), rest)
        parts.append((jax.tree.map(lambda leaf: leaf[None], single), rest))
    costs = jnp.concatenate([_paths_first(stack.costs) for stack, _ in parts])
    independent = costs
    if antithetic:
        pairs = [stack.costs.reshape(*stack.costs.shape[:-1], 2, -1).mean(axis=-2) for stack, _ in parts]
        independent = jnp.concatenate([_paths_first(pair) for pair in pairs])
    error = jnp.std(independent, axis=0) / math.sqrt(max(independent.shape[0] - 1, 1))
    mean, deviation = _pooled([(stack.mean, stack.scatter, count) for stack, count in parts])

    def average(pick) -> Array:
        return sum(jnp.sum(pick(stack), axis=0) * (count / paths) for stack, count in parts)  # pyright: ignore[reportReturnType] - never empty

    state, regime, control = None, None, []
    if keep:
        kept = [(stack.state, stack.regime, *(stack.control or ())) for stack, _ in parts]
        state, regime, *control = (
            jnp.concatenate([_paths_first(part) for part in leaf]) for leaf in zip(*kept, strict=True)
        )
    found = Paths(
        time=jnp.linspace(0.0, 1.0, steps + 1, dtype=costs.dtype) * jnp.asarray(game.horizon, costs.dtype),
        mean=mean,
        deviation=deviation,
        occupation=average(lambda stack: stack.occupation),
        costs=costs,
        cost=jnp.mean(costs, axis=0),
        standard_error=error,
        state=state,
        regime=regime,
        control=tuple(control) if keep else None,
        players=game.players,
        keep=keep,
    )
    return found, first_fault(jnp.concatenate([jnp.moveaxis(stack.fault, 0, -1) for stack, _ in parts], axis=-1))


def _paths_first(stack: Array) -> Array:
    """[chunks, …, paths] as [chunks · paths, …]."""
    moved = jnp.moveaxis(stack, -1, 1)
    return moved.reshape(-1, *moved.shape[2:])


def _pooled(parts: list[tuple[Array, Array, int]]) -> tuple[Array, Array]:
    """Mean and standard deviation of all paths from the means and scatters of the chunks."""
    total = sum(mean.shape[0] * count for mean, _, count in parts)
    mean = sum(jnp.sum(part, axis=0) * (count / total) for part, _, count in parts)
    scatter = sum(
        jnp.sum(scatter + count * (part - jnp.broadcast_to(mean, part.shape)) ** 2, axis=0)
        for part, scatter, count in parts
    )
    return jnp.asarray(mean), jnp.sqrt(jnp.asarray(scatter) / total)
