"""Parameters shared by the studies that learn: how long, how large, PPO's hyperparameters; and the learning itself.

A study says what is learned (`prepare`) and what is made of it (`finish`); `run_learned` is one seed,
`run_learned_seeds` several as one mapped computation, whose games differ in numbers alone.

The defaults are the paper's (Vadori et al., Section 5): see `learning.ppo`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from jaxtyping import PRNGKeyArray

from diffgames.errors import InvalidInput, RunFailed, suggestion
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import Profile
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.standing import Compared
from diffgames.learning.train import Outcome, TrainResult, initial_profile, train, train_seeds
from diffgames.studies.context import RunContext
from diffgames.studies.parameters import Text, fields_of, validated
from diffgames.studies.study import Parameter, StudyResult


@dataclass(frozen=True, kw_only=True)
class LearningParameters:
    """How the policies are learned."""

    updates: Annotated[int, Parameter("policy updates", "updates", minimum=1)] = 3000
    episodes: Annotated[int, Parameter("episodes B between updates", "episodes", minimum=1)] = 60
    width: Annotated[int, Parameter("units per hidden layer (two, tanh)", "units", minimum=1)] = 256
    recurrent: Annotated[bool, Parameter("LSTM policy that remembers its observations (Section 2.2.1)")] = False
    passes: Annotated[int, Parameter("passes over the batch per update", "passes", minimum=1)] = 30
    minibatch: Annotated[int, Parameter("minibatch size", "samples", minimum=1)] = 4096
    learning_rate: Annotated[float, Parameter("Adam's learning rate", minimum=1e-9, plausible=(1e-6, 1e-2))] = 1e-4
    final_learning_rate: Annotated[
        float | None, Parameter("rate that it falls to by the last update; null: constant", minimum=1e-9)
    ] = None
    clip: Annotated[float, Parameter("clip parameter ε of the surrogate", minimum=1e-6, maximum=1.0)] = 0.3
    kl_target: Annotated[float, Parameter("target of the adaptive KL penalty", "nats", minimum=1e-9)] = 0.01
    gae_lambda: Annotated[
        float, Parameter("λ of the advantage estimate: 1 sums all later rewards", minimum=0.0, maximum=1.0)
    ] = 1.0
    discount: Annotated[
        float,
        Parameter(
            "discount of later rewards while learning; rewards reported and certified have none",
            minimum=0.0,
            maximum=1.0,
        ),
    ] = 1.0
    entropy_coefficient: Annotated[float, Parameter("weight of the policy's entropy in the loss", minimum=0.0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class SettingsByRole(LearningParameters):
    """How the policies are learned, where a role may have settings of its own."""

    ppo: Annotated[
        dict[str, str],
        Parameter(
            "settings of one role, ppo.taker.learning_rate=1e-4; what is not named is as for all roles",
            shape="{role.setting: value}",
        ),
    ] = field(default_factory=dict)


OF_A_ROLE = (
    "width", "passes", "minibatch", "learning_rate", "final_learning_rate", "clip", "kl_target", "gae_lambda",
    "discount", "entropy_coefficient",
)  # fmt: skip
"""The settings that `ppo` may give a role of its own."""


def by_role(parameters: SettingsByRole, roles: Sequence[str]) -> dict[str, LearningParameters]:
    """The parameters as they are for every role: what `ppo` names takes the place of what holds for all.

    Raises `InvalidInput` naming the entry of `ppo` whose role, setting or value cannot be.
    """
    words = {one.name: one for one in fields_of(type(parameters)) if one.name in OF_A_ROLE}
    changes: dict[str, dict[str, Any]] = {role: {} for role in roles}
    for key, value in parameters.ppo.items():
        role, _, setting = key.partition(".")
        if role not in changes or setting not in words:
            names = [f"{known}.{name}" for known in roles for name in OF_A_ROLE]
            raise InvalidInput(f"ppo.{key}", value, suggestion(key, names))
        changes[role][setting] = validated(replace(words[setting], name=f"ppo.{key}"), Text(value))
    return {role: replace(parameters, ppo={}, **changed) for role, changed in changes.items()}


def new_profile(parameters: SettingsByRole, game: AbstractMarkovGame, key: PRNGKeyArray) -> Profile:
    """A new policy for every role, of the width that the role has."""
    widths = {name: own.width for name, own in by_role(parameters, [role.name for role in game.roles]).items()}
    return initial_profile(game, key, widths, parameters.recurrent)


def ppo_configs(parameters: SettingsByRole, game: AbstractMarkovGame) -> dict[str, PPOConfig]:
    """PPO's configuration of every role."""
    return {name: ppo_config(own) for name, own in by_role(parameters, [role.name for role in game.roles]).items()}


def ppo_config(parameters: LearningParameters, **changes: Any) -> PPOConfig:
    """PPO's configuration from a study's parameters, as it is for all roles."""
    return PPOConfig(
        **{
            "clip": parameters.clip,
            "kl_target": parameters.kl_target,
            "learning_rate": parameters.learning_rate,
            "final_learning_rate": parameters.final_learning_rate,
            "annealing_updates": parameters.updates,
            "passes": parameters.passes,
            "minibatch": parameters.minibatch,
            "episodes": parameters.episodes,
            "gae_lambda": parameters.gae_lambda,
            "discount": parameters.discount,
            "entropy_coefficient": parameters.entropy_coefficient,
            **changes,
        }
    )


