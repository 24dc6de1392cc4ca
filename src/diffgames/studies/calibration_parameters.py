"""Parameters and headline values of the calibrations: the four experiments, and that of one's own market."""

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

    takers_of_each_size: Annotated[int, Parameter("takers of each trade size 1…10", "agents", minimum=1)] = 50
    steps: Annotated[int, Parameter("episode length T", "steps", minimum=1)] = 100
    risk_aversion: Annotated[
        float, Parameter("γ of all providers; where it is calibrated, its start", minimum=0.0, maximum=5.0)
    ] = 0.5
    calibrator_learning_rate: Annotated[
        float, Parameter("Adam's learning rate of the calibrator", minimum=1e-09, plausible=(1e-06, 0.1))
    ] = 0.0001
    calibrator_final_learning_rate: Annotated[
        float | None,
        Parameter("rate that it falls to (Assumption 4.1: below the agents'); null: constant", minimum=1e-09),
    ] = None
    calibrator_passes: Annotated[int, Parameter("passes over the B samples per update", "passes", minimum=1)] = 30
    calibrator_kl_target: Annotated[
        float, Parameter("target of the calibrator's KL penalty", "nats", minimum=1e-09)
    ] = 0.01
    calibrator_exploration: Annotated[
        float | None,
        Parameter(
            "first deviation of its increments, halves of a range; null: 0.61, as of any new policy", minimum=1e-2
        ),
    ] = None
    trainings: Annotated[int, Parameter("of new agents under the frozen law of Λ", "trainings", minimum=2)] = 3
    training_updates: Annotated[
        int | None, Parameter("of each of them; null: as many as of the calibration", "updates", minimum=1)
    ] = None
    evaluation_episodes: Annotated[
        int, Parameter("held-out episodes behind each measurement", "episodes", minimum=2)
    ] = 400


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig(CalibratedMarket):
    """Those of the experiments: the ablation and the search that they are held against."""

    no_state: Annotated[
        bool, Parameter("the calibrator draws Λ itself and sees a constant (ablation of Figure 25)")
    ] = False
    bayesian_every: Annotated[
        int, Parameter("updates M that the agents adapt to each proposal", "updates", minimum=1)
    ] = 100
    acquisition: Annotated[
        Literal["ucb", "ei", "random"],
        Parameter("how it proposes: upper confidence bound, expected improvement, or random search"),
    ] = "ucb"
    kappa: Annotated[float, Parameter("κ of the upper confidence bound μ + κ s", minimum=0.0)] = 0.5


Number = float
Nine = list[float]


@dataclass(frozen=True, kw_only=True)
class CalibrationHeadline:
    """What was reached, whether it holds for new agents, and what it is held against."""

    reward: Annotated[Number, Headline("calibrator's reward on held-out episodes, 1 if all targets are met")]
    reward_error: Annotated[Number, Headline("half-width of its 95% interval over episodes")]
    share: Annotated[Number, Headline("market share of supertype 1, one provider")]
    share_error: Annotated[Number, Headline("half-width of its 95% interval over episodes")]
    total_share: Annotated[Number, Headline("market share of all providers")]
    total_share_error: Annotated[Number, Headline("half-width of its 95% interval over episodes")]
    percentiles_1: Annotated[
        Nine, Headline("10%…90% of supertype 1's trade sizes, median episode", "lots", shape="percentiles")
    ]
    percentiles_2: Annotated[
        Nine, Headline("10%…90% of supertype 2's trade sizes, median episode", "lots", shape="percentiles")
    ]
    targets_met: Annotated[dict[str, int], Headline("1 where the target is met", shape="{target: 1 or 0}")]
    reward_retrained: Annotated[Number, Headline("reward of new agents, under the frozen law of Λ")]
    reward_retrained_error: Annotated[Number, Headline("half-width of its 95% interval over trainings")]
    share_retrained: Annotated[Number, Headline("supertype 1's share with new agents")]
    share_retrained_error: Annotated[Number, Headline("half-width of its 95% interval over trainings")]
    total_share_retrained: Annotated[Number, Headline("all providers' share with new agents")]
    total_share_retrained_error: Annotated[Number, Headline("half-width of its 95% interval over trainings")]
    percentiles_1_retrained: Annotated[Nine, Headline("supertype 1's, with new agents", "lots", shape="percentiles")]
    percentiles_2_retrained: Annotated[Nine, Headline("supertype 2's, with new agents", "lots", shape="percentiles")]
    targets_met_retrained: Annotated[
        dict[str, int], Headline("1 where new agents meet the target", shape="{target: 1 or 0}")
    ]
    baseline_nothing: Annotated[Number, Headline("reward of all probabilities ½, connectivity alone deciding")]
    baseline_random: Annotated[Number, Headline("reward of the best of 67 random profiles there")]
    baseline_closed: Annotated[Number, Headline("reward of the closed form there")]
    nothing_played: Annotated[Number, Headline("reward of all probabilities ½, played by the learned agents")]
    closed_played: Annotated[Number, Headline("reward of the closed form, played by the learned agents")]
    bayesian_reward: Annotated[Number, Headline("reward of Bayesian optimization's best profile, with its own agents")]
    bayesian_share: Annotated[Number, Headline("supertype 1's share there")]
    bayesian_total_share: Annotated[Number, Headline("all providers' share there")]
    reward_training: Annotated[Number, Headline("mean reward over the last tenth of the calibration")]
    bayesian_training: Annotated[Number, Headline("the same of Bayesian optimization")]
    provider_reward: Annotated[
        list[float], Headline("a provider's reward per episode, by supertype; withdrawing earns 0", shape="2")
    ]
    bayesian_provider_reward: Annotated[
        list[float], Headline("the same while Bayesian optimization searches, last tenth", shape="2")
    ]
    supertypes: Annotated[
        dict[str, float], Headline("mean of the law of Λ that was frozen", shape="{component: number}")
    ]


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(CalibratedMarket):
    """The targets, who trades, and how the law of Λ is answered."""

    targets: Annotated[
        str | None, Parameter("CSV file: statistic, at, value, kind, weight (see the page); null: an example")
    ] = None
    others: Annotated[int, Parameter("providers beside one's own", "agents", minimum=1)] = 4
    sizes: Annotated[
        tuple[float, ...], Parameter("trade sizes of the takers, rising", "lots", shape="sizes", minimum=0)
    ] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
    moves: Annotated[
        Literal["connectivity", "both", "risk aversion"],
        Parameter("what Λ holds; where risk aversion alone moves, all are connected and prices must do it"),
    ] = "connectivity"
    learning_updates: Annotated[
        int, Parameter("of agents under the law of Λ before any data", "updates", minimum=1)
    ] = 1000
    simulations: Annotated[
        int, Parameter("pairs of Λ and statistics that the law is fitted to", "episodes", minimum=100)
    ] = 20000
    fit_steps: Annotated[int, Parameter("gradient steps of that fit", "steps", minimum=20)] = 4000
    fit_width: Annotated[int, Parameter("units per hidden layer there", "units", minimum=1)] = 64


