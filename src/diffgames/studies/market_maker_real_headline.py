"""The headline values of `market-maker-real`, in words: estimates, quotes, and promised against realised edge."""

from dataclasses import dataclass
from typing import Annotated, Any

from diffgames.studies.study import Headline

_N = "regimes"
_GRID = "regimes × inventory −Q…Q"


@dataclass(frozen=True, kw_only=True)
class RealHeadline:
    """Estimates, quotes and the back-test."""

    sigma: Annotated[Any, Headline(shape=_N, unit="currency/√s", meaning="volatility of each regime, rising")]
    sigma_interval: Annotated[
        Any,
        Headline(
            shape=f"{_N} × low, high", unit="currency/√s", meaning="95% interval, over the starts of the grid of times"
        ),
    ]
    A_interval: Annotated[
        Any,
        Headline(shape=f"{_N} × low, high", unit="1/s", meaning="95% interval given the regimes, over the same starts"),
    ]
    k_interval: Annotated[
        Any,
        Headline(
            shape=f"{_N} × low, high", unit="1/currency", meaning="95% interval given the regimes, over the same starts"
        ),
    ]
    A: Annotated[Any, Headline(shape=_N, unit="1/s", meaning="fills at the mid per side")]
    k: Annotated[Any, Headline(shape=_N, unit="1/currency", meaning="decay of fills with the distance from the mid")]
    generator: Annotated[
        Any, Headline(shape="regimes × regimes", unit="1/s", meaning="switching rates, negative row sums")
    ]
    share: Annotated[Any, Headline(shape=_N, meaning="share of the time in each regime")]
    orders: Annotated[Any, Headline(shape=_N, unit="orders", meaning="market orders observed")]
    misfit: Annotated[Any, Headline(shape=_N, meaning="Kolmogorov–Smirnov distance of the depths to the exponential")]
    log_likelihood: Annotated[Any, Headline(meaning="log-likelihood of the returns under the hidden Markov model")]
    criterion: Annotated[
        Any, Headline(shape="1, 2, … regimes", meaning="BIC of the returns' models; the least is supported")
    ]
    regimes_supported: Annotated[Any, Headline(meaning="regimes that the criterion asks for; 1 says there are none")]
    A_by_fills: Annotated[
        Any,
        Headline(
            shape="{rule: regimes × (A, low, high)}",
            unit="1/s",
            meaning="A of quotes first (reach) and last (queue) in their queue, 95% interval",
            optional=True,
        ),
    ]
    k_by_fills: Annotated[
        Any,
        Headline(
            shape="{rule: regimes × (k, low, high)}", unit="1/currency", meaning="k by the same rules", optional=True
        ),
    ]
    theta0: Annotated[Any, Headline(shape=_GRID, unit="currency × inventory", meaning="certainty equivalent at t = 0")]
    ask: Annotated[
        Any, Headline(shape=_GRID, unit="currency", meaning="ask offset at t = 0, null where closed", optional=True)
    ]
    bid: Annotated[
        Any, Headline(shape=_GRID, unit="currency", meaning="bid offset at t = 0, null where closed", optional=True)
    ]
    spread: Annotated[Any, Headline(shape=_N, unit="tick", meaning="full spread at q = 0, t = 0")]
    rounding_cost: Annotated[
        Any,
        Headline(
            shape=_N,
            unit="tick",
            meaning="certainty equivalent given up at q = 0, t = 0 by offsets rounded up to the grid",
            optional=True,
        ),
    ]
    in_units: Annotated[
        Any,
        Headline(
            shape="{quantity, unit: number or regimes}",
            meaning="spreads and realised edge in currency per lot, basis points and pips",
            optional=True,
        ),
    ]
    spectral_gap: Annotated[
        Any, Headline(unit="1/s", meaning="spectral gap of the equilibrium generator at q = 0, t = 0")
    ]
    impact: Annotated[
        Any, Headline(shape=_N, unit="tick", meaning="mean move of the mid against a fill within 5 s", optional=True)
    ]
    impact_interval: Annotated[
        Any,
        Headline(
            shape=f"{_N} × low, high",
            unit="tick",
            meaning="95% interval given the regimes, over the same starts",
            optional=True,
        ),
    ]
    market_spread: Annotated[
        float | None, Headline(unit="tick", meaning="median spread of the recorded book over time", optional=True)
    ]
    promised_edge: Annotated[
        float | None,
        Headline(unit="tick/fill", meaning="offset less impact of the held-out fills, by the model", optional=True),
    ]
    realised_edge: Annotated[
        float | None,
        Headline(unit="tick/fill", meaning="offset less the mid's move within 5 s of the same fills", optional=True),
    ]
    realised_edge_error: Annotated[
        float | None, Headline(unit="tick/fill", meaning="standard error of the realised edge", optional=True)
    ]
    held_out_fills: Annotated[
        float | None, Headline(unit="fills", meaning="held-out fills with a mark-out", optional=True)
    ]
    edge_by_quoter: Annotated[
        Any, Headline(shape="{quoter: number}", unit="tick/fill", meaning="realised edge of each quoter", optional=True)
    ]
    model_by_regime: Annotated[
        Any,
        Headline(
            shape="{quantity: regimes}",
            unit="tick/fill, tick/s",
            meaning="held-out fills, edges, mark-out and profit of the model's quotes in each regime, with errors",
            optional=True,
        ),
    ]
    profit_by_quoter: Annotated[
        Any, Headline(shape="{quoter: number}", unit="tick/s", meaning="profit marked to the mid", optional=True)
    ]
    profit_error_by_quoter: Annotated[
        Any, Headline(shape="{quoter: number}", unit="tick/s", meaning="standard error of the profit", optional=True)
    ]
