"""Learning a Markov game: one shared policy per role, improved by PPO from episodes that all roles play together.

Each update is one compiled function: play `episodes` episodes with the current profile, improve every learning role
from its own experience. Roles not in `learn` keep their policy. Between updates the host reports progress, saves
checkpoints and looks whether training is still sound; nothing in compiled code calls back.

The learner's state (policies, optimisers, KL coefficients, random key, history) is one pytree: a run that is resumed
from a checkpoint continues bit for bit. An update that leaves the state unsound (see `Outcome`) is not taken: the last
good state stays. With several devices the episodes are spread over all of them; several seeds are mapped
(`train_seeds`).

The latest profile of the highest standing (`learning.standing`) is handed back beside the last one.
"""

import dataclasses
import enum
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.fixed_agents import Fixed, FixedAgents, fix_agents
from diffgames.games.markov import AbstractMarkovGame
from diffgames.games.names import check_names
from diffgames.learning import devices, distribution
from diffgames.learning.policy import DEFAULT_WIDTH, FixedProbabilities, Profile, actor_critic
from diffgames.learning.ppo import Learner, PPOConfig, improve, new_learner
from diffgames.learning.rollout import Experience, play
from diffgames.learning.standing import Best, Compared, better, every_role, standing

History = dict[str, Any]
Configs = PPOConfig | Mapping[str, PPOConfig]
"""PPO's settings for all roles, or those of every role that learns."""
SAVE_EVERY = 10


class Outcome(enum.Enum):
    """How training ended; the value says the cause, `remedy` what to try."""

    COMPLETED = "all updates done"
    DIVERGED = "training diverged: a policy or its loss is no longer finite"
    COLLAPSED = "a policy collapsed: it hardly explores any more and earns significantly less than when it started"
    BAD_GAME = "the game gave an observation or a reward that is not finite"

    @property
    def remedy(self) -> str:
        """What to try."""
        return {
            Outcome.COMPLETED: "nothing",
            Outcome.DIVERGED: "lower learning_rate, set max_gradient_norm, or rescale the rewards to order one",
            Outcome.COLLAPSED: "lower learning_rate or passes, or raise entropy_coefficient",
            Outcome.BAD_GAME: "look for a division by zero or an overflow in the game's observe and step",
        }[self]


OUTCOMES = tuple(Outcome)


@runtime_checkable
class Checkpoint(Protocol):
    """Where the learner's state is kept between processes."""

    def load(self, like: Any) -> Any | None: ...
    def save(self, tree: Any) -> None: ...


class LearnerState(eqx.Module):
    """All that training carries from update to update; `outcome` counts in `OUTCOMES`, 0 while all is well."""

    learners: dict[str, Learner]
    key: PRNGKeyArray
    index: Int[Array, ""]
    outcome: Int[Array, ""]
    history: History
    best: Best | None = None


class TrainResult(NamedTuple):
    """The learned profile, what happened on the way (arrays over updates), and how it ended.

    `best` is the latest profile of the highest standing and `best_updates` the updates it had been through; both are
    those of the last profile where training was shorter than its `WINDOW`.
    """

    profile: Profile
    history: dict[str, Any]
    outcome: Outcome
    updates: int
    best: Profile
    best_updates: int


class LearningWarning(UserWarning):
    """Something that makes what was learned less than it could be."""


CLIPPED = 0.5  # share of the clip from which on most squared errors of the values must be cut

ProgressCallback = Callable[[int, Mapping[str, Any]], None]


def initial_profile(
    game: AbstractMarkovGame,
    key: PRNGKeyArray,
    width: int | Mapping[str, int] = DEFAULT_WIDTH,
    recurrent: bool = False,
) -> Profile:
    """A new policy for every role, of one width or of the widths {role: width}."""
    keys = jax.random.split(key, len(game.roles))
    widths = width if isinstance(width, Mapping) else {role.name: width for role in game.roles}
    return {
        role.name: actor_critic(role, k, widths[role.name], recurrent) for role, k in zip(game.roles, keys, strict=True)
    }


