"""The flow a provider receives as a function of its price, with more and more PnL takers (Vadori et al., Figure 3).

The flow response F(ε), equation (27), is the mean volume that takers trade with a provider on a side whose price is
ε_ask = ½ε_spread + ε_skew or ε_bid = ½ε_spread − ε_skew. To measure it and not the provider's habits, the first
provider quotes at random throughout, independently of everything; the other providers and all takers learn in its
presence, once for every number of PnL takers (ω = 1), next to the same flow takers (ω = 0).

Flow takers trade whatever the price and choose the best venue; PnL takers trade when a price is attractive, and the
more so the more attractive it is, which bends the curve upwards at low ε. The convexity is the coefficient c of

    F(ε) ≈ a + b ε + c ε²

by least squares over all steps and sides, with a standard error clustered by episode.

All numbers of PnL takers share one compiled program: every market has as many as the largest, each a supertype of its
own, and those that are not wanted are connected to nobody.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.learning.policy import AbstractPolicy, Profile
from diffgames.learning.rollout import evaluate
from diffgames.learning.verdict import verdict
from diffgames.markets.behaviour import FlowResponse, Quadratic, flow_response, response_curvature
from diffgames.markets.environment import OTCMarket
from diffgames.markets.market_state import StepRecord
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.studies import otc_figures
from diffgames.studies.certificate_parameters import CertificateParameters, certify, learning_memory
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.exchange_parameters import ExchangeParameters, fit_from
from diffgames.studies.learning_parameters import learn, new_profile, tenth
from diffgames.studies.market_parameters import MarketParameters, build_market, check_walls
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.deviation import Deviation

LEARNERS = ("provider", "taker")
RANDOM = "random provider"


@dataclass(frozen=True, kw_only=True)
class FlowResponseConfig(CertificateParameters, ExchangeParameters):
    """Who trades with the randomly quoting provider, and how its flow is measured."""

    pnl_takers: Annotated[tuple[int, ...], Parameter("numbers of PnL takers", "agents", shape="markets", minimum=0)] = (
        0,
        1,
        3,
        4,
    )
    flow_takers: Annotated[int, Parameter("flow takers in every market", "agents", minimum=1)] = 12
    other_providers: Annotated[int, Parameter("learning providers beside the first", "agents", minimum=1)] = 2
    provider_risk_aversion: Annotated[float, Parameter("γ of the learning providers", minimum=0.0)] = 0.5
    quote_deviation: Annotated[
        float, Parameter("standard deviation of the first provider's raw tweaks", "market spreads", minimum=0.001)
    ] = 0.5
    bins: Annotated[int, Parameter("bins of ε in the figure", minimum=3)] = 15
    price_range: Annotated[float, Parameter("largest |ε| in figure and convexity", "market spreads", minimum=0.001)] = (
        1.0
    )
    steps: Annotated[int, Parameter("episode length T", "steps", minimum=1)] = 100


PerMarket = partial(Headline, shape="markets")


@dataclass(frozen=True, kw_only=True)
class FlowHeadline:
    """How the flow a provider receives bends with its price, per number of PnL takers."""

    pnl_takers: Annotated[Any, PerMarket("numbers of PnL takers", "agents")]
    convexity: Annotated[Any, PerMarket("coefficient c of F(ε) ≈ a + bε + cε²", "lots per squared market spread")]
    convexity_standard_error: Annotated[
        Any,
        PerMarket("its standard error, clustered by episode, of evaluation alone", "lots per squared market spread"),
    ]
    slope: Annotated[Any, PerMarket("coefficient b of the same", "lots per market spread")]
    flow_share_of_pnl_takers: Annotated[
        Any, PerMarket("share of the first provider's volume that PnL takers bring", "1")
    ]
    reward_first: Annotated[Any, PerMarket("takers' mean reward, first tenth of training", "1")]
    reward_last: Annotated[Any, PerMarket("takers' mean reward, last tenth of training", "1")]
    updates: Annotated[Any, Headline("policy updates made per market", "updates")]


class RandomQuotes(AbstractPolicy):
    """Independent Gaussian spread and skew tweaks, no hedging, whatever is observed."""

    deviation: Float[Array, ""]

    def initial_carry(self, batch: int) -> tuple:
        return ()

    def __call__(
        self, carry: tuple, observation: Float[Array, "batch features"]
    ) -> tuple[tuple, Float[Array, "batch head"], Float[Array, " batch"]]:
        batch = observation.shape[0]
        log_sigma = jnp.log(self.deviation)
        hedge = jnp.float32(-2.0)  # raw −1 and below is a hedge fraction of zero
        head = jnp.stack([jnp.zeros_like(log_sigma), jnp.zeros_like(log_sigma), hedge, log_sigma, log_sigma, hedge])
        return carry, jnp.broadcast_to(head[None, :], (batch, 6)), jnp.zeros((batch,), jnp.float32)


@dataclass(frozen=True)
class Measured:
    """One market: its number of PnL takers, response curve, curvature, and the records behind them."""

    pnl_takers: int
    curve: FlowResponse
    curvature: Quadratic
    record: StepRecord
    reward: Float[np.ndarray, " updates"]


def run(config: FlowResponseConfig, context: RunContext) -> StudyResult:
    """Learn every market, measure the first provider's flow, certify the one with most PnL takers."""
    exchange, report = fit_from(config, context.seed)
    context.log(str(report))
    keys = jax.random.split(context.key, 2)
    measured, profiles = [], {}
    for number in config.pnl_takers:
        market = response_market(config, exchange, number)
        key = jax.random.fold_in(keys[0], number)
        profile, history = _learn(config, context, market, number, key)
        record = evaluate(market, profile, jax.random.fold_in(key, 1), config.evaluation_episodes)[1]
        check_walls(cast(OTCMarket, market.game), record)
        measured.append(_measure(config, number, record, np.asarray(history["reward"]["taker"], np.float64)))
        profiles[_label(number)] = profile
    certificate = _certify(config, context, exchange, profiles, keys[1])
    return _result(config, measured, profiles, certificate)


