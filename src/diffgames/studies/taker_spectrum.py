"""What takers do as their PnL weight ω goes from 0 to 1, on a fixed price path (Vadori et al., Figure 2).

Takers trade one lot a step at the exchange, whose mid follows a prescribed path P_0…P_T; one shared policy, conditioned
on ω, is learned with ω drawn anew on [0, 1] in every episode. Their utility is equation (6): at ω = 0 only the distance
of their trading fractions to the targets q^b, q^a counts, at ω = 1 only profit and loss.

PnL has an upper bound that needs no learning. A lot bought at t is worth P_T − P_t at the end and costs at least half a
spread, which is at least half a tick, so with d_t = P_T − P_t no taker earns more than

    PnL* = Σ_t max(0, |d_t| − ½),

up to the half tick within which the exchange follows the path. η = 1/PnL* makes both parts of the utility of order one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.learning.policy import Profile
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import TrainResult
from diffgames.learning.verdict import verdict
from diffgames.markets.agents import ProviderSupertypes, QuadraticPenalty, TakerSupertypes, constant, uniform
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import AbstractExchange, stack_exchanges
from diffgames.markets.market_state import StepRecord
from diffgames.markets.network import Connectivity
from diffgames.plotting import COLOURS, axes_or_new, label, legends, new_figure
from diffgames.studies import otc_figures
from diffgames.studies.certificate_parameters import CertificateParameters, certify, learning_memory
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.exchange_parameters import ExchangeParameters, fit_from
from diffgames.studies.learning_parameters import learn, new_profile, tenth
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

HALF_TICK = 0.5
BUY, SELL = COLOURS[2], COLOURS[1]
SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class TakerSpectrumConfig(CertificateParameters, ExchangeParameters):
    """The price path, the takers' targets, and how they learn."""

    path: Annotated[
        tuple[float, ...] | None,
        Parameter("mid at times 0…T; null: amplitude·sin(2π·periods·t/T)", "ticks", shape="steps + 1"),
    ] = None
    amplitude: Annotated[float, Parameter("amplitude of the default path", "ticks", minimum=0.0)] = 8.0
    periods: Annotated[float, Parameter("periods of the default path in an episode")] = 1.5
    steps: Annotated[int, Parameter("episode length T", "steps", minimum=1)] = 100
    takers: Annotated[int, Parameter("takers, each with its own ω", "agents", minimum=1)] = 10
    buy_target: Annotated[float, Parameter("qᵇ, fraction of steps to buy", minimum=0.0, maximum=1.0)] = 0.75
    sell_target: Annotated[float, Parameter("qᵃ, fraction of steps to sell", minimum=0.0, maximum=1.0)] = 0.25
    weights: Annotated[
        tuple[float, ...],
        Parameter("ω at which the learned policy is measured", shape="weights", minimum=0.0, maximum=1.0),
    ] = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class SpectrumHeadline:
    """What takers do at every ω, and what they earn."""

    omega: Annotated[Any, Headline("PnL weights ω at which the policy is measured", "1", shape="weights")]
    buy_fraction: Annotated[
        Any, Headline("fraction of steps bought, per ω", "1", shape="weights", published="Figure 2")
    ]
    sell_fraction: Annotated[Any, Headline("fraction of steps sold, per ω", "1", shape="weights", published="Figure 2")]
    pnl: Annotated[Any, Headline("mean PnL of an episode, per ω", "ticks × lots", shape="weights")]
    pnl_standard_error: Annotated[
        Any, Headline("its standard error, of evaluation alone", "ticks × lots", shape="weights")
    ]
    pnl_bound: Annotated[Any, Headline("PnL*: most that one lot a step can earn on this path", "ticks × lots")]
    reward_first: Annotated[Any, Headline("mean episode reward, first tenth of training", "1")]
    reward_last: Annotated[Any, Headline("mean episode reward, last tenth of training", "1")]
    updates: Annotated[Any, Headline("policy updates made", "updates")]


