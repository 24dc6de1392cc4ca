"""Parameters shared by the studies that learn: how long, how large, PPO's hyperparameters.

The defaults are the paper's (Vadori et al., Section 5): see `learning.ppo`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from diffgames.learning.ppo import PPOConfig
from diffgames.studies.context import RunContext
from diffgames.studies.study import Parameter


@dataclass(frozen=True, kw_only=True)
class LearningParameters:
    """How the policies are learned."""

    updates: Annotated[int, Parameter(unit="updates", meaning="policy updates", minimum=1)] = 3000
    episodes: Annotated[int, Parameter(unit="episodes", meaning="episodes B between updates", minimum=1)] = 60
    width: Annotated[int, Parameter(unit="units", meaning="units per hidden layer (two, tanh)", minimum=1)] = 256
    recurrent: Annotated[bool, Parameter(meaning="LSTM policy that remembers its observations (Section 2.2.1)")] = False
    passes: Annotated[int, Parameter(unit="passes", meaning="passes over the batch per update", minimum=1)] = 30
    minibatch: Annotated[int, Parameter(unit="samples", meaning="minibatch size", minimum=1)] = 4096
    learning_rate: Annotated[float, Parameter(meaning="Adam's learning rate", minimum=1e-9, plausible=(1e-6, 1e-2))] = (
        1e-4
    )
    clip: Annotated[float, Parameter(meaning="clip parameter ε of the surrogate", minimum=1e-6, maximum=1.0)] = 0.3
    kl_target: Annotated[float, Parameter(unit="nats", meaning="target of the adaptive KL penalty", minimum=1e-9)] = (
        0.01
    )
    gae_lambda: Annotated[
        float,
        Parameter(meaning="λ of the advantage estimate: 1 sums all later rewards", minimum=0.0, maximum=1.0),
    ] = 1.0


def ppo_config(parameters: LearningParameters, **changes: Any) -> PPOConfig:
    """PPO's configuration from a study's parameters."""
    return PPOConfig(
        **{
            "clip": parameters.clip,
            "kl_target": parameters.kl_target,
            "learning_rate": parameters.learning_rate,
            "passes": parameters.passes,
            "minibatch": parameters.minibatch,
            "episodes": parameters.episodes,
            "gae_lambda": parameters.gae_lambda,
            **changes,
        }
    )


def follow(context: RunContext, label: str, updates: int, roles: tuple[str, ...]) -> Callable[[int, Mapping], None]:
    """A progress callback for `train`: reward, KL and entropy of the learning roles, and the game's market share."""

    def report(done: int, metrics: Mapping[str, Any]) -> None:
        figures = {}
        for role in roles:
            figures[f"reward {role}"] = float(np.mean(metrics["reward"][role]))
            figures[f"KL {role}"] = float(metrics["kl"][role])
            figures[f"entropy {role}"] = float(metrics["entropy"][role])
        if "market_share" in metrics:
            figures["share of first"] = float(metrics["market_share"][0])
        context.progress.update(label, done / updates, **figures)

    return report