def verify(config: FlowResponseConfig, profile: dict[str, Profile], context: RunContext) -> Certificate:
    """The certificate of the stored profiles, recomputed from their parameters and seed."""
    exchange, _ = fit_from(config, context.seed)
    return _certify(config, context, exchange, profile, jax.random.split(context.key, 2)[1])


def response_market(config: FlowResponseConfig, exchange, pnl_takers: int) -> Deviation:
    """The market with `pnl_takers` PnL takers connected, in which the first provider is apart from the others."""
    most = most_pnl_takers(config)
    wanted = [1.0] * (1 + pnl_takers) + [0.0] * (most - pnl_takers)
    supertypes = 1 + most
    parameters = MarketParameters(
        provider_counts=(1 + config.other_providers,),
        provider_risk_aversion=(config.provider_risk_aversion,),
        provider_pnl_weight=(1.0,),
        provider_share_target=(1.0,),
        taker_counts=(config.flow_takers, *[1] * most),
        taker_risk_aversion=(0.0,) * supertypes,
        taker_pnl_weight=(0.0, *[1.0] * most),
        taker_buy_target=(0.5,) * supertypes,
        taker_sell_target=(0.5,) * supertypes,
        taker_quantity=(1.0,) * supertypes,
        connectivity=(tuple(wanted),),
        taker_exchange=tuple((one,) for one in wanted),
        steps=config.steps,
    )
    return Deviation(build_market(parameters, exchange), "provider", 0, alias=RANDOM)


def most_pnl_takers(config: FlowResponseConfig) -> int:
    """The largest number of PnL takers; raises `InvalidInput` where there is none."""
    if not config.pnl_takers or max(config.pnl_takers) < 1:
        raise InvalidInput("pnl_takers", config.pnl_takers, "a list of numbers of PnL takers, one of them ≥ 1")
    return max(config.pnl_takers)


def _learn(
    config: FlowResponseConfig, context: RunContext, market: Deviation, number: int, key: PRNGKeyArray
) -> tuple[Profile, dict]:
    start_key, train_key = jax.random.split(key)
    profile = new_profile(config, market, start_key)
    quotes = RandomQuotes(jnp.asarray(config.quote_deviation, jnp.float32))
    start = {**profile, RANDOM: quotes}
    slot = f"training-{number}"
    result, _ = learn(config, context, market, start, train_key, LEARNERS, label=_label(number), slot=slot)
    return result.profile, result.history


def _measure(config: FlowResponseConfig, number: int, record: StepRecord, reward: np.ndarray) -> Measured:
    counts = (config.flow_takers, *[1] * most_pnl_takers(config))
    edges = np.linspace(-config.price_range, config.price_range, config.bins + 1)
    curvature = response_curvature(record, config.price_range)
    return Measured(number, flow_response(record, edges, counts), curvature, record, reward.mean(axis=-1))


def _certify(
    config: FlowResponseConfig, context: RunContext, exchange, profiles: dict[str, Profile], key: PRNGKeyArray
) -> Certificate:
    """What one flow and one PnL taker could still gain in the market with most PnL takers."""
    most = most_pnl_takers(config)
    market, profile = response_market(config, exchange, most), profiles[_label(most)]
    agents = {"flow taker": ("taker", 0), "PnL taker": ("taker", config.flow_takers)}
    return certify(config, context, market, profile, agents, key)


def _label(pnl_takers: int) -> str:
    return f"{pnl_takers} PnL takers"