def run(config: TakerSpectrumConfig, context: RunContext) -> StudyResult:
    """Learn one policy for all ω, then measure and certify it at each."""
    market = _market(config, context)
    keys = jax.random.split(context.key, 4)
    start = new_profile(config, market, keys[0])
    result, _ = learn(config, context, market, start, keys[1], ("taker",))
    measured = measure(market, result.profile, config.weights, keys[2], config.evaluation_episodes)
    return _result(config, market, result, measured, _certify(config, context, market, result.profile, keys[3]))


def verify(config: TakerSpectrumConfig, profile: Profile, context: RunContext) -> Certificate:
    """The certificate of a stored profile, recomputed from its parameters and seed."""
    return _certify(config, context, _market(config, context), profile, jax.random.split(context.key, 4)[3])


def spectrum_market(config: TakerSpectrumConfig, exchange: AbstractExchange) -> OTCMarket:
    """A market in which takers meet only the exchange, whose mid follows the path; ω is uniform on [0, 1].

    A provider that nobody is connected to fills the role. Raises `InvalidInput` naming what does not fit.
    """
    path = price_path(config)
    if config.buy_target + config.sell_target > 1.0 + 1e-6:
        raise InvalidInput("buy_target", config.buy_target, "buy_target + sell_target ≤ 1")
    best = best_pnl(path)
    if best <= 0:
        raise InvalidInput(
            "path", f"largest |P_T − P_t| {np.abs(path[-1] - path).max():g}", "moves of over half a tick"
        )
    if not config.weights:
        raise InvalidInput("weights", config.weights, "at least one ω in [0, 1]")
    one, scale = constant([1.0]), exchange.scales(config.steps)
    closed, open_ = constant([[0.0]]), constant([[1.0]])
    return OTCMarket(
        providers=ProviderSupertypes(constant([0.0]), one, one, one),
        takers=TakerSupertypes(
            risk_aversion=constant([0.0]),
            pnl_weight=uniform([0.0], [1.0]),
            normalizer=constant([1.0 / best]),
            sell_target=constant([config.sell_target]),
            buy_target=constant([config.buy_target]),
            quantity=one,
        ),
        connectivity=Connectivity(provider_taker=closed, provider_exchange=open_, taker_exchange=open_),
        exchanges=stack_exchanges([exchange]),
        price_scale=jnp.asarray(max(float(path.std()), 0.5), jnp.float32),
        inventory_scale=jnp.asarray(1.0, jnp.float32),
        volume_scale=jnp.asarray(scale.volume, jnp.float32),
        spread_scale=jnp.asarray(scale.spread, jnp.float32),
        penalty=QuadraticPenalty(jnp.asarray(0.0, jnp.float32)),
        price_path=jnp.asarray(path, jnp.float32),
        provider_supertype=(0,),
        taker_supertype=(0,) * config.takers,
        steps=config.steps,
        grid=int(64 * np.ceil((2 * np.abs(path).max() + 64) / 64)),
    )


def price_path(config: TakerSpectrumConfig) -> Float[np.ndarray, " times"]:
    """P_0…P_T in ticks; raises `InvalidInput` for a path of another length."""
    if config.path is None:
        time = np.linspace(0.0, 1.0, config.steps + 1)
        return config.amplitude * np.sin(2 * np.pi * config.periods * time)
    if len(config.path) != config.steps + 1:
        raise InvalidInput("path", f"{len(config.path)} prices", f"steps + 1 = {config.steps + 1} prices")
    return np.asarray(config.path, np.float64)


def best_pnl(path: Float[np.ndarray, " times"]) -> float:
    """PnL*: the most that trading one lot a step can earn on the path, ticks × lots."""
    return float(np.maximum(np.abs(path[-1] - path[:-1]) - HALF_TICK, 0.0).sum())


def at_weight(market: OTCMarket, weight: float) -> OTCMarket:
    """The same market with every taker's ω fixed."""
    return eqx.tree_at(lambda m: m.takers.pnl_weight, market, constant([weight]))


def measure(
    market: OTCMarket, profile: Profile, weights: Sequence[float], key: PRNGKeyArray, episodes: int
) -> list[StepRecord]:
    """Held-out episodes at each ω, with the same random numbers."""
    return [evaluate(at_weight(market, weight), profile, key, episodes)[1] for weight in weights]


