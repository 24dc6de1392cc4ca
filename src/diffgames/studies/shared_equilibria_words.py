"""Parameters and headline values of the study of shared equilibria."""

from dataclasses import dataclass
from typing import Annotated

from diffgames.studies.study import Headline, Parameter

PerCase = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """The decision's rewards, ε, steps and noise, and the start of rock–paper–scissors."""

    rewards: Annotated[tuple[float, ...], Parameter("of the decision", shape="actions", minimum=0.0)] = (0.0, 0.5, 1.0)
    discount: Annotated[float, Parameter("ζ", minimum=0.01, maximum=0.95)] = 0.5
    epsilon: Annotated[float, Parameter("ε of the ε-shared equilibrium", "reward", minimum=1e-4)] = 0.1
    eta: Annotated[float, Parameter("η of Lemma 3.12", minimum=0.01, maximum=0.99)] = 0.5
    noise: Annotated[float, Parameter("the noise is ± this, multiplied on", minimum=0.0, maximum=0.99)] = 0.5
    start: Annotated[tuple[float, ...], Parameter("first policy of rock–paper–scissors", shape="3", minimum=0.0)] = (
        0.5,
        0.3,
        0.2,
    )
    step: Annotated[float, Parameter("its step, and that of anti-coordination", minimum=1e-4, maximum=1.0)] = 0.05
    updates: Annotated[int, Parameter("of every ascent", "updates", minimum=100, maximum=1_000_000)] = 2000


@dataclass(frozen=True, kw_only=True)
class SharedHeadline:
    """Bounds, what was observed, and who is transitive."""

    bound: Annotated[float | None, Headline("Theorem 3.9 on the decision, corrected", "updates", optional=True)]
    observed: Annotated[int | None, Headline("first with a gain ≤ ε there; null: not met", "updates", optional=True)]
    transitive: Annotated[
        dict[str, int], Headline("1: no cycle of improvements found, 0: one found", shape="{game: number}")
    ]
    cycle_length: Annotated[
        dict[str, int], Headline("of the shortest cycle, 0: none", "policies", shape="{game: number}")
    ]
    bounds_printed: Annotated[
        PerCase, Headline("as the paper prints; null: none", "updates", shape="{case: number}", optional=True)
    ]
    bounds: Annotated[PerCase, Headline("corrected; null: none", "updates", shape="{case: number}", optional=True)]
    observations: Annotated[
        dict[str, int | None], Headline("observed; null: not met", "updates", shape="{case: number}", optional=True)
    ]
    exploitability: Annotated[
        dict[str, float], Headline("of the last policy, all pure replies", "reward", shape="{case: number}")
    ]
    distance: Annotated[
        dict[str, float], Headline("of rock–paper–scissors to its equilibrium, Euclidean", shape="{update: number}")
    ]
    improvement_probability: Annotated[
        float, Headline("least probability p of Theorem 3.14 at the start; at most 0: it says nothing")
    ]
    taken: Annotated[float, Headline("share of the updates taken under that theorem's rule, η' = η/2, with α")]
    taken_printed: Annotated[float, Headline("the same without α, as printed")]
