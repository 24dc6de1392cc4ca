"""Parameters shared by the studies whose learned profile is certified by trained deviators, and the certificate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import PRNGKeyArray

from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import Profile
from diffgames.studies.context import RunContext
from diffgames.studies.learning_parameters import SettingsByRole, ppo_config
from diffgames.studies.study import Parameter
from diffgames.verification.best_response import exploitability
from diffgames.verification.certificate import Certificate


@dataclass(frozen=True, kw_only=True)
class CertificateParameters(SettingsByRole):
    """How the profile is learned, and the budget of the deviators that judge it."""

    evaluation_episodes: Annotated[
        int, Parameter("held-out episodes behind the measurements", "episodes", minimum=2)
    ] = 100
    deviator_updates: Annotated[
        int, Parameter("training budget of each deviator of the certificate", "updates", minimum=1)
    ] = 200
    deviator_learning_rate: Annotated[
        float, Parameter("learning rate of the deviators", minimum=1e-9, plausible=(1e-6, 1e-1))
    ] = 1e-3
    deviator_passes: Annotated[
        int, Parameter("passes over the batch per update of a deviator", "passes", minimum=1)
    ] = 10
    validation_episodes: Annotated[
        int, Parameter("episodes on which the best deviator is chosen", "episodes", minimum=2)
    ] = 100
    certificate_episodes: Annotated[
        int, Parameter("held-out episodes behind the certificate's intervals", "episodes", minimum=2)
    ] = 400


def learning_memory(config: CertificateParameters, agents: int, steps: int) -> dict[str, float]:
    """Bytes, at the least: of every agent's decision five numbers, the networks with Adam's two moments, the history.

    An agent's decision is an observation, an action, its probability, a value and a reward.
    """
    decisions, length = 4.0 * 5 * agents * steps, ", steps" if hasattr(config, "steps") else ""
    return {
        f"episodes{length}": decisions * config.episodes,
        f"evaluation_episodes{length}": decisions * config.evaluation_episodes,
        "validation_episodes": 4.0 * agents * config.validation_episodes,
        "certificate_episodes": 4.0 * agents * config.certificate_episodes,
        "width": 4.0 * 3 * config.width**2,
        "updates": 4.0 * 4 * config.updates,
        "deviator_updates": 4.0 * 4 * config.deviator_updates,
    }


def certify(
    parameters: CertificateParameters,
    context: RunContext,
    game: AbstractMarkovGame,
    profile: Profile,
    agents: Mapping[str, tuple[str, int]],
    key: PRNGKeyArray,
    *,
    played: AbstractMarkovGame | None = None,
    slot: str = "deviator",
) -> Certificate:
    """What the agents {label: (role, index)} could still gain, with progress and checkpoints in the run folder.

    `played` as in `verification.best_response.best_responses`; searches of one run have slots of their own.
    """

    def follow_deviators(role: str, done: int, figures: Mapping[str, Any]) -> None:
        gain = float(np.max(figures["gain"]))
        shown = {"gain at least": gain} if np.isfinite(gain) else {}
        context.progress.update(f"certificate: {role}s deviate", done / parameters.deviator_updates, **shown)

    return exploitability(
        game,
        profile,
        agents,
        ppo_config(
            parameters,
            learning_rate=parameters.deviator_learning_rate,
            final_learning_rate=None,
            passes=parameters.deviator_passes,
        ),
        key,
        updates=parameters.deviator_updates,
        validation_episodes=parameters.validation_episodes,
        episodes=parameters.certificate_episodes,
        checkpoint=lambda role: context.checkpoint.slot(f"{slot}-{role}"),
        progress=follow_deviators,
        played=played,
    )
