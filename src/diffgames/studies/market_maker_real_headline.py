"""The headline values of `market-maker-real`, in words: estimates, quotes, and promised against realised edge."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from diffgames.studies.study import Headline

ByRegime = partial(Headline, shape="regimes")
Interval = partial(Headline, shape="regimes × low, high")
OnGrid = partial(Headline, shape="regimes × inventory −Q…Q")


@dataclass(frozen=True, kw_only=True)
class RealHeadline:
    """Estimates, quotes and the back-test."""

    sigma: Annotated[Any, ByRegime("volatility of each regime, rising", "currency/√s")]
    sigma_interval: Annotated[Any, Interval("95% interval, over the starts of the grid of times", "currency/√s")]
    A_interval: Annotated[Any, Interval("95% interval given the regimes, over the same starts", "1/s")]
    k_interval: Annotated[Any, Interval("95% interval given the regimes, over the same starts", "1/currency")]
    A: Annotated[Any, ByRegime("fills at the mid per side", "1/s")]
    k: Annotated[Any, ByRegime("decay of fills with the distance from the mid", "1/currency")]
    generator: Annotated[Any, Headline("switching rates, negative row sums", "1/s", shape="regimes × regimes")]
    share: Annotated[Any, ByRegime("share of the time in each regime")]
    orders: Annotated[Any, ByRegime("market orders observed", "orders")]
    misfit: Annotated[Any, ByRegime("Kolmogorov–Smirnov distance of the depths to the exponential")]
    log_likelihood: Annotated[Any, Headline("log-likelihood of the returns under the hidden Markov model")]
    criterion: Annotated[Any, Headline("BIC of the returns' models; the least is supported", shape="1, 2, … regimes")]
    regimes_supported: Annotated[Any, Headline("regimes that the criterion asks for; 1 says there are none")]
    A_by_fills: Annotated[
        Any,
        Headline(
            "A of quotes first (reach) and last (queue) in their queue, 95% interval",
            "1/s",
            shape="{rule: regimes × (A, low, high)}",
            optional=True,
        ),
    ]
    k_by_fills: Annotated[
        Any, Headline("k by the same rules", "1/currency", shape="{rule: regimes × (k, low, high)}", optional=True)
    ]
    theta0: Annotated[Any, OnGrid("certainty equivalent at t = 0", "currency × inventory")]
    ask: Annotated[Any, OnGrid("ask offset at t = 0, null where closed", "currency", optional=True)]
    bid: Annotated[Any, OnGrid("bid offset at t = 0, null where closed", "currency", optional=True)]
    spread: Annotated[Any, ByRegime("full spread at q = 0, t = 0", "tick")]
    rounding_cost: Annotated[
        Any,
        ByRegime(
            "certainty equivalent given up at q = 0, t = 0 by offsets rounded up to the grid", "tick", optional=True
        ),
    ]
    in_units: Annotated[
        Any,
        Headline(
            "spreads and realised edge in currency per lot, basis points and pips",
            shape="{quantity, unit: number or regimes}",
            optional=True,
        ),
    ]
    spectral_gap: Annotated[Any, Headline("spectral gap of the equilibrium generator at q = 0, t = 0", "1/s")]
    impact: Annotated[Any, ByRegime("mean move of the mid against a fill within 5 s", "tick", optional=True)]
    impact_interval: Annotated[
        Any, Interval("95% interval given the regimes, over the same starts", "tick", optional=True)
    ]
    market_spread: Annotated[
        float | None, Headline("median spread of the recorded book over time", "tick", optional=True)
    ]
    promised_edge: Annotated[
        float | None, Headline("offset less impact of the held-out fills, by the model", "tick/fill", optional=True)
    ]
    realised_edge: Annotated[
        float | None, Headline("offset less the mid's move within 5 s of the same fills", "tick/fill", optional=True)
    ]
    realised_edge_error: Annotated[
        float | None, Headline("standard error of the realised edge", "tick/fill", optional=True)
    ]
    held_out_fills: Annotated[float | None, Headline("held-out fills with a mark-out", "fills", optional=True)]
    edge_by_quoter: Annotated[
        Any, Headline("realised edge of each quoter", "tick/fill", shape="{quoter: number}", optional=True)
    ]
    model_by_regime: Annotated[
        Any,
        Headline(
            "held-out fills, edges, mark-out and profit of the model's quotes in each regime, with errors",
            "tick/fill, tick/s",
            shape="{quantity: regimes}",
            optional=True,
        ),
    ]
    profit_by_quoter: Annotated[
        Any, Headline("profit marked to the mid", "tick/s", shape="{quoter: number}", optional=True)
    ]
    profit_error_by_quoter: Annotated[
        Any, Headline("standard error of the profit", "tick/s", shape="{quoter: number}", optional=True)
    ]