def train(
    game: AbstractMarkovGame,
    profile: Profile,
    config: Configs,
    key: PRNGKeyArray,
    updates: int,
    *,
    learn: Sequence[str],
    fixed: Fixed | None = None,
    compared: Compared | None = None,
    checkpoint: Checkpoint | None = None,
    save_every: int = SAVE_EVERY,
    progress: ProgressCallback | None = None,
    throw: bool = True,
) -> TrainResult:
    """Improve the policies of the roles in `learn` for `updates` updates, starting from `profile`.

    `config` is PPO's settings, for all roles or by role (the episodes of an update are common to all). `compared`, by
    default every role that learns with no level that is enough, says what the best profile is (`learning.standing`).
    `fixed` are agents {(role, index): function} that do not learn while the others of their role do: they play by their
    functions (`games.fixed_agents`), and nothing is learned from what they live through.
    `progress(update, metrics)` is called after every update with the metrics of that update (see `advance`);
    `checkpoint` is read at the start and written every `save_every` updates. Unsound training stops with the last good
    state kept; with `throw` (the default) it raises `RunFailed` instead of returning it. Warns with
    `LearningWarning` where the value loss ends at its clip.
    """
    game = fix_agents(game, fixed) if fixed else game
    state = start(game, profile, config, key, updates, learn)
    frozen = devices.replicate(profile)
    state = take_updates(
        lambda s: update(game, frozen, s, config, compared), state, updates, checkpoint, save_every, progress
    )
    result = _result(profile, state)
    for note in value_clip_notes(result.history, config):
        warnings.warn(note, LearningWarning, stacklevel=2)
    if throw and result.outcome is not Outcome.COMPLETED:
        raise RunFailed(f"{result.outcome.value} (after {result.updates} of {updates} updates)", result.outcome.remedy)
    return result


def train_seeds(
    games: Sequence[AbstractMarkovGame],
    profiles: Sequence[Profile],
    config: Configs,
    keys: Sequence[PRNGKeyArray],
    updates: int,
    *,
    learn: Sequence[str],
    compared: Compared | None = None,
    checkpoint: Checkpoint | None = None,
    save_every: int = SAVE_EVERY,
    progress: ProgressCallback | None = None,
) -> list[TrainResult]:
    """Several runs at once, each of its own game, profile and key, as one mapped computation.

    The games differ in the values of their arrays alone. Metrics handed to `progress` have a leading axis of runs. One
    that becomes unsound stays at its last good state and is reported as such; the others go on.
    """
    runs = list(zip(games, profiles, keys, strict=True))
    state = _stacked([start(game, profile, config, key, updates, learn) for game, profile, key in runs])
    played, frozen = devices.replicate((_stacked(games), _stacked(profiles)))
    state = take_updates(
        lambda s: _update_seeds(played, frozen, s, config, compared), state, updates, checkpoint, save_every, progress
    )
    return [_result(p, jax.tree.map(lambda leaf, i=i: leaf[i], state)) for i, p in enumerate(profiles)]


def take_updates(
    step: Callable[[Any], tuple[Any, dict[str, Any]]],
    state: Any,
    updates: int,
    checkpoint: Checkpoint | None,
    save_every: int,
    progress: ProgressCallback | None,
) -> Any:
    """Take steps until all are done or nothing sound is left to improve (of one run, or of any of several).

    `state` has `index` and `outcome` like `LearnerState`, which it mostly is.
    """
    if checkpoint is not None:
        state = devices.replicate(checkpoint.load(state) or state)
    while _done(state) < updates and not np.all(np.asarray(state.outcome)):
        state, metrics = step(state)
        done = _done(state)
        if progress is not None and not np.all(np.asarray(state.outcome)):
            progress(done, jax.device_get(metrics))
        if checkpoint is not None and (done % save_every == 0 or done == updates):
            checkpoint.save(state)
    return state


def _done(state: Any) -> int:
    return int(np.max(np.asarray(state.index)))


