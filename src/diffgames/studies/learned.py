"""Studies that learn one game: `run` for one seed, `run_seeds` for several as one mapped computation.

A study says what is learned (`prepare`) and what is made of it (`finish`); the learning between them is the same. The
games of several seeds differ in numbers alone (another fit of an exchange, say): one compiled update serves them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import PRNGKeyArray

from diffgames.errors import RunFailed
from diffgames.learning.policy import Profile
from diffgames.learning.standing import Compared
from diffgames.learning.train import Outcome, TrainResult
from diffgames.studies.context import RunContext
from diffgames.studies.learning_parameters import learn, learn_seeds
from diffgames.studies.study import StudyResult


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
