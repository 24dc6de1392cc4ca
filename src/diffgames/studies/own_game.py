"""A Markov game of the user's own as a study: learn it, measure it, certify it (`diffgames run FILE.py:GAME`).

All roles learn together by PPO, one shared policy each; then the first agent of every role is tested by training
deviators against the others' frozen policies.
"""

from collections.abc import Mapping

import jax
import numpy as np
import xarray
from matplotlib.figure import Figure

from diffgames.games.conformance import check_markov_game
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import Profile
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile
from diffgames.plotting import label, new_figure
from diffgames.studies.certificate_parameters import CertificateParameters, certify
from diffgames.studies.context import RunContext
from diffgames.studies.learning_parameters import learn, tenth
from diffgames.studies.study import Headline, Study, StudyResult
from diffgames.verification.certificate import Certificate


def study_of_game(game: AbstractMarkovGame, name: str) -> Study:
    """The study that learns and certifies `game`; a game that breaks its contract raises `InvalidInput`."""
    check_markov_game(game)
    roles = ", ".join(f"{role.count} {role.name}" for role in game.roles)
    return Study(
        name=name,
        source=f"{type(game).__name__}, a game of the user's own",
        shows=f"what {roles} learn over {game.horizon} steps, and what they could still gain by deviating",
        config=CertificateParameters,
        run=lambda config, context: _run(game, config, context),
        verify=lambda config, profile, context: _certify(game, profile, config, context),
        presets={
            "quick": {
                "updates": 100,
                "width": 64,
                "passes": 8,
                "learning_rate": 1e-3,
                "deviator_updates": 40,
                "deviator_learning_rate": 2e-3,
            },
            "paper": {},
        },
        headline={
            "reward_first": Headline(
                shape="{role: number}", meaning="mean episode reward per agent, first tenth of training"
            ),
            "reward_last": Headline(
                shape="{role: number}", meaning="mean episode reward per agent, last tenth of training"
            ),
            "value": Headline(shape="{role: number}", meaning="mean episode reward per agent on held-out episodes"),
            "updates": Headline(unit="updates", meaning="policy updates made"),
            "agent_steps_per_second": Headline(
                unit="1/s", meaning="agents' decisions per second of this process's training", timing=True
            ),
        },
        example="diffgames run FILE.py:GAME --set updates=300 learning_rate=5e-4",
    )


def _run(game: AbstractMarkovGame, config: CertificateParameters, context: RunContext) -> StudyResult:
    """Learn, measure, certify."""
    names = tuple(role.name for role in game.roles)
    start_key, train_key, value_key, _ = jax.random.split(context.key, 4)
    result, speed = learn(
        config, context, game, initial_profile(game, start_key, config.width, config.recurrent), train_key, names
    )
    returns, _ = evaluate(game, result.profile, value_key, config.evaluation_episodes)
    curves = {name: np.asarray(result.history["reward"][name], np.float64).mean(axis=-1) for name in names}
    return StudyResult(
        headline={
            "reward_first": {name: tenth(curve, first=True) for name, curve in curves.items()},
            "reward_last": {name: tenth(curve, first=False) for name, curve in curves.items()},
            "value": {name: np.asarray(returns[name], np.float64).mean() for name in names},
            "updates": config.updates,
            "agent_steps_per_second": speed,
        },
        certificate=_certify(game, result.profile, config, context),
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
