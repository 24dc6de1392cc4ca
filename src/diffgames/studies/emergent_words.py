"""Parameters and headline values of the study of emergent behavior."""

from dataclasses import dataclass
from typing import Annotated, Literal

from diffgames.studies.learning_parameters import SettingsByRole
from diffgames.studies.market_parameters import MarketParameters
from diffgames.studies.study import Headline, Parameter

PerClaim = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class EmergentConfig(SettingsByRole, MarketParameters):
    """The market, how often it is learned, and where the first provider's behavior is measured."""

    trainings: Annotated[
        int, Parameter("independent trainings, what the p-values are over", "trainings", minimum=2)
    ] = 5
    points: Annotated[
        int, Parameter("values of every attribute, middles of equal parts of its range", "points", minimum=2)
    ] = 6
    evaluation_episodes: Annotated[
        int, Parameter("held-out episodes at every point, the same at all", "episodes", minimum=2)
    ] = 100
    others: Annotated[
        Literal["drawn", "base"],
        Parameter("the attributes that are not varied: drawn as in training, or those of the other providers"),
    ] = "drawn"
    pnl_takers: Annotated[
        tuple[int, ...],
        Parameter("numbers of PnL takers behind the convexity of F(ε)", "agents", shape="markets", minimum=0),
    ] = (0, 1, 3, 4)
    quote_deviation: Annotated[
        float, Parameter("deviation of the random raw tweaks behind F(ε)", "market spreads", minimum=0.001)
    ] = 0.5
    level: Annotated[
        float, Parameter("probability of any false verdict among all claims", minimum=1e-06, maximum=0.5)
    ] = 0.05


@dataclass(frozen=True, kw_only=True)
class EmergentHeadline:
    """What was claimed and what was found."""

    claims_agree: Annotated[int, Headline("significant, with the paper's sign", "claims")]
    claims_flat: Annotated[int, Headline("without a significant sign", "claims")]
    claims_reversed: Annotated[int, Headline("significant, with the other sign", "claims")]
    signs_agree: Annotated[int, Headline("mean slopes with the paper's sign, significant or not", "claims")]
    hypotheses: Annotated[int, Headline("claims judged together, Holm's correction", "claims")]
    untrained_agree: Annotated[
        int, Headline("baseline: the same for the policies before learning, significant", "claims")
    ]
    untrained_reversed: Annotated[int, Headline("baseline: significant with the other sign", "claims")]
    trainings: Annotated[int, Headline("trainings that ended sound, behind every slope", "trainings")]
    claims: Annotated[
        PerClaim,
        Headline(
            "slope, mean over trainings; null: does not exist",
            "statistic per attribute",
            shape="{claim: number}",
            optional=True,
        ),
    ]
    claims_error: Annotated[
        PerClaim,
        Headline(
            "its standard error over trainings", "statistic per attribute", shape="{claim: number}", optional=True
        ),
    ]
    verdicts: Annotated[
        dict[str, list[float | None]],
        Headline(
            "Student's t and p over trainings; verdict 1 as the paper, 0 flat, −1 reversed",
            shape="claims × columns (paper's sign, ours, t, p, p by Holm, verdict, before learning)",
            optional=True,
        ),
    ]
    reward_first: Annotated[
        dict[str, float], Headline("mean episode reward, first tenth of training", shape="{role_supertype: number}")
    ]
    reward_last: Annotated[
        dict[str, float], Headline("mean episode reward, last tenth of training", shape="{role_supertype: number}")
    ]
    updates: Annotated[int, Headline("policy updates of every training", "updates")]
