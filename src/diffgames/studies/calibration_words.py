"""Parameters and headline values of the calibration studies."""

from dataclasses import dataclass
from typing import Annotated, Literal

from diffgames.studies.exchange_parameters import ExchangeParameters
from diffgames.studies.learning_parameters import LearningParameters
from diffgames.studies.study import Headline, Parameter

QUICK = {
    "takers_of_each_size": 10,
    "steps": 10,
    "episodes": 128,
    "width": 64,
    "passes": 3,
    "learning_rate": 3e-3,
    "gae_lambda": 0.9,
    "kl_target": 0.02,
    "calibrator_learning_rate": 5e-3,
    "calibrator_passes": 20,
    "calibrator_kl_target": 0.1,
}
"""Market and learning of the quick presets of all calibrations."""


@dataclass(frozen=True, kw_only=True)
class CalibratedMarket(LearningParameters, ExchangeParameters):
    """The market, the calibrator and the trainings under the frozen law: what all calibrations have."""

    takers_of_each_size: Annotated[
        int, Parameter(unit="agents", meaning="takers of each trade size 1…10", minimum=1)
    ] = 50
    steps: Annotated[int, Parameter(unit="steps", meaning="episode length T", minimum=1)] = 100
    risk_aversion: Annotated[
        float,
        Parameter(meaning="γ of all providers; where it is calibrated, its start", minimum=0.0, maximum=5.0),
    ] = 0.5
    calibrator_learning_rate: Annotated[
        float, Parameter(meaning="Adam's learning rate of the calibrator", minimum=1e-9, plausible=(1e-6, 1e-1))
    ] = 1e-4
    calibrator_final_learning_rate: Annotated[
        float | None,
        Parameter(meaning="rate that it falls to (Assumption 4.1: below the agents'); null: constant", minimum=1e-9),
    ] = None
    calibrator_passes: Annotated[
        int, Parameter(unit="passes", meaning="passes over the B samples per update", minimum=1)
    ] = 30
    calibrator_kl_target: Annotated[
        float, Parameter(unit="nats", meaning="target of the calibrator's KL penalty", minimum=1e-9)
    ] = 0.01
    trainings: Annotated[
        int, Parameter(unit="trainings", meaning="of new agents under the frozen law of Λ", minimum=2)
    ] = 3
    training_updates: Annotated[
        int | None, Parameter(unit="updates", meaning="of each of them; null: as many as of the calibration", minimum=1)
    ] = None
    evaluation_episodes: Annotated[
        int, Parameter(unit="episodes", meaning="held-out episodes behind each measurement", minimum=2)
    ] = 400


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig(CalibratedMarket):
    """Those of the experiments: the ablation and the search that they are held against."""

    no_state: Annotated[
        bool, Parameter(meaning="the calibrator draws Λ itself and sees a constant (ablation of Figure 25)")
    ] = False
    bayesian_every: Annotated[
        int, Parameter(unit="updates", meaning="updates M that the agents adapt to each proposal", minimum=1)
    ] = 100
    acquisition: Annotated[
        Literal["ucb", "ei", "random"],
        Parameter(meaning="how it proposes: upper confidence bound, expected improvement, or random search"),
    ] = "ucb"
    kappa: Annotated[float, Parameter(meaning="κ of the upper confidence bound μ + κ s", minimum=0.0)] = 0.5


Number = float
Nine = list[float]


@dataclass(frozen=True, kw_only=True)
class CalibrationHeadline:
    """What was reached, whether it holds for new agents, and what it is held against."""

    reward: Annotated[Number, Headline(meaning="calibrator's reward on held-out episodes, 1 if all targets are met")]
    reward_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over episodes")]
    share: Annotated[Number, Headline(meaning="market share of supertype 1, one provider")]
    share_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over episodes")]
    total_share: Annotated[Number, Headline(meaning="market share of all providers")]
    total_share_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over episodes")]
    percentiles_1: Annotated[
        Nine, Headline(shape="percentiles", unit="lots", meaning="10%…90% of supertype 1's trade sizes, median episode")
    ]
    percentiles_2: Annotated[
        Nine, Headline(shape="percentiles", unit="lots", meaning="10%…90% of supertype 2's trade sizes, median episode")
    ]
    targets_met: Annotated[dict[str, int], Headline(shape="{target: 1 or 0}", meaning="1 where the target is met")]
    reward_retrained: Annotated[Number, Headline(meaning="reward of new agents, under the frozen law of Λ")]
    reward_retrained_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over trainings")]
    share_retrained: Annotated[Number, Headline(meaning="supertype 1's share with new agents")]
    share_retrained_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over trainings")]
    total_share_retrained: Annotated[Number, Headline(meaning="all providers' share with new agents")]
    total_share_retrained_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over trainings")]
    percentiles_1_retrained: Annotated[
        Nine, Headline(shape="percentiles", unit="lots", meaning="supertype 1's, with new agents")
    ]
    percentiles_2_retrained: Annotated[
        Nine, Headline(shape="percentiles", unit="lots", meaning="supertype 2's, with new agents")
    ]
    targets_met_retrained: Annotated[
        dict[str, int], Headline(shape="{target: 1 or 0}", meaning="1 where new agents meet the target")
    ]
    baseline_nothing: Annotated[Number, Headline(meaning="reward of all probabilities ½, connectivity alone deciding")]
    baseline_random: Annotated[Number, Headline(meaning="reward of the best of 67 random profiles there")]
    baseline_closed: Annotated[Number, Headline(meaning="reward of the closed form there")]
    nothing_played: Annotated[Number, Headline(meaning="reward of all probabilities ½, played by the learned agents")]
    closed_played: Annotated[Number, Headline(meaning="reward of the closed form, played by the learned agents")]
    bayesian_reward: Annotated[
        Number, Headline(meaning="reward of Bayesian optimization's best profile, with its own agents")
    ]
    bayesian_share: Annotated[Number, Headline(meaning="supertype 1's share there")]
    bayesian_total_share: Annotated[Number, Headline(meaning="all providers' share there")]
    reward_training: Annotated[Number, Headline(meaning="mean reward over the last tenth of the calibration")]
    bayesian_training: Annotated[Number, Headline(meaning="the same of Bayesian optimization")]
    provider_reward: Annotated[
        list[float], Headline(shape="2", meaning="a provider's reward per episode, by supertype; withdrawing earns 0")
    ]
    bayesian_provider_reward: Annotated[
        list[float], Headline(shape="2", meaning="the same while Bayesian optimization searches, last tenth")
    ]
    supertypes: Annotated[
        dict[str, float], Headline(shape="{component: number}", meaning="mean of the law of Λ that was frozen")
    ]