def start(
    game: AbstractMarkovGame, profile: Profile, config: Configs, key: PRNGKeyArray, updates: int, learn: Sequence[str]
) -> LearnerState:
    """The state before the first update, its history empty (NaN) and as long as it will get."""
    known = [role.name for role in game.roles]
    check_names("roles", known)
    if not learn or not set(learn) <= set(known):
        raise InvalidInput("learn", list(learn), f"one or more of the roles {', '.join(known)}")
    for name in learn:
        if isinstance(profile[name], FixedProbabilities):
            raise InvalidInput("learn", name, "a role whose policy can learn (this one's probabilities are fixed)")
        if isinstance(game, FixedAgents) and not len(game.learning(name)):
            raise InvalidInput("learn", name, "a role of which not every agent is fixed")
    _check_configs(config, learn)
    own = {name: profile[name] for name in learn}
    state = LearnerState(
        learners={name: new_learner(policy, config_of(config, name)) for name, policy in own.items()},
        key=key,
        index=jnp.int32(0),
        outcome=jnp.int32(0),
        history={},
        best=Best(own, jnp.float32(-jnp.inf), jnp.int32(0)),
    )
    shapes = eqx.filter_eval_shape(_advance_once, game, profile, state, config)[1]
    history = jax.tree.map(lambda leaf: jnp.full((updates, *leaf.shape), jnp.nan, jnp.float32), shapes)
    return devices.replicate(dataclasses.replace(state, history=history))


@eqx.filter_jit
def update(
    game: AbstractMarkovGame, profile: Profile, state: LearnerState, config: Configs, compared: Compared | None = None
) -> tuple[LearnerState, dict[str, Any]]:
    """One update, taken if it is sound and recorded in the history; metrics as in `advance`."""
    bare = dataclasses.replace(state, history={}, best=None)
    following, metrics = _advance_once(game, profile, bare, config)
    history = jax.tree.map(lambda past, now: past.at[state.index].set(now.astype(jnp.float32)), state.history, metrics)
    outcome = jnp.where(state.outcome > 0, state.outcome, judge(game, following, metrics, history))
    playing = {name: learner.policy for name, learner in state.learners.items()}
    reached = standing(history["reward"], compared or every_role(game, tuple(playing)), state.index)
    best = state.best and better(state.best, Best(playing, reached, state.index))
    following = dataclasses.replace(following, history=history, outcome=outcome, best=best)
    kept = eqx.tree_at(lambda s: s.outcome, state, outcome)
    return jax.tree.map(lambda new, old: jnp.where(outcome > 0, old, new), following, kept), metrics


@eqx.filter_jit
def _update_seeds(games, profiles, states, config, compared):
    def one(game, profile, state):
        return update(game, profile, state, config, compared)

    return eqx.filter_vmap(one)(games, profiles, states)


def config_of(config: Configs, role: str) -> PPOConfig:
    """The settings of a role."""
    return config[role] if isinstance(config, Mapping) else config


def _check_configs(config: Configs, learn: Sequence[str]) -> None:
    """Settings by role: of every role that learns, and one number of episodes, which all roles play together."""
    if not isinstance(config, Mapping):
        return
    if missing := [name for name in learn if name not in config]:
        raise InvalidInput("config", sorted(config), f"settings for every role that learns: also {', '.join(missing)}")
    counts = {name: config[name].episodes for name in learn}
    if len(set(counts.values())) > 1:
        raise InvalidInput("episodes", counts, "one number of episodes for all roles, who play them together")


def _stacked(trees: Sequence[Any]) -> Any:
    """One tree whose arrays have a leading axis; what is no array must be the same in all."""
    allowed = "games that differ in their arrays alone, to be learned together"

    def stack(*leaves: Any) -> Any:
        if isinstance(leaves[0], jax.Array | np.ndarray):
            return jnp.stack(leaves)
        if any(leaf != leaves[0] for leaf in leaves):
            raise InvalidInput("games", leaves, allowed)
        return leaves[0]

    if any(jax.tree.structure(tree) != jax.tree.structure(trees[0]) for tree in trees):
        raise InvalidInput("games", [type(tree).__name__ for tree in trees], allowed)
    return jax.tree.map(stack, *trees)


