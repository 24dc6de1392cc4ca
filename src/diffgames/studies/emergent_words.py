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
        int, Parameter(unit="trainings", meaning="independent trainings, what the p-values are over", minimum=2)
    ] = 5
    points: Annotated[
        int,
        Parameter(unit="points", meaning="values of every attribute, middles of equal parts of its range", minimum=2),
    ] = 6
    evaluation_episodes: Annotated[
        int, Parameter(unit="episodes", meaning="held-out episodes at every point, the same at all", minimum=2)
    ] = 100
    others: Annotated[
        Literal["drawn", "base"],
        Parameter(meaning="the attributes that are not varied: drawn as in training, or those of the other providers"),
    ] = "drawn"
    pnl_takers: Annotated[
        tuple[int, ...],
        Parameter(
            shape="markets", unit="agents", meaning="numbers of PnL takers behind the convexity of F(ε)", minimum=0
        ),
    ] = (0, 1, 3, 4)
    quote_deviation: Annotated[
        float,
        Parameter(unit="market spreads", meaning="deviation of the random raw tweaks behind F(ε)", minimum=1e-3),
    ] = 0.5
    level: Annotated[
        float, Parameter(meaning="probability of any false verdict among all claims", minimum=1e-6, maximum=0.5)
    ] = 0.05


@dataclass(frozen=True, kw_only=True)
class EmergentHeadline:
    """What was claimed and what was found."""

    claims_agree: Annotated[int, Headline(unit="claims", meaning="significant, with the paper's sign")]
    claims_flat: Annotated[int, Headline(unit="claims", meaning="without a significant sign")]
    claims_reversed: Annotated[int, Headline(unit="claims", meaning="significant, with the other sign")]
    signs_agree: Annotated[
        int, Headline(unit="claims", meaning="mean slopes with the paper's sign, significant or not")
    ]
    hypotheses: Annotated[int, Headline(unit="claims", meaning="claims judged together, Holm's correction")]
    untrained_agree: Annotated[
        int, Headline(unit="claims", meaning="baseline: the same for the policies before learning, significant")
    ]
    untrained_reversed: Annotated[int, Headline(unit="claims", meaning="baseline: significant with the other sign")]
    trainings: Annotated[int, Headline(unit="trainings", meaning="trainings that ended sound, behind every slope")]
    claims: Annotated[
        PerClaim,
        Headline(
            shape="{claim: number}",
            unit="statistic per attribute",
            meaning="slope, mean over trainings; null: does not exist",
            optional=True,
        ),
    ]
    claims_error: Annotated[
        PerClaim,
        Headline(
            shape="{claim: number}",
            unit="statistic per attribute",
            meaning="its standard error over trainings",
            optional=True,
        ),
    ]
    verdicts: Annotated[
        dict[str, list[float | None]],
        Headline(
            shape="claims × columns (paper's sign, ours, t, p, p by Holm, verdict, before learning)",
            meaning="Student's t and p over trainings; verdict 1 as the paper, 0 flat, −1 reversed",
            optional=True,
        ),
    ]
    reward_first: Annotated[
        dict[str, float],
        Headline(shape="{role_supertype: number}", meaning="mean episode reward, first tenth of training"),
    ]
    reward_last: Annotated[
        dict[str, float],
        Headline(shape="{role_supertype: number}", meaning="mean episode reward, last tenth of training"),
    ]
    updates: Annotated[int, Headline(unit="updates", meaning="policy updates of every training")]
