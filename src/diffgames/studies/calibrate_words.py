"""Parameters and headline values of the calibration of one's own market."""

from dataclasses import dataclass
from typing import Annotated, Literal

from diffgames.studies.calibration_words import CalibratedMarket
from diffgames.studies.study import Headline, Parameter


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(CalibratedMarket):
    """The targets, who trades, and how the law of Λ is answered."""

    targets: Annotated[
        str | None,
        Parameter(meaning="CSV file: statistic, at, value, kind, weight (see the page); null: an example"),
    ] = None
    others: Annotated[int, Parameter(unit="agents", meaning="providers beside one's own", minimum=1)] = 4
    sizes: Annotated[
        tuple[float, ...], Parameter(shape="sizes", unit="lots", meaning="trade sizes of the takers, rising", minimum=0)
    ] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
    moves: Annotated[
        Literal["connectivity", "both", "risk aversion"],
        Parameter(meaning="what Λ holds; where risk aversion alone moves, all are connected and prices must do it"),
    ] = "connectivity"
    learning_updates: Annotated[
        int, Parameter(unit="updates", meaning="of agents under the law of Λ before any data", minimum=1)
    ] = 1000
    simulations: Annotated[
        int, Parameter(unit="episodes", meaning="pairs of Λ and statistics that the law is fitted to", minimum=100)
    ] = 20000
    fit_steps: Annotated[int, Parameter(unit="steps", meaning="gradient steps of that fit", minimum=20)] = 4000
    fit_width: Annotated[int, Parameter(unit="units", meaning="units per hidden layer there", minimum=1)] = 64


Number = float
Values = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class CalibrateHeadline:
    """What was asked and reached, the law of Λ that answers, and what it is held against."""

    wanted: Annotated[Values, Headline(shape="{target: values}", meaning="what the targets ask, in their own units")]
    achieved_posterior: Annotated[
        Values, Headline(shape="{target: values}", meaning="by draws of the amortized law, without training")
    ]
    achieved: Annotated[Values, Headline(shape="{target: values}", meaning="by the law that CALSHEQ trained from it")]
    achieved_retrained: Annotated[
        Values, Headline(shape="{target: values}", meaning="by new agents under that law, mean over trainings")
    ]
    achieved_retrained_error: Annotated[
        Values, Headline(shape="{target: values}", meaning="half-width of its 95% interval over trainings")
    ]
    targets_met: Annotated[dict[str, int], Headline(shape="{target: 1 or 0}", meaning="1 where the target is met")]
    targets_met_retrained: Annotated[
        dict[str, int], Headline(shape="{target: 1 or 0}", meaning="1 where new agents meet the target")
    ]
    reward: Annotated[Number, Headline(meaning="1/(1 + weighted losses) on held-out episodes, 1 if all are met")]
    reward_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over episodes")]
    reward_posterior: Annotated[Number, Headline(meaning="that of the amortized law, the same agents")]
    reward_retrained: Annotated[Number, Headline(meaning="that of new agents under the frozen law")]
    reward_retrained_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over trainings")]
    nothing_played: Annotated[Number, Headline(meaning="that of all probabilities ½ and γ as stated, the same agents")]
    prior_played: Annotated[Number, Headline(meaning="that of the law of Λ before any data, the same agents")]
    baseline_nothing: Annotated[
        Number | None,
        Headline(meaning="that of all ½ where connectivity alone decides; null: prices asked", optional=True),
    ]
    baseline_random: Annotated[
        Number | None, Headline(meaning="that of the best of 67 random profiles there", optional=True)
    ]
    baseline_closed: Annotated[
        Number | None, Headline(meaning="that of the closed form there; null: more than both shares", optional=True)
    ]
    posterior: Annotated[
        Values, Headline(shape="{component: 5%, 50%, 95%}", meaning="quantiles of Λ given the targets")
    ]
    supertypes: Annotated[
        dict[str, float], Headline(shape="{component: number}", meaning="mean of the law of Λ that was frozen")
    ]
    identified: Annotated[
        list[float], Headline(shape="directions", meaning="1 − λ of the directions of Λ: 1 known, 0 left as it was")
    ]
    identified_directions: Annotated[Number, Headline(meaning="their sum: how many directions the targets identify")]
    information: Annotated[
        Number, Headline(unit="nats", meaning="held-out log density of Λ given its statistics, less before any data")
    ]
    coverage: Annotated[Number, Headline(meaning="how often 90% intervals hold the true Λ, pairs not fitted to")]
    coverage_error: Annotated[Number, Headline(meaning="half-width of its 95% interval over pairs")]
    answer_seconds: Annotated[Number, Headline(unit="s", meaning="to draw the law for other targets", timing=True)]