def advance(
    game: AbstractMarkovGame, profile: Profile, state: LearnerState, config: Configs
) -> tuple[LearnerState, dict[str, Any]]:
    """One update as a pure function, to be compiled or mapped by the caller; history and outcome are left alone.

    Metrics: "reward" (mean episode return per role and agent), "reward_error" (per role, standard error over episodes
    of the agents' mean return); "kl", "entropy", "value_loss", "kl_coefficient" per learning role; and the game's own
    `summary` of its records.
    """
    key, play_key, *improve_keys = jax.random.split(state.key, 2 + len(state.learners))
    playing = {**profile, **{name: learner.policy for name, learner in state.learners.items()}}
    experience, records = play(game, playing, play_key, config_of(config, next(iter(state.learners))).episodes)
    learners, reports = {}, {}
    for (name, learner), improve_key in zip(state.learners.items(), improve_keys, strict=True):
        lived = _learning(game, name, experience[name])
        learners[name], reports[name] = improve(learner, game.role(name), lived, config_of(config, name), improve_key)
    returns = {name: jnp.sum(lived.reward, axis=0) for name, lived in experience.items()}
    metrics = {
        "reward": {name: jnp.mean(earned, axis=0) for name, earned in returns.items()},
        "reward_error": {name: _standard_error(jnp.mean(earned, axis=1)) for name, earned in returns.items()},
        **{
            field: {name: getattr(report, field) for name, report in reports.items()}
            for field in ("kl", "entropy", "value_loss", "kl_coefficient")
        },
        **game.summary(records),
    }
    following = eqx.tree_at(lambda s: (s.learners, s.key, s.index), state, (learners, key, state.index + 1))
    return devices.whole((following, metrics))


def _learning(game: AbstractMarkovGame, role: str, experience: Experience) -> Experience:
    """What the agents of a role lived through whom the profile plays."""
    if not isinstance(game, FixedAgents) or all(name != role for name, _ in game.places):
        return experience
    return jax.tree.map(lambda leaf: leaf[:, :, game.learning(role)], experience)


# Compiled by itself so that `start`, which asks for the shapes of the metrics, and `update` trace the game once.
_advance_once = eqx.filter_jit(advance)


def judge(
    game: AbstractMarkovGame, state: LearnerState, metrics: Mapping[str, Any], history: History
) -> Int[Array, ""]:
    """Position in `OUTCOMES` of the state after an update, 0 for a sound one.

    Collapsed: a role's entropy is at its floor while its mean reward, by more than three standard errors of each, is
    below that of the first update. A policy that has become deterministic because that is best is not collapsed.
    """
    learned = [*jax.tree.leaves(state.learners), *jax.tree.leaves(metrics["value_loss"])]
    collapsed = jnp.asarray(False)
    for name, entropy in metrics["entropy"].items():
        now, then = metrics["reward"][name], history["reward"][name][0]
        margin = 3.0 * (metrics["reward_error"][name] + history["reward_error"][name][0])
        worse = jnp.mean(now) + margin < jnp.mean(then)
        collapsed |= worse & (entropy < distribution.lowest_entropy(game.role(name).action))
    played = [*jax.tree.leaves(metrics["reward"])]
    code = jnp.where(collapsed, OUTCOMES.index(Outcome.COLLAPSED), 0)
    code = jnp.where(_finite(learned), code, OUTCOMES.index(Outcome.DIVERGED))
    return jnp.where(_finite(played), code, OUTCOMES.index(Outcome.BAD_GAME)).astype(jnp.int32)


def value_clip_notes(history: History, config: Configs) -> list[str]:
    """A caution per role whose values did not learn, since most of their squared errors are cut at the clip."""
    losses = {role: float(np.mean(np.asarray(loss)[-1])) for role, loss in history["value_loss"].items() if len(loss)}
    clips = {role: config_of(config, role).value_clip for role in losses}
    return [
        f"the value loss of {role} sits at its clip ({loss:.3g} of {clips[role]:g}): its values do not learn; "
        "scale the rewards to order one, or raise value_clip"
        for role, loss in losses.items()
        if loss >= CLIPPED * clips[role]
    ]


def _finite(arrays: list[Array]) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in arrays]))


def _standard_error(sample: Float[Array, " episodes"]) -> Float[Array, ""]:
    return jnp.std(sample) / max(sample.shape[0] - 1, 1) ** 0.5


def _result(profile: Profile, state: LearnerState) -> TrainResult:
    done = int(state.index)
    history = jax.tree.map(lambda leaf: np.asarray(leaf)[:done], state.history)
    last = {**profile, **{name: learner.policy for name, learner in state.learners.items()}}
    best, through = last, done
    if state.best is not None and np.isfinite(float(state.best.standing)):
        best, through = {**profile, **state.best.policies}, int(state.best.updates)
    return TrainResult(last, history, OUTCOMES[int(state.outcome)], done, best, through)
