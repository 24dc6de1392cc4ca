"""Algorithm 1 of Guo, Li & Zhang (arXiv 2508.01929): minimise the potential over policies, all players at once.

    θ ← θ − Adam(∂_θ mean over paths of [ Σ_n F(t_n, X_n, Y_n, u_n) h_n + G(X_S, Y_S) ]),   u_n = φ_θ(t_n, X_n, Y_n)

with fresh paths for every step, the learning rate cut by `factor` where the mean loss of an epoch has not improved for
`patience` epochs (reduce on plateau). Because one function is minimised, descent converges where simultaneous gradient
play of separate costs need not. Simulation, potential, gradient and update are one compiled scan over an epoch.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import RunFailed
from diffgames.games.crowd import CrowdCosts
from diffgames.games.distributed import DistributedGame
from diffgames.solvers import descent
from diffgames.solvers.distributed_paths import Grid, Policy, draw_noise, potential_of_paths


class Schedule(eqx.Module):
    """Budget and step sizes of the descent: `epochs` of `steps` gradient steps on `paths` fresh paths each.

    `average` is the share of the last epochs whose iterates are averaged into the result (0: the last iterate).
    """

    epochs: int = eqx.field(static=True, default=20)
    steps: int = eqx.field(static=True, default=50)
    paths: int = eqx.field(static=True, default=500)
    learning_rate: float = 1e-3
    patience: int = eqx.field(static=True, default=5)
    factor: float = 0.7
    decay: float = 1.0
    average: float = 0.25


class Learner(eqx.Module):
    """Everything the descent needs to go on; a pytree for checkpoints."""

    parameters: Any
    optimiser: Any
    averaged: Any
    key: PRNGKeyArray
    epoch: Int[Array, ""]
    rate: Float[Array, ""]
    best: Float[Array, ""]
    waited: Int[Array, ""]
    losses: Float[Array, "epochs steps"]


class LearnedPotential(eqx.Module):
    """The learned policy, the potential of the batch at every gradient step, and seconds per gradient step."""

    policy: Policy
    losses: Float[np.ndarray, "epochs steps"]
    seconds_per_step: float


def learn_potential(
    game: DistributedGame,
    policy: Policy,
    grid: Grid,
    schedule: Schedule,
    key: PRNGKeyArray,
    *,
    checkpoint: Any = None,
    progress: Callable[[int, float], None] | None = None,
) -> LearnedPotential:
    """Minimise the potential from `policy` on; `checkpoint` has load(like) and save(tree).

    Seconds per step are of the fastest epoch after the first (compiled) one. Raises `RunFailed` where the potential
    stops being a number.
    """
    parameters, rest = eqx.partition(policy, eqx.is_inexact_array)
    learner = _start(parameters, schedule, key)
    saved = None if checkpoint is None else checkpoint.load(learner)
    learner = learner if saved is None else saved
    fastest = math.inf
    for epoch in range(int(learner.epoch), schedule.epochs):
        began = time.perf_counter()
        learner = _epoch(game, rest, grid, schedule, learner)
        loss = float(jnp.mean(learner.losses[epoch]))
        if epoch > 0 or fastest < math.inf:
            fastest = min(fastest, (time.perf_counter() - began) / schedule.steps)
        if not math.isfinite(loss):
            raise RunFailed(
                f"the potential became {loss} in epoch {epoch + 1}", "a lower learning rate or more time steps"
            )
        if checkpoint is not None:
            checkpoint.save(learner)
        if progress is not None:
            progress(epoch + 1, loss)
    chosen = learner.averaged if schedule.average > 0 else learner.parameters
    seconds = fastest if math.isfinite(fastest) else _time_one(game, rest, grid, schedule, learner)
    return LearnedPotential(eqx.combine(chosen, rest), np.asarray(learner.losses), seconds)


def _start(parameters: Any, schedule: Schedule, key: PRNGKeyArray) -> Learner:
    dtype = jnp.float32
    return Learner(
        parameters=parameters,
        optimiser=descent.start(parameters),
        averaged=parameters,
        key=key,
        epoch=jnp.zeros((), jnp.int32),
        rate=jnp.asarray(schedule.learning_rate, dtype),
        best=jnp.asarray(jnp.inf, dtype),
        waited=jnp.zeros((), jnp.int32),
        losses=jnp.full((schedule.epochs, schedule.steps), jnp.nan, dtype),
    )


def batch_potential(
    game: DistributedGame, policy: Policy, grid: Grid, key: PRNGKeyArray, paths: int
) -> Float[Array, ""]:
    """The loss of Algorithm 1 on fresh paths (equation 5.4)."""
    noise_key, own_key = jax.random.split(key)
    if isinstance(game.costs, CrowdCosts):
        game = eqx.tree_at(lambda g: g.costs, game, game.costs.renewed(own_key))
    return jnp.mean(potential_of_paths(game, policy, grid, draw_noise(game, grid, noise_key, paths)))


@eqx.filter_jit
def gradient_step(
    game: DistributedGame, policy: Policy, grid: Grid, key: PRNGKeyArray, paths: int
) -> tuple[Float[Array, ""], Any]:
    """Loss and gradient of one batch: what one step of Algorithm 1 costs."""
    return eqx.filter_value_and_grad(lambda p: batch_potential(game, p, grid, key, paths))(policy)


@eqx.filter_jit
def _epoch_of(fixed: Any, learner: Learner) -> Learner:
    game, rest, grid, schedule = fixed
    first_averaged = schedule.epochs - max(1, round(schedule.average * schedule.epochs))
    averaging = jnp.maximum(learner.epoch - first_averaged, -1)

    def step(carry, index):
        parameters, optimiser, averaged = carry
        key = jax.random.fold_in(jax.random.fold_in(learner.key, learner.epoch), index)
        loss, gradient = jax.value_and_grad(
            lambda p: batch_potential(game, eqx.combine(p, rest), grid, key, schedule.paths)
        )(parameters)
        parameters, optimiser = descent.descend(parameters, optimiser, gradient, learner.rate)
        count = (averaging * schedule.steps + index + 1).astype(jnp.float32)
        share = jnp.where(averaging >= 0, 1.0 / jnp.maximum(count, 1.0), 1.0)
        averaged = jax.tree.map(lambda a, p: a + share * (p - a), averaged, parameters)
        return (parameters, optimiser, averaged), loss

    carry = (learner.parameters, learner.optimiser, learner.averaged)
    carry, losses = jax.lax.scan(step, carry, jnp.arange(schedule.steps, dtype=jnp.int32))
    loss = jnp.mean(losses)
    better = loss < learner.best
    waited = jnp.where(better, 0, learner.waited + 1)
    cut = waited > schedule.patience
    return Learner(
        parameters=carry[0],
        optimiser=carry[1],
        averaged=carry[2],
        key=learner.key,
        epoch=learner.epoch + 1,
        rate=learner.rate * jnp.where(cut, schedule.factor, 1.0) * schedule.decay,
        best=jnp.minimum(loss, learner.best),
        waited=jnp.where(cut, 0, waited),
        losses=learner.losses.at[learner.epoch].set(losses),
    )


def _epoch(game: DistributedGame, rest: Any, grid: Grid, schedule: Schedule, learner: Learner) -> Learner:
    return jax.block_until_ready(_epoch_of((game, rest, grid, schedule), learner))


def _time_one(game: DistributedGame, rest: Any, grid: Grid, schedule: Schedule, learner: Learner) -> float:
    """Seconds of one gradient step, compiled: where learning was a single epoch or read from a checkpoint."""
    policy = eqx.combine(learner.parameters, rest)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(gradient_step(game, policy, grid, learner.key, schedule.paths))
        seconds.append(time.perf_counter() - began)
    return min(seconds)
