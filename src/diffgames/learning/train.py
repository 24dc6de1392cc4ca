"""Learning a Markov game: one shared policy per role, improved by PPO from episodes that all roles play together.

Each update is one compiled function: play `episodes` episodes with the current profile, improve every learning role
from its own experience. Roles not in `learn` keep their policy. Between updates the host records, reports progress,
saves checkpoints and watches for divergence; nothing in compiled code calls back.

The learner's state (policies, optimisers, KL coefficients, random key, history) is one pytree: a run that is resumed
from a checkpoint continues bit for bit. With several devices the episodes are sharded over all of them.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from diffgames.errors import RunFailed
from diffgames.games.markov import AbstractMarkovGame, Continuous
from diffgames.learning.policy import LOG_SIGMA_BOUNDS, Profile, actor_critic
from diffgames.learning.ppo import Learner, PPOConfig, improve, new_learner
from diffgames.learning.rollout import play

History = dict[str, Any]


class Outcome(enum.Enum):
    """How training ended; the value says the cause, `remedy` what to try."""

    COMPLETED = "all updates done"
    NON_FINITE = "training diverged: a policy or its loss is no longer finite"
    COLLAPSED = "a policy collapsed: it hardly explores any more"

    @property
    def remedy(self) -> str:
        """What to try."""
        return {
            Outcome.COMPLETED: "nothing",
            Outcome.NON_FINITE: "lower learning_rate, or rescale the rewards",
            Outcome.COLLAPSED: "lower learning_rate or passes, or raise entropy_coefficient",
        }[self]


@runtime_checkable
class Checkpoint(Protocol):
    """Where the learner's state is kept between processes."""

    def load(self, like: Any) -> Any | None: ...
    def save(self, tree: Any) -> None: ...


class LearnerState(eqx.Module):
    """All that training carries from update to update."""

    learners: dict[str, Learner]
    key: PRNGKeyArray
    index: Int[Array, ""]
    history: History


class TrainResult(NamedTuple):
    """The learned profile, what happened on the way (arrays over updates), and how it ended."""

    profile: Profile
    history: dict[str, Any]
    outcome: Outcome
    updates: int


def initial_profile(game: AbstractMarkovGame, key: PRNGKeyArray, width: int = 256, recurrent: bool = False) -> Profile:
    """A new policy for every role."""
    keys = jax.random.split(key, len(game.roles))
    return {role.name: actor_critic(role, k, width, recurrent) for role, k in zip(game.roles, keys, strict=True)}


def train(
    game: AbstractMarkovGame,
    profile: Profile,
    config: PPOConfig,
    key: PRNGKeyArray,
    updates: int,
    *,
    learn: Sequence[str],
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, Mapping[str, Any]], None] | None = None,
    throw: bool = True,
) -> TrainResult:
    """Improve the policies of the roles in `learn` for `updates` updates, starting from `profile`.

    `progress(update, metrics)` is called after every update with the metrics of that update (see `update`);
    `checkpoint` is read at the start and written every `SAVE_EVERY` updates. Diverging or collapsing training stops
    with the last good state kept; with `throw` (the default) it raises `RunFailed` instead of returning it.
    """
    state = start(game, profile, config, key, updates, learn)
    if checkpoint is not None:
        state = checkpoint.load(state) or state
    outcome = Outcome.COMPLETED
    while int(state.index) < updates:
        following, metrics = update(game, profile, state, config)
        outcome = judge(game, following, metrics)
        if outcome is not Outcome.COMPLETED:
            break
        state = following
        done = int(state.index)
        if progress is not None:
            progress(done, jax.device_get(metrics))
        if checkpoint is not None and (done % SAVE_EVERY == 0 or done == updates):
            checkpoint.save(state)
    result = _result(profile, state, outcome)
    if throw and outcome is not Outcome.COMPLETED:
        raise RunFailed(f"{outcome.value} (after {result.updates} of {updates} updates)", outcome.remedy)
    return result


SAVE_EVERY = 10