def fractions(record: StepRecord) -> tuple[float, float]:
    """Mean fraction of steps bought and sold, over takers and episodes."""
    direction = np.asarray(record.taker_direction)
    return float((direction > 0).mean()), float((direction < 0).mean())


def pnl(record: StepRecord) -> Float[np.ndarray, " episodes"]:
    """Mean PnL of a taker per episode, ticks × lots."""
    return np.asarray(record.taker_pnl, np.float64).sum(axis=0).mean(axis=-1)


def _market(config: TakerSpectrumConfig, context: RunContext) -> OTCMarket:
    exchange, report = fit_from(config, context.seed)
    context.log(str(report))
    return spectrum_market(config, exchange)


def _certify(
    config: TakerSpectrumConfig, context: RunContext, market: OTCMarket, profile: Profile, key: PRNGKeyArray
) -> Certificate:
    """What a taker drawn like the others, any ω, could still gain."""
    return certify(config, context, market, profile, {"taker of any ω": ("taker", 0)}, key)


def _result(
    config: TakerSpectrumConfig,
    market: OTCMarket,
    result: TrainResult,
    records: list[StepRecord],
    certificate: Certificate,
) -> StudyResult:
    bought, sold = zip(*(fractions(record) for record in records), strict=True)
    earned = np.stack([pnl(record) for record in records])
    error = earned.std(axis=1, ddof=1) / np.sqrt(earned.shape[1])
    path = price_path(config)
    reward = np.asarray(result.history["reward"]["taker"], np.float64).mean(axis=-1)
    judged = verdict({"the takers' reward": reward})
    direction = np.stack([np.asarray(record.taker_direction)[:, 0, 0] for record in records])
    likely = {
        name: np.stack([(np.sign(np.asarray(r.taker_direction)) == side).mean(axis=(1, 2)) for r in records])
        for name, side in (("buys", 1), ("sells", -1))
    }
    dataset = xr.Dataset(
        {
            "path": ("time", path, {"units": "ticks"}),
            "buy_fraction": ("omega", np.asarray(bought)),
            "sell_fraction": ("omega", np.asarray(sold)),
            "pnl": (("omega", "episode"), earned, {"units": "ticks × lots"}),
            "direction": (("omega", "step"), direction),
            **{name: (("omega", "step"), share) for name, share in likely.items()},
        },
        coords={"omega": list(config.weights)},
        attrs={"buy_target": config.buy_target, "sell_target": config.sell_target, "bound": best_pnl(path)},
    )
    targets = (config.buy_target, config.sell_target)
    return StudyResult(
        SpectrumHeadline(
            omega=list(config.weights),
            buy_fraction=list(bought),
            sell_fraction=list(sold),
            pnl=earned.mean(axis=1),
            pnl_standard_error=error,
            pnl_bound=best_pnl(path),
            reward_first=tenth(reward, first=True),
            reward_last=tenth(reward, first=False),
            updates=config.updates,
        ),
        certificate=certificate,
        published={"buy_fraction": [config.buy_target], "sell_fraction": [config.sell_target]}
        if config.weights[0] == 0.0 and targets == (0.75, 0.25)
        else {},
        warnings=[judged.words] if not judged.converged else [],
        arrays={"spectrum": dataset, "learning": xr.Dataset({"reward": ("update", reward)})},
        profile=result.profile,
        figures={"deviators": otc_figures.deviation_curves(certificate)},
    )