def learn(
    parameters: SettingsByRole,
    context: RunContext,
    game: AbstractMarkovGame,
    profile: Profile,
    key: PRNGKeyArray,
    roles: tuple[str, ...],
    *,
    compared: Compared | None = None,
    label: str = "learning",
    slot: str = "training",
) -> tuple[TrainResult, float]:
    """Train the policies of `roles`, with progress and checkpoints in the run folder.

    Returns the result, and the agents' decisions per second of the updates that this process made.
    """
    clock = _Clock(parameters, game, count=1)
    result = train(
        game,
        profile,
        ppo_configs(parameters, game),
        key,
        parameters.updates,
        learn=roles,
        compared=compared,
        checkpoint=context.checkpoint.slot(slot),
        progress=clock.report(context, roles, label),
    )
    return result, clock.speed()


def learn_seeds(
    parameters: SettingsByRole,
    context: RunContext,
    games: Sequence[AbstractMarkovGame],
    profiles: Sequence[Profile],
    keys: Sequence[PRNGKeyArray],
    roles: tuple[str, ...],
    *,
    compared: Compared | None = None,
    label: str = "learning",
    slot: str = "training",
) -> tuple[list[TrainResult], float]:
    """`learn` for several runs as one mapped computation; progress shows means over them."""
    clock = _Clock(parameters, games[0], count=len(games))
    results = train_seeds(
        games,
        profiles,
        ppo_configs(parameters, games[0]),
        keys,
        parameters.updates,
        learn=roles,
        compared=compared,
        checkpoint=context.checkpoint.slot(slot),
        progress=clock.report(context, roles, f"{label} {len(games)} seeds"),
    )
    return results, clock.speed()


class _Clock:
    """Counts the updates that this process makes, and reports them."""

    def __init__(self, parameters: LearningParameters, game: AbstractMarkovGame, count: int):
        self.updates, self.made, self.started = parameters.updates, 0, time.perf_counter()
        self.steps = count * parameters.episodes * game.horizon * sum(role.count for role in game.roles)

    def report(
        self, context: RunContext, roles: tuple[str, ...], label: str
    ) -> Callable[[int, Mapping[str, Any]], None]:
        """What `train` calls after every update."""
        context.progress.update(label, 0.0)  # the first update compiles: say that something happens

        def follow(done: int, metrics: Mapping[str, Any]) -> None:
            self.made += 1
            figures = {}
            for role in roles:
                figures[f"reward {role}"] = float(np.mean(metrics["reward"][role]))
                figures[f"KL {role}"] = float(np.mean(metrics["kl"][role]))
                figures[f"entropy {role}"] = float(np.mean(metrics["entropy"][role]))
            if "market_share" in metrics:
                figures["share of first"] = float(np.mean(metrics["market_share"][..., 0]))
            context.progress.update(label, done / self.updates, **figures)

        return follow

    def speed(self) -> float:
        """Agents' decisions per second of the updates made."""
        return self.made * self.steps / (time.perf_counter() - self.started)


def tenth(curve: np.ndarray, *, first: bool) -> float:
    """Mean over the first or the last tenth of training."""
    count = max(1, len(curve) // 10)
    return float(curve[:count].mean() if first else curve[-count:].mean())


@dataclass(frozen=True)
class Task:
    """What is learned: the game, the policies it starts from, the key, the roles that learn; and notes for `finish`.

    `compared` says what the best profile on the way is (`learning.train`).
    """

    game: Any  # an AbstractMarkovGame of the kind that the study knows
    start: Profile
    key: PRNGKeyArray
    roles: tuple[str, ...]
    notes: Any = None
    compared: Compared | None = None


Prepare = Callable[[Any, RunContext], Task]
Finish = Callable[[Any, RunContext, Task, TrainResult, float], StudyResult]


def run_learned(prepare: Prepare, finish: Finish, config: Any, context: RunContext) -> StudyResult:
    """One seed: prepare, learn, finish."""
    task = prepare(config, context)
    result, speed = learn(config, context, task.game, task.start, task.key, task.roles, compared=task.compared)
    return finish(config, context, task, result, speed)


def run_learned_seeds(
    prepare: Prepare, finish: Finish, config: Any, context: RunContext, seeds: Sequence[int]
) -> list[StudyResult]:
    """Several seeds, learned together; one whose training is unsound fails alone."""
    contexts = [context.of_seed(seed) for seed in seeds]
    tasks = [prepare(config, own) for own in contexts]
    games, starts, keys = zip(*((task.game, task.start, task.key) for task in tasks), strict=True)
    results, speed = learn_seeds(config, context, games, starts, keys, tasks[0].roles, compared=tasks[0].compared)
    outcomes = []
    for own, task, result in zip(contexts, tasks, results, strict=True):
        try:
            if result.outcome is not Outcome.COMPLETED:
                reached = f"{result.outcome.value} (after {result.updates} of {config.updates} updates)"
                raise RunFailed(reached, result.outcome.remedy)
            outcomes.append(finish(config, own, task, result, speed))
        except RunFailed as failure:
            outcomes.append(StudyResult(headline={}, failure=failure))
    return outcomes