def _result(
    config: FlowResponseConfig, measured: list[Measured], profiles: dict[str, Profile], certificate: Certificate
) -> StudyResult:
    dataset = xr.Dataset(
        {
            "flow": (("pnl_takers", "epsilon", "taker"), np.stack([m.curve.flow for m in measured]), {"units": "lots"}),
            "flow_standard_error": (
                ("pnl_takers", "epsilon", "taker"),
                np.stack([m.curve.standard_error for m in measured]),
                {"units": "lots"},
            ),
            "quotes": (("pnl_takers", "epsilon"), np.stack([m.curve.quotes for m in measured])),
            "curvature": (("pnl_takers", "power"), np.stack([m.curvature.coefficients for m in measured])),
        },
        coords={"pnl_takers": list(config.pnl_takers), "epsilon": measured[0].curve.price},
    )
    learning = xr.Dataset({f"reward_{m.pnl_takers}": ("update", m.reward) for m in measured})
    judged = verdict({f"the takers' reward with {m.pnl_takers} PnL takers": m.reward for m in measured})
    return StudyResult(
        FlowHeadline(
            pnl_takers=list(config.pnl_takers),
            convexity=[m.curvature.coefficients[2] for m in measured],
            convexity_standard_error=[m.curvature.standard_error for m in measured],
            slope=[m.curvature.coefficients[1] for m in measured],
            flow_share_of_pnl_takers=[_share(m.record, m.pnl_takers) for m in measured],
            reward_first=[tenth(m.reward, first=True) for m in measured],
            reward_last=[tenth(m.reward, first=False) for m in measured],
            updates=config.updates,
        ),
        certificate=certificate,
        warnings=[judged.words] if not judged.converged else [],
        arrays={"response": dataset, "learning": learning},
        profile=profiles,
        figures={"deviators": otc_figures.deviation_curves(certificate)},
    )


def _share(record: StepRecord, pnl_takers: int) -> float:
    """Share of the first provider's volume that comes from PnL takers."""
    volume = np.asarray(record.flow, np.float64)[:, :, 0].sum(axis=(0, 1, 2))
    return float(volume[1 : 1 + pnl_takers].sum() / max(volume.sum(), 1.0))


def flow_curves(response: xr.Dataset) -> Figure:
    """As the paper's Figure 3: flow per typical flow taker and per typical PnL taker against ε, a panel per market."""
    markets = response.pnl_takers.values
    figure, axes = new_figure(columns=len(markets), width=3.9, height=3.4)
    price = response.epsilon.values
    for axis, number, flow, error, curvature in zip(
        axes,
        markets,
        response.flow.values,
        response.flow_standard_error.values,
        response.curvature.values,
        strict=True,
    ):
        axis.errorbar(price, flow[:, 0], 1.96 * error[:, 0], fmt="o-", ms=4, color=COLOURS[0], label="per flow taker")
        if number:
            chosen = slice(1, 1 + int(number))
            noise = 1.96 * np.sqrt((error[:, chosen] ** 2).sum(axis=1)) / number
            mean = flow[:, chosen].mean(axis=1)
            axis.errorbar(price, mean, noise, fmt="s-", ms=4, color=COLOURS[1], label="per PnL taker")
        title = f"{number} PnL takers: convexity {curvature[2]:.2f}"
        label(axis, x=("price ε", "market spreads"), y=("flow per step and side", "lots"), title=title)
        axis.set_ylim(0.0, 1.05 * float(np.nanmax(response.flow.values)))
    legends(axes[-1])
    return figure


def memory(config: FlowResponseConfig) -> dict[str, float]:
    """What learning holds, and who is connected with whom."""
    agents = 1 + config.other_providers + config.flow_takers + max(config.pnl_takers, default=0)
    connections = (1 + config.other_providers) * (config.flow_takers + max(config.pnl_takers, default=0))
    return {
        **learning_memory(config, agents, config.steps),
        "other_providers, flow_takers, pnl_takers": 4.0 * connections,
    }


STUDY = Study(
    name="flow-response",
    source="Vadori et al., arXiv 2210.07184, Section 2.2.2, Figure 3 and equation (27)",
    shows="profit-driven takers make the flow a provider receives a convex function of its price",
    config=FlowResponseConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={
        "quick": {
            "updates": 40,
            "episodes": 40,
            "width": 64,
            "passes": 6,
            "learning_rate": 2e-3,
            "gae_lambda": 0.5,
            "deviator_updates": 12,
            "deviator_passes": 6,
            "deviator_learning_rate": 2e-3,
        },
        "paper": {"exchange": "mixture"},
    },
    minutes={"quick": 4.0, "paper": 2000.0},
    headline=FlowHeadline,
    example="diffgames run flow-response --set pnl_takers=[0,2,6] --set flow_takers=8",
    published="its response curves as Figure 3, without numbers",
    figures={
        "flow_response": Drawing(
            "the more PnL takers, the more the curve bends upwards", "response", whole=flow_curves
        ),
    },
)
