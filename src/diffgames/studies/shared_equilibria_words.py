"""Parameters and headline values of the study of shared equilibria."""

from dataclasses import dataclass
from typing import Annotated

from diffgames.studies.study import Headline, Parameter

PerCase = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """The decision's rewards, ε, steps and noise, and the start of rock–paper–scissors."""

    rewards: Annotated[tuple[float, ...], Parameter(shape="actions", meaning="of the decision", minimum=0.0)] = (
        0.0,
        0.5,
        1.0,
    )
    discount: Annotated[float, Parameter(meaning="ζ", minimum=0.01, maximum=0.95)] = 0.5
    epsilon: Annotated[float, Parameter(unit="reward", meaning="ε of the ε-shared equilibrium", minimum=1e-4)] = 0.1
    eta: Annotated[float, Parameter(meaning="η of Lemma 3.12", minimum=0.01, maximum=0.99)] = 0.5
    noise: Annotated[float, Parameter(meaning="the noise is ± this, multiplied on", minimum=0.0, maximum=0.99)] = 0.5
    start: Annotated[
        tuple[float, ...], Parameter(shape="3", meaning="first policy of rock–paper–scissors", minimum=0.0)
    ] = (0.5, 0.3, 0.2)
    step: Annotated[float, Parameter(meaning="its step, and that of anti-coordination", minimum=1e-4, maximum=1.0)] = (
        0.05
    )
    updates: Annotated[int, Parameter(unit="updates", meaning="of every ascent", minimum=100, maximum=1_000_000)] = 2000


@dataclass(frozen=True, kw_only=True)
class SharedHeadline:
    """Bounds, what was observed, and who is transitive."""

    bound: Annotated[
        float | None, Headline(unit="updates", optional=True, meaning="Theorem 3.9 on the decision, corrected")
    ]
    observed: Annotated[
        int | None, Headline(unit="updates", optional=True, meaning="first with a gain ≤ ε there; null: not met")
    ]
    transitive: Annotated[
        dict[str, int], Headline(shape="{game: number}", meaning="1: no cycle of improvements found, 0: one found")
    ]
    cycle_length: Annotated[
        dict[str, int], Headline(shape="{game: number}", unit="policies", meaning="of the shortest cycle, 0: none")
    ]
    bounds_printed: Annotated[
        PerCase,
        Headline(shape="{case: number}", unit="updates", optional=True, meaning="as the paper prints; null: none"),
    ]
    bounds: Annotated[
        PerCase, Headline(shape="{case: number}", unit="updates", optional=True, meaning="corrected; null: none")
    ]
    observations: Annotated[
        dict[str, int | None],
        Headline(shape="{case: number}", unit="updates", optional=True, meaning="observed; null: not met"),
    ]
    exploitability: Annotated[
        dict[str, float],
        Headline(shape="{case: number}", unit="reward", meaning="of the last policy, all pure replies"),
    ]
    distance: Annotated[
        dict[str, float],
        Headline(shape="{update: number}", meaning="of rock–paper–scissors to its equilibrium, Euclidean"),
    ]
    improvement_probability: Annotated[
        float, Headline(meaning="least probability p of Theorem 3.14 at the start; at most 0: it says nothing")
    ]
    taken: Annotated[float, Headline(meaning="share of the updates taken under that theorem's rule, η' = η/2, with α")]
    taken_printed: Annotated[float, Headline(meaning="the same without α, as printed")]