def spectrum_actions(spectrum: xr.Dataset) -> Figure:
    """As the paper's Figure 2: the path with one taker's buys and sells, one panel per ω; below, how often all do."""
    weights = spectrum.omega.values
    chosen = np.unique(np.linspace(0, len(weights) - 1, min(SHOWN, len(weights))).round().astype(int))
    figure, axes = new_figure(rows=2, columns=len(chosen), width=3.9, height=2.9, sharex=True)
    path = spectrum.path.values
    steps = np.arange(len(path) - 1)
    for column, index in enumerate(chosen):
        top, bottom = axes[column], axes[len(chosen) + column]
        direction = spectrum.direction.values[index]
        top.plot(np.arange(len(path)), path, color=COLOURS[0], lw=1.2, label="mid")
        for side, colour, marker, name in ((1, BUY, "^", "buys"), (-1, SELL, "v", "sells")):
            acts = direction == side
            top.scatter(steps[acts], path[:-1][acts], s=18, marker=marker, color=colour, label=name, zorder=3)
            bottom.plot(steps, spectrum[name].values[index], color=colour, label=name)
        share = f"buys {spectrum.buy_fraction.values[index]:.0%}, sells {spectrum.sell_fraction.values[index]:.0%}"
        label(top, x=("", ""), y=("price", "ticks"), title=f"ω = {weights[index]:g}: {share}")
        label(bottom, x=("step", ""), y=("share of takers", ""))
        bottom.set_ylim(-0.03, 1.03)
    legends(axes[len(chosen) - 1], axes[-1])
    return figure


def fractions_panel(spectrum: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Trading fractions against their targets, as functions of ω."""
    ax = axes_or_new(ax)
    for side, colour in (("buy", BUY), ("sell", SELL)):
        target = spectrum.attrs[f"{side}_target"]
        ax.plot(spectrum.omega, spectrum[f"{side}_fraction"], "o-", color=colour, label=f"{side} fraction")
        ax.axhline(target, color=colour, ls="--", lw=1, label=f"target {target:g}")
    ax.set_ylim(-0.03, 1.03)
    return label(ax, x=("PnL weight ω", ""), y=("fraction of steps", ""), title="From meeting targets…")


def pnl_panel(spectrum: xr.Dataset, ax: Axes | None = None) -> Axes:
    """PnL against its bound, as a function of ω."""
    ax, earned = axes_or_new(ax), spectrum.pnl
    half = 1.96 * earned.std("episode", ddof=1) / np.sqrt(earned.sizes["episode"])
    ax.errorbar(spectrum.omega, earned.mean("episode"), yerr=half, fmt="o-", capsize=3, label="learned policy")
    ax.axhline(spectrum.attrs["bound"], color="0.4", ls="--", lw=1, label="upper bound PnL*")
    return label(ax, x=("PnL weight ω", ""), y=("PnL per episode", "ticks × lots"), title="… to earning")


def memory(config: TakerSpectrumConfig) -> dict[str, float]:
    """What learning holds."""
    return {**learning_memory(config, config.takers, config.steps), "takers": 4.0 * 4 * config.takers}


STUDY = Study(
    name="taker-spectrum",
    source="Vadori et al., arXiv 2210.07184, Section 2.2.2, Figure 2",
    shows="one taker policy goes from meeting its trading targets (ω = 0) to buying low and selling high (ω = 1)",
    config=TakerSpectrumConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={
        "quick": {
            "updates": 200,
            "episodes": 24,
            "width": 64,
            "passes": 8,
            "minibatch": 2048,
            "learning_rate": 2e-3,
            "final_learning_rate": 2e-4,
            "kl_target": 0.03,  # at 0.01 the penalty, not the updates, bounds how far the policy gets
            "deviator_updates": 20,
            "deviator_passes": 6,
            "deviator_learning_rate": 2e-3,
        },
        "paper": {"exchange": "mixture"},
    },
    minutes={"quick": 2.0, "paper": 240.0},
    headline=SpectrumHeadline,
    example="diffgames run taker-spectrum --set amplitude=12 --set weights=[0,0.1,0.5,1]",
    published="the targets 75% and 25% that the takers of ω = 0 meet (Figure 2), else curves",
    figures={
        "actions": Drawing(
            "from the bottom up: at ω = 0 trades are spread evenly, at ω = 1 they wait for low and high prices",
            "spectrum",
            whole=spectrum_actions,
        ),
        "spectrum": Drawing(
            "fractions leave their targets, and the PnL rises to its bound, as ω grows",
            "spectrum",
            fractions_panel,
            pnl_panel,
        ),
    },
)