Values = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class CalibrateHeadline:
    """What was asked and reached, the law of Λ that answers, and what it is held against."""

    wanted: Annotated[Values, Headline("what the targets ask, in their own units", shape="{target: values}")]
    achieved_posterior: Annotated[
        Values, Headline("by draws of the amortized law, without training", shape="{target: values}")
    ]
    achieved: Annotated[Values, Headline("by the law that CALSHEQ trained from it", shape="{target: values}")]
    achieved_retrained: Annotated[
        Values, Headline("by new agents under that law, mean over trainings", shape="{target: values}")
    ]
    achieved_retrained_error: Annotated[
        Values, Headline("half-width of its 95% interval over trainings", shape="{target: values}")
    ]
    targets_met: Annotated[dict[str, int], Headline("1 where the target is met", shape="{target: 1 or 0}")]
    targets_met_retrained: Annotated[
        dict[str, int], Headline("1 where new agents meet the target", shape="{target: 1 or 0}")
    ]
    reward: Annotated[Number, Headline("1/(1 + weighted losses) on held-out episodes, 1 if all are met")]
    reward_error: Annotated[Number, Headline("half-width of its 95% interval over episodes")]
    reward_posterior: Annotated[Number, Headline("that of the amortized law, the same agents")]
    reward_retrained: Annotated[Number, Headline("that of new agents under the frozen law")]
    reward_retrained_error: Annotated[Number, Headline("half-width of its 95% interval over trainings")]
    nothing_played: Annotated[Number, Headline("that of all probabilities ½ and γ as stated, the same agents")]
    prior_played: Annotated[Number, Headline("that of the law of Λ before any data, the same agents")]
    baseline_nothing: Annotated[
        Number | None, Headline("that of all ½ where connectivity alone decides; null: prices asked", optional=True)
    ]
    baseline_random: Annotated[Number | None, Headline("that of the best of 67 random profiles there", optional=True)]
    baseline_closed: Annotated[
        Number | None, Headline("that of the closed form there; null: more than both shares", optional=True)
    ]
    posterior: Annotated[Values, Headline("quantiles of Λ given the targets", shape="{component: 5%, 50%, 95%}")]
    supertypes: Annotated[
        dict[str, float], Headline("mean of the law of Λ that was frozen", shape="{component: number}")
    ]
    identified: Annotated[
        list[float], Headline("1 − λ of the directions of Λ: 1 known, 0 left as it was", shape="directions")
    ]
    identified_directions: Annotated[
        Number, Headline("how many directions the targets identify, Σ(1 − λ) by the trace of the covariance")
    ]
    identified_directions_error: Annotated[Number, Headline("half-width of its 95% interval over draws")]
    information: Annotated[
        Number, Headline("held-out log density of Λ given its statistics, less before any data", "nats")
    ]
    coverage: Annotated[Number, Headline("how often 90% intervals hold the true Λ, pairs not fitted to")]
    coverage_error: Annotated[Number, Headline("half-width of its 95% interval over pairs")]
    answer_seconds: Annotated[Number, Headline("to draw the law for other targets", "s", timing=True)]
