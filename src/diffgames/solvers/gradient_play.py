"""Ways to an equilibrium of a distributed game by gradient steps, on the same terms: what the potential saves.

Every player has parameters of its own (`LocalGains`). `towards` says what a step descends:

- *potential*: the one potential, all players at once (Algorithm 1).
- *simultaneous*: every player its own cost J_i, in which the others' controls are frozen processes: they are simulated
  under the current profile, and beside them every player's own state under its `live` policy. It may diverge in general
  games; in a potential game its field is the potential's gradient for open-loop controls.
- *fictitious* (deep fictitious play): in every round each player solves its best response to the profile of the round
  before, `inner` gradient steps each. A round costs N sub-problems where a step on the potential moves everybody.

`evaluations` counts gradients of one function: one per step on the potential, N (one per player's cost) else.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.distributed import DistributedGame
from diffgames.solvers.descent import descend, start
from diffgames.solvers.distributed_paths import Grid, Noise, draw_noise, initial_states, potential_of_paths
from diffgames.solvers.policies import LocalGains

Towards = Literal["potential", "simultaneous", "fictitious"]
"""What a gradient step descends."""


class Play(eqx.Module):
    """The profile after `rounds` rounds and what it cost; `watched` is the watch's value after every round."""

    policy: LocalGains
    evaluations: int
    seconds: float
    watched: Float[np.ndarray, " rounds"]


def gradient_play(
    game: DistributedGame,
    policy: LocalGains,
    grid: Grid,
    key: PRNGKeyArray,
    *,
    rounds: int,
    inner: int,
    paths: int = 200,
    learning_rate: float = 0.05,
    towards: Towards = "simultaneous",
    watch: Callable[[LocalGains], float] | None = None,
) -> Play:
    """`rounds` of `inner` steps; in fictitious play the others stand still within a round, else they move along.

    `watch` is called after every round, outside the time that is counted; the first round is compiled beforehand.
    """
    parameters, rest = eqx.partition(policy, eqx.is_inexact_array)
    state = (parameters, start(parameters))
    fixed = (game, rest, grid, towards, paths, inner)
    rate = jnp.asarray(learning_rate, jnp.float32)
    jax.block_until_ready(_round(fixed, state, key, rate))
    seconds, watched = 0.0, []
    for index in range(rounds):
        began = time.perf_counter()
        state = jax.block_until_ready(_round(fixed, state, jax.random.fold_in(key, index), rate))
        seconds += time.perf_counter() - began
        if towards == "fictitious":  # the next best response is a problem of its own
            state = (state[0], start(state[0]))
        watched.append(np.nan if watch is None else watch(eqx.combine(state[0], rest)))
    evaluations = rounds * inner * (1 if towards == "potential" else game.player_count)
    return Play(eqx.combine(state[0], rest), evaluations, seconds, np.asarray(watched))


def own_costs(
    game: DistributedGame, live: LocalGains, frozen: LocalGains, grid: Grid, noise: Noise
) -> Float[Array, "players paths"]:
    """Every player's cost when it alone plays `live` and the others' controls are those of `frozen`."""
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)
    nothing = jnp.zeros_like(x)

    @jax.checkpoint
    def step(carry, inputs):
        x, y, own_x, own_y, total = carry
        t, h, shock = inputs
        u, own_u = frozen(t, x, y), live.respond(t, own_x, own_y, x)
        total = total + h * game.costs.own_running(t, own_x, own_u, x, u)
        x, own = x + h * game.velocity(t, x, u) + shock, own_x + h * game.velocity(t, own_x, own_u) + shock
        return (x, y + h * game.velocity(t, y, u), own, own_y + h * game.velocity(t, own_y, own_u), total), None

    times = jnp.asarray(grid.times, x.dtype)
    carry = (x, nothing, x, nothing, jnp.zeros(x.shape[1:], x.dtype))
    (x, _, own_x, _, total), _ = jax.lax.scan(step, carry, (times[:-1], jnp.diff(times), noise.increments))
    return total + game.costs.own_terminal(own_x, x)


@eqx.filter_jit
def _round(fixed: Any, state: Any, key: PRNGKeyArray, rate: Array) -> Any:
    game, rest, grid, towards, paths, inner = fixed
    before = state[0]

    def step(carry, index):
        parameters, moments = carry
        noise = draw_noise(game, grid, jax.random.fold_in(key, index), paths)
        others = eqx.combine(jax.lax.stop_gradient(before if towards == "fictitious" else parameters), rest)

        def loss(parameters):
            if towards == "potential":
                return jnp.mean(potential_of_paths(game, eqx.combine(parameters, rest), grid, noise))
            return jnp.sum(jnp.mean(own_costs(game, eqx.combine(parameters, rest), others, grid, noise), axis=1))

        return descend(parameters, moments, jax.grad(loss)(parameters), rate), None

    return jax.lax.scan(step, state, jnp.arange(inner, dtype=jnp.int32))[0]