def train_seeds(
    game: AbstractMarkovGame,
    profiles: Sequence[Profile],
    config: PPOConfig,
    keys: Sequence[PRNGKeyArray],
    updates: int,
    *,
    learn: Sequence[str],
    progress: Callable[[int, Mapping[str, Any]], None] | None = None,
) -> list[TrainResult]:
    """Several runs at once, from their own profiles and keys, as one mapped computation.

    A run that diverges keeps going with the others and is reported as such; the others are not affected.
    """
    states = [start(game, p, config, k, updates, learn) for p, k in zip(profiles, keys, strict=True)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    frozen = jax.tree.map(lambda *leaves: jnp.stack(leaves), *profiles)
    metrics: Mapping[str, Any] = {}
    for done in range(updates):
        stacked, metrics = _update_many(game, frozen, stacked, config)
        if progress is not None:
            progress(done + 1, jax.device_get(metrics))
    results = []
    for index, profile in enumerate(profiles):
        state, last = jax.tree.map(lambda leaf, i=index: leaf[i], (stacked, metrics))
        results.append(_result(profile, state, judge(game, state, last)))
    return results


def start(
    game: AbstractMarkovGame, profile: Profile, config: PPOConfig, key: PRNGKeyArray, updates: int, learn: Sequence[str]
) -> LearnerState:
    """The state before the first update, its history empty (NaN) and as long as it will get."""
    unknown = [name for name in learn if name not in {role.name for role in game.roles}]
    if unknown or not learn:
        raise ValueError(f"learn must name roles of the game ({[role.name for role in game.roles]}), got {list(learn)}")
    learners = {name: new_learner(profile[name], config) for name in learn}
    blank = LearnerState(learners=learners, key=key, index=jnp.int32(0), history={})
    shapes = eqx.filter_eval_shape(advance, game, profile, blank, config)[1]
    history = jax.tree.map(lambda leaf: jnp.full((updates, *leaf.shape), jnp.nan, jnp.float32), shapes)
    return LearnerState(learners=learners, key=key, index=jnp.int32(0), history=history)


@eqx.filter_jit
def update(
    game: AbstractMarkovGame, profile: Profile, state: LearnerState, config: PPOConfig
) -> tuple[LearnerState, dict[str, Any]]:
    """One update. Metrics: "reward" (mean episode return per role and agent), "kl", "entropy", "value_loss",
    "kl_coefficient" per learning role, and the game's own `summary` of its records."""
    return _recorded(game, profile, state, config)


@eqx.filter_jit
def _update_many(game, profiles, states, config):
    def single(profile, state):
        return _recorded(game, profile, state, config)

    return eqx.filter_vmap(single)(profiles, states)


def _recorded(game, profile, state, config):
    following, metrics = advance(game, profile, state, config)
    history = jax.tree.map(
        lambda past, now: past.at[state.index].set(now.astype(jnp.float32)), state.history, metrics
    )
    return eqx.tree_at(lambda s: s.history, following, history), metrics


def advance(
    game: AbstractMarkovGame, profile: Profile, state: LearnerState, config: PPOConfig
) -> tuple[LearnerState, dict[str, Any]]:
    """One update as a pure function, to be compiled or mapped by the caller; the history is left alone."""
    key, play_key, *improve_keys = jax.random.split(state.key, 2 + len(state.learners))
    playing = {**profile, **{name: learner.policy for name, learner in state.learners.items()}}
    experience, records = play(game, playing, play_key, config.episodes)
    learners, reports = {}, {}
    for (name, learner), improve_key in zip(state.learners.items(), improve_keys, strict=True):
        learners[name], reports[name] = improve(learner, game.role(name), experience[name], config, improve_key)
    metrics = {
        "reward": {name: jnp.mean(jnp.sum(lived.reward, axis=0), axis=0) for name, lived in experience.items()},
        **{
            field: {name: getattr(report, field) for name, report in reports.items()}
            for field in ("kl", "entropy", "value_loss", "kl_coefficient")
        },
        **game.summary(records),
    }
    return LearnerState(learners=learners, key=key, index=state.index + 1, history=state.history), metrics


def judge(game: AbstractMarkovGame, state: LearnerState, metrics: Mapping[str, Any]) -> Outcome:
    """Whether the state after an update is still good."""
    arrays = [*jax.tree.leaves(eqx.filter(state.learners, eqx.is_inexact_array)), *jax.tree.leaves(metrics["value_loss"])]
    if not bool(_all_finite(arrays)):
        return Outcome.NON_FINITE
    for name, entropy in metrics["entropy"].items():
        action = game.role(name).action
        floor = action.size * (LOG_SIGMA_BOUNDS[0] + 1.45) if isinstance(action, Continuous) else 1e-3
        if float(np.asarray(entropy)) < floor:
            return Outcome.COLLAPSED
    return Outcome.COMPLETED


@jax.jit
def _all_finite(arrays: list[Array]) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in arrays]))


def _result(profile: Profile, state: LearnerState, outcome: Outcome) -> TrainResult:
    done = int(state.index)
    history = jax.tree.map(lambda leaf: np.asarray(leaf)[:done], state.history)
    learned = {**profile, **{name: learner.policy for name, learner in state.learners.items()}}
    return TrainResult(profile=learned, history=history, outcome=outcome, updates=done)
