"""A game of the user's own as a study: learn it, measure it, certify it (`diffgames run FILE.py:GAME`).

All roles learn together by PPO, one shared policy each; then the first agent of every role is tested by training
deviators against the others' frozen policies. A differential game is played in `decisions` equal steps, each made of
`substeps` Euler steps (`simulation.as_markov`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
import xarray
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.games.conformance import check_markov_game
from diffgames.games.differential import DifferentialGame
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import Profile
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import TrainResult
from diffgames.learning.verdict import verdict
from diffgames.plotting import label, new_figure
from diffgames.simulation.as_markov import as_markov_game
from diffgames.studies.certificate_parameters import CertificateParameters, certify, learning_memory
from diffgames.studies.context import RunContext
from diffgames.studies.learning_parameters import Task, new_profile, run_learned, run_learned_seeds, tenth
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

QUICK = {
    "updates": 100,
    "width": 64,
    "passes": 8,
    "learning_rate": 1e-3,
    "deviator_updates": 40,
    "deviator_learning_rate": 2e-3,
}


@dataclass(frozen=True, kw_only=True)
class DifferentialParameters(CertificateParameters):
    """How a differential game is cut into decisions, and how these are learned."""

    decisions: Annotated[int, Parameter("decisions of a player until the end", "steps", minimum=1)] = 20
    substeps: Annotated[int, Parameter("Euler steps between decisions", "steps", minimum=1)] = 1
    horizon: Annotated[
        float | None, Parameter("where the game is cut; null: its own horizon", "time", minimum=1e-9)
    ] = None
    bound: Annotated[
        float | None, Parameter("|control| at most this, for players whose game sets no bounds", minimum=1e-9)
    ] = None


def study_of_game(game: AbstractMarkovGame, name: str) -> Study:
    """The study that learns and certifies `game`; a game that breaks its contract raises `InvalidInput`."""
    check_markov_game(game)
    roles = ", ".join(f"{role.count} {role.name}" for role in game.roles)
    shows = f"what {roles} learn over {game.horizon} steps, and what they could still gain by deviating"
    return _study(lambda config: game, name, type(game).__name__, shows, CertificateParameters)


def study_of_differential_game(game: DifferentialGame, name: str) -> Study:
    """The study that learns `game` by decisions at equal times; a function of the wrong shape raises `InvalidInput`."""
    game.check()
    shows = f"what {', '.join(game.players)} learn to do, and what they could still gain by deviating"

    def view(config: DifferentialParameters) -> AbstractMarkovGame:
        total = float(game.horizon) if config.horizon is None else config.horizon
        free = [
            player
            for player, bounds, sign in zip(game.players, game.bounds, game.signs, strict=True)
            if bounds is None and sign
        ]
        given = {} if config.bound is None else dict.fromkeys(free, (-config.bound, config.bound))
        if free and not given:
            raise InvalidInput("bound", None, f"a number: the game sets no bounds for {', '.join(free)}")
        decisions = {"substeps": config.substeps, "horizon": config.horizon}
        return as_markov_game(game, total / config.decisions, bounds=given, **decisions)

    return _study(view, name, "a differential game", shows, DifferentialParameters)


def _study(game_of: Callable[[Any], AbstractMarkovGame], name: str, kind: str, shows: str, config: type) -> Study:
    def prepare(config: CertificateParameters, context: RunContext) -> Task:
        game = game_of(config)
        start_key, train_key, _, _ = jax.random.split(context.key, 4)
        start = new_profile(config, game, start_key)
        return Task(game, start, train_key, tuple(role.name for role in game.roles))

    return Study(
        name=name,
        source=f"{kind}, a game of the user's own",
        shows=shows,
        config=config,
        run=partial(run_learned, prepare, _finish),
        run_seeds=partial(run_learned_seeds, prepare, _finish),
        memory=lambda config: learning_memory(config, *_size(game_of(config))),
        verify=lambda config, profile, context: _certify(game_of(config), profile, config, context),
        presets={"quick": QUICK, "paper": {}},
        headline={
            "reward_first": Headline("mean episode reward per agent, first tenth of training", shape="{role: number}"),
            "reward_last": Headline("mean episode reward per agent, last tenth of training", shape="{role: number}"),
            "value": Headline("mean episode reward per agent on held-out episodes", shape="{role: number}"),
            "updates": Headline("policy updates made", "updates"),
            "agent_steps_per_second": Headline(
                "agents' decisions per second of this process's training", "1/s", timing=True
            ),
        },
        example="diffgames run FILE.py:GAME --set updates=300 learning_rate=5e-4",
    )


def _size(game: AbstractMarkovGame) -> tuple[int, int]:
    """Agents and steps."""
    return sum(role.count for role in game.roles), game.horizon


def _finish(
    config: CertificateParameters, context: RunContext, task: Task, result: TrainResult, speed: float
) -> StudyResult:
    """Measure what was learned, and certify it."""
    game, names = task.game, task.roles
    value_key = jax.random.split(context.key, 4)[2]
    returns, _ = evaluate(game, result.profile, value_key, config.evaluation_episodes)
    curves = {name: np.asarray(result.history["reward"][name], np.float64).mean(axis=-1) for name in names}
    judged = verdict({f"the reward of {name}": curve for name, curve in curves.items()}, withdrawing=None)
    return StudyResult(
        headline={
            "reward_first": {name: tenth(curve, first=True) for name, curve in curves.items()},
            "reward_last": {name: tenth(curve, first=False) for name, curve in curves.items()},
            "value": {name: np.asarray(returns[name], np.float64).mean() for name in names},
            "updates": config.updates,
            "agent_steps_per_second": speed,
        },
        certificate=_certify(game, result.profile, config, context),
        warnings=[judged.words] if not judged.converged else [],
        arrays={"learning": xarray.Dataset({f"reward_{n}": ("update", curve) for n, curve in curves.items()})},
        profile=result.profile,
        figures={"learning": lambda: _learning_curves(curves)},
    )


def _certify(
    game: AbstractMarkovGame, profile: Profile, config: CertificateParameters, context: RunContext
) -> Certificate:
    """Deviators for the first agent of every role."""
    agents = {f"{role.name} 0": (role.name, 0) for role in game.roles}
    return certify(config, context, game, profile, agents, jax.random.split(context.key, 4)[3])


def _learning_curves(curves: Mapping[str, np.ndarray]) -> Figure:
    """Mean episode reward of every role against updates."""
    figure, axes = new_figure(columns=len(curves))
    for ax, (name, curve) in zip(axes, curves.items(), strict=True):
        ax.plot(np.arange(1, len(curve) + 1), curve)
        label(ax, x=("policy updates", ""), y=("mean episode reward", ""), title=name)
    return figure
