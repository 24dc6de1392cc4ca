"""Fit the exchange agent to level-2 data; hold it against them and against its theory (Vadori et al., Section 2.3).

The paper's mixture is always fitted, the agent with memory beside it unless `exchange=mixture`. Scores, simulated
values, facts and impact are those of the agent that `exchange` names; log-likelihoods, falls and theory are those of
the mixture.

For every level there are the mean and the standard deviation of its volume four times: as recorded, as the agent
simulates it, and as Proposition 2.3 has it for the mixture in discrete time and for the diffusion limit of Theorem 2.2.
`facts` puts recorded beside simulated statistics of mid, spread and volumes, `impact` what a lot does to the mid after
1, 5 and 30 steps, and how the book comes back. Recorded: the propagator G(h) of order flow and the local projections of
`markets.resilience`. Simulated: the mid with a planted order of a mean best level's lots less the mid without it, per
lot, under common random numbers; and the same projections on paths of the exchange alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diffgames.markets import facts
from diffgames.markets.ecn_memory import MemoryExchange
from diffgames.markets.ecn_memory_fit import simulate_memory
from diffgames.markets.ecn_samples import PARTS
from diffgames.markets.ecn_scores import QUANTILES, LevelPaths, best_autocorrelation, simulate_levels
from diffgames.markets.ecn_theory import VolumeLaw, long_run_covariance, long_run_mean, regime_bounds
from diffgames.markets.exchange import AbstractExchange
from diffgames.markets.fit_report import FitReport
from diffgames.markets.level2 import Level2
from diffgames.markets.planted_order import response_to_orders
from diffgames.markets.resilience import closing_of_spread, decay_of_shock, impact_of_flow, refilling_of_depth
from diffgames.plotting import COLOURS, axes_or_new, band, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.exchange_parameters import ExchangeParameters, fit_from, fit_mixture_exchange, snapshots_of
from diffgames.studies.market_desk import DRAWINGS
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

PRINTED = (8.89, 6.23, 8.94)
"""Log-likelihoods of the paper's Table 2: mixture of five, INTC, training, validation and test part."""

SETTLING = 100  # steps left out of simulated statistics
LAGS, SHOWN = 30, (1, 5, 30)
EPISODES, PATHS = 400, 32
LAWS = ["recorded", "simulated"]


@dataclass(frozen=True, kw_only=True)
class ExchangeFitConfig(ExchangeParameters):
    """The data, the model's size, and how much is simulated."""

    paths: Annotated[int, Parameter("simulated paths of the exchange alone", "paths", minimum=2)] = 64
    steps: Annotated[int, Parameter("simulated steps per path, settling included", "steps", minimum=200)] = 1000
    draws: Annotated[int, Parameter("draws behind the fitted law's moments", "draws", minimum=1000)] = 100_000


AtLags = partial(Headline, shape="{steps after it: number}")
OfParts = partial(Headline, shape="{" + ", ".join(f"{part}: number" for part in PARTS) + "}")
OfLevels = partial(Headline, shape="2 · levels (bid from the best down, then ask)")


@dataclass(frozen=True, kw_only=True)
class ExchangeHeadline:
    """The fitted agent beside the record and its theory."""

    facts: Annotated[
        Any,
        Headline(
            "stylised facts of the exchange alone (docs/markets/tape.md has each with its unit)",
            shape="{name: [recorded, simulated]}",
        ),
    ]
    impact: Annotated[Any, AtLags("what a planted order does to the simulated mid", "ticks/lot")]
    impact_recorded: Annotated[Any, AtLags("propagator of recorded order flow", "ticks/lot")]
    impact_error: Annotated[Any, AtLags("standard error of the recorded impact", "ticks/lot")]
    spread_stays: Annotated[Any, AtLags("share that stays of a widening, simulated", "1")]
    spread_stays_recorded: Annotated[Any, AtLags("share that stays of a widening, recorded", "1")]
    depth_missing: Annotated[Any, AtLags("share still missing of a fall, simulated", "1")]
    depth_missing_recorded: Annotated[Any, AtLags("share still missing of a fall, recorded", "1")]
    log_likelihood: Annotated[
        Any,
        OfParts(
            "of a variation, standardised; comparable at one variance floor only", "nats", published="Table 2, INTC"
        ),
    ]
    dequantised_log_likelihood: Annotated[
        Any, OfParts("lower bound of a transition's log-probability; higher is better", "nats")
    ]
    energy_score: Annotated[Any, OfParts("proper score of the simulator; lower is better", "1")]
    energy_score_error: Annotated[Any, OfParts("its standard error", "1")]
    energy_score_mixture: Annotated[Any, OfParts("that of the mixture", "1")]
    energy_score_resampled: Annotated[Any, OfParts("that of recorded variations drawn anew", "1")]
    variance_floor: Annotated[Any, Headline("least standardised variance of a component", "1")]
    recorded_mean: Annotated[Any, OfLevels("mean volume in the training data", "lots")]
    simulated_mean: Annotated[Any, OfLevels("mean volume of the fitted agent alone", "lots")]
    theory_mean: Annotated[Any, OfLevels("μ⁺/μ⁻ of the fitted law", "lots")]
    recorded_deviation: Annotated[Any, OfLevels("standard deviation in the training data", "lots")]
    simulated_deviation: Annotated[Any, OfLevels("standard deviation of the fitted agent", "lots")]
    theory_deviation: Annotated[Any, OfLevels("by Proposition 2.3, discrete time", "lots")]
    diffusion_deviation: Annotated[Any, OfLevels("by Proposition 2.3, diffusion limit", "lots")]
    fall_rate: Annotated[Any, OfLevels("μ⁻, rate at which taken volume comes back", "1/step")]
    recorded_fall_rate: Annotated[Any, OfLevels("mean share by which recorded levels fall", "1/step")]
    gamma_lower: Annotated[Any, OfLevels("γ_*, lower end of the self-inhibiting regime", "lots")]
    gamma_upper: Annotated[Any, OfLevels("γ^*, upper end of the self-inhibiting regime", "lots")]
    mean_kept: Annotated[Any, Headline("largest relative difference, simulated to recorded mean volume", "1")]
    theory_kept: Annotated[Any, Headline("largest relative difference, simulated to theory's mean volume", "1")]
    tick_share: Annotated[Any, Headline("share of simulated steps with a spread of one tick", "1")]


def run(config: ExchangeFitConfig, context: RunContext) -> StudyResult:
    """Fit, simulate, compare with the data and with the theory."""
    context.progress.update("fitting", 0.0)
    data = snapshots_of(config.data, context.seed, config)
    mixture, mixture_report = fit_mixture_exchange(data, config, context.seed)
    model, report = (mixture, mixture_report) if config.exchange == "mixture" else fit_from(config, context.seed)
    context.log(str(report))
    context.progress.update("simulating", 0.5)
    law_key, path_key = jax.random.split(context.key)
    law = VolumeLaw.of_exchange(mixture, law_key, config.draws)
    start = mixture.mean_volume, jnp.float32(1.0)
    paths = mixed = simulate_levels(mixture, *start, path_key, config.paths, config.steps)
    if isinstance(model, MemoryExchange):
        paths = simulate_memory(model, path_key, config.paths, config.steps)
    recorded = facts.of_level2(data, model.levels, config.steps - SETTLING)
    compared = facts.compare(recorded, facts.of_paths(paths, SETTLING))
    volume = np.asarray(paths.volume, np.float64)[:, SETTLING:]
    book = _book(report, law, volume)
    lower, upper = zip(*(regime_bounds(law, level) for level in range(len(law.rise))), strict=True)
    kept = float(np.abs(book["simulated_mean"] / book["recorded_mean"] - 1).max())
    settled = np.asarray(mixed.volume, np.float64)[:, SETTLING:].mean(axis=(0, 1))
    theory = float(np.abs(settled / book["theory_mean"] - 1).max())
    levels = np.arange(1, model.levels + 1)
    curves = resilience(data, model, mixture, paths, law_key)
    dataset = xr.Dataset(
        {name: (("side", "level"), values.reshape(2, -1), {"units": "lots"}) for name, values in book.items()}
        | {
            "autocorrelation": (("law", "lag"), [report.recorded["autocorrelation"], best_autocorrelation(volume)]),
            "spread_share": (("law", "spread"), _spread_shares(report, np.asarray(paths.spread)[:, SETTLING:])),
            "change": (
                ("law", "probability"),
                [part["change_quantiles"] for part in (report.recorded, report.simulated)],
                {"units": "lots"},
            ),
        },
        coords={
            "side": ["bid", "ask"],
            "level": levels,
            "law": LAWS,
            "probability": QUANTILES,
        },
    )
    return StudyResult(
        ExchangeHeadline(
            facts=facts.named(compared),
            impact=at_lags(curves, "impact", "simulated"),
            impact_recorded=at_lags(curves, "impact", "recorded"),
            impact_error=at_lags(curves, "impact_error", "recorded"),
            spread_stays=at_lags(curves, "spread_stays", "simulated"),
            spread_stays_recorded=at_lags(curves, "spread_stays", "recorded"),
            depth_missing=at_lags(curves, "depth_missing", "simulated"),
            depth_missing_recorded=at_lags(curves, "depth_missing", "recorded"),
            log_likelihood=mixture_report.log_likelihood,
            dequantised_log_likelihood=mixture_report.dequantised_log_likelihood,
            energy_score=report.energy_score,
            energy_score_error=report.energy_score_error,
            energy_score_mixture=mixture_report.energy_score,
            energy_score_resampled=mixture_report.energy_score_resampled,
            variance_floor=mixture_report.variance_floor,
            **book,
            fall_rate=law.fall,
            recorded_fall_rate=report.recorded["fall_rate"],
            gamma_lower=list(lower),
            gamma_upper=list(upper),
            mean_kept=kept,
            theory_kept=theory,
            tick_share=float(report.simulated["spread_share"][0]),
        ),
        published={"log_likelihood": dict(zip(PARTS, PRINTED, strict=True))},
        warnings=report.notes,
        arrays={
            "book": dataset.assign_attrs(fall=float(law.fall[[0, len(levels)]].mean())),
            "resilience": curves,
            "facts": compared,
        },
        profile=model,
    )


def _book(report: FitReport, law: VolumeLaw, volume: Float[np.ndarray, "paths steps levels"]) -> dict[str, np.ndarray]:
    flat = volume.reshape(-1, volume.shape[-1])
    return {
        "recorded_mean": np.asarray(report.recorded["mean_volume"], np.float64),
        "simulated_mean": flat.mean(axis=0),
        "theory_mean": long_run_mean(law),
        "recorded_deviation": np.asarray(report.recorded["sd_volume"], np.float64),
        "simulated_deviation": flat.std(axis=0),
        "theory_deviation": np.sqrt(np.diag(long_run_covariance(law))),
        "diffusion_deviation": np.sqrt(np.diag(long_run_covariance(law, "continuous"))),
    }


def _spread_shares(report: FitReport, spread: Float[np.ndarray, "paths steps"]) -> Float[np.ndarray, "2 spreads"]:
    recorded = np.asarray(report.recorded["spread_share"], np.float64)
    return np.stack([recorded, [float((spread == width).mean()) for width in range(1, len(recorded) + 1)]])


def resilience(
    data: Level2, model: AbstractExchange, mixture: AbstractExchange, paths: LevelPaths, key: PRNGKeyArray
) -> xr.Dataset:
    """Recorded and simulated curves at lags 0…30 steps; `impact` per lot also for the mixture, which has no memory."""
    lags = np.arange(LAGS + 1.0)
    recorded, error = impact_of_flow(data).response(lags)
    simulated, simulated_error = planted_impact(model, key)
    spread = np.asarray(paths.spread, float)[:PATHS].T
    best = np.asarray(paths.volume, float)[:PATHS][..., [0, paths.volume.shape[-1] // 2]]
    best = np.moveaxis(best, 1, 0).reshape(best.shape[1], -1)
    closing = (closing_of_spread(data, LAGS), decay_of_shock(spread, np.maximum(np.diff(spread, axis=0), 0), LAGS))
    refilling = (refilling_of_depth(data, LAGS), decay_of_shock(best, np.maximum(-np.diff(best, axis=0), 0), LAGS))
    both, per_lot = ("law", "lag"), {"units": "ticks/lot"}
    return xr.Dataset(
        {
            "impact": (both, [recorded, simulated], per_lot),
            "impact_error": (both, [error, simulated_error], per_lot),
            "impact_mixture": ("lag", planted_impact(mixture, key)[0], per_lot),
            "spread_stays": (both, [one.share for one in closing], {"long_name": "wide spread"}),
            "spread_stays_error": (both, [one.error for one in closing]),
            "depth_missing": (both, [one.share for one in refilling], {"long_name": "hole at the best"}),
            "depth_missing_error": (both, [one.error for one in refilling]),
        },
        coords={"law": LAWS, "lag": ("lag", lags.astype(int), {"long_name": "time after the shock", "units": "steps"})},
    )


def planted_impact(model: AbstractExchange, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """What a lot of a planted order does to the mid after 0, …, 30 steps, ticks, and its standard error."""
    levels = model.levels
    lots = float(jnp.round((model.mean_volume[0] + model.mean_volume[levels]) / 2))
    orders = jnp.zeros((LAGS + 1,), jnp.float32).at[0].set(lots)
    moved, _ = response_to_orders(model, orders, key, EPISODES, model.price_grid(LAGS + 1))
    moved = np.asarray(moved, float) / lots
    return moved.mean(axis=0), moved.std(axis=0, ddof=1) / np.sqrt(len(moved))


def at_lags(curves: xr.Dataset, name: str, law: str) -> dict[str, float]:
    """A curve at 1, 5 and 30 steps."""
    return {str(lag): float(curves[name].sel(law=law, lag=lag)) for lag in SHOWN}


def impact_panel(curves: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Impact per lot and its decay, with two standard errors."""
    ax = axes_or_new(ax)
    for colour, law in zip(COLOURS, LAWS, strict=False):
        value, error = curves.impact.sel(law=law), curves.impact_error.sel(law=law)
        ax.plot(curves.lag, value, color=colour, label=law)
        band(ax, curves.lag, value - 2 * error, value + 2 * error, colour=colour)
    ax.plot(curves.lag, curves.impact_mixture, "--", color=COLOURS[2], label="mixture")
    ax.set_ylim(bottom=0.0)
    return label(
        ax, x=("time after the order", "steps"), y=("push of the mid", "ticks/lot"), title="Impact of an order"
    )


def depth_panel(side: str):
    """The panel of mean volume per level with one standard deviation: recorded, simulated, Proposition 2.3."""

    def panel(book: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, at = axes_or_new(ax), book.sel(side=side)
        rows = (("recorded", "o", -0.15), ("simulated", "s", 0.0), ("theory", "^", 0.15))
        for (name, marker, offset), colour in zip(rows, COLOURS, strict=False):
            mean, deviation = at[f"{name}_mean"], at[f"{name}_deviation"]
            ax.errorbar(at.level + offset, mean, deviation, fmt=marker, capsize=3, color=colour, label=name)
        ax.set_ylim(0.0, 1.5 * float((book.simulated_mean + book.simulated_deviation).max()))
        words = ("volume, ± one standard deviation", "lots")
        return label(ax, x=("level", ""), y=words, title=f"Depth of the {side} side")

    return panel


def memory_panel(book: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Autocorrelation of the best levels against (1 − μ⁻)^lag."""
    ax, lags, fall = axes_or_new(ax), np.arange(book.sizes["lag"]), book.attrs["fall"]
    for colour, law in zip(COLOURS, LAWS, strict=False):
        ax.plot(lags, book.autocorrelation.sel(law=law), color=colour, label=law)
    ax.plot(lags, (1 - fall) ** lags, "--", color=COLOURS[2], label=f"(1 − μ⁻)^lag, μ⁻ = {fall:.3f}")
    ax.axhline(0, color="0.5", lw=0.6)
    return label(ax, x=("lag", "steps"), y=("autocorrelation", ""), title="Volume at the best levels")


def spread_panel(book: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The law of the spread."""
    ax, width = axes_or_new(ax), np.arange(1, book.sizes["spread"] + 1)
    for offset, row, name in zip((-0.2, 0.2), book.spread_share.values, LAWS, strict=True):
        ax.bar(width + offset, row, 0.4, color=COLOURS[LAWS.index(name)], label=name)
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    return label(ax, x=("spread", "ticks"), y=("share of steps", ""), title="Market spread")


def changes_panel(book: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Distribution functions of the best levels' volume changes."""
    ax = axes_or_new(ax)
    for colour, law in zip(COLOURS, LAWS, strict=False):
        ax.step(book.change.sel(law=law), book.probability, where="post", color=colour, label=law)
    return label(ax, x=("volume change", "lots"), y=("share of steps at or below", ""), title="Best levels, one step")


def quantiles_panel(book: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Quantile against quantile of the same."""
    ax, (recorded, simulated) = axes_or_new(ax), (book.change.sel(law=law).values for law in LAWS)
    ends = [min(recorded[0], simulated[0]), max(recorded[-1], simulated[-1])]
    ax.plot(ends, ends, "--", color="0.5", lw=0.8, label="equal laws")
    ax.plot(recorded, simulated, ".", ms=4, color=COLOURS[1], label="quantiles, 0.25% to 99.75%")
    words = ("recorded change", "lots"), ("simulated change", "lots")
    return label(ax, x=words[0], y=words[1], title="Quantile against quantile")


def memory(config: ExchangeFitConfig) -> dict[str, float]:
    """Volumes of every level on both sides, of the paths and of the drawn states."""
    levels = max(config.levels, 1)
    return {"paths, steps": 4.0 * 2 * levels * config.paths * config.steps, "draws": 4.0 * 2 * levels * config.draws}


STUDY = Study(
    name="exchange-fit",
    source="Vadori et al., arXiv 2210.07184, Section 2.3",
    shows="an exchange agent fitted to level-2 data keeps their depth and spread, as the theory of its dynamics says",
    config=ExchangeFitConfig,
    run=run,
    memory=memory,
    presets={"quick": {}, "paper": {"exchange": "mixture", "paths": 256, "steps": 5000, "draws": 1_000_000}},
    minutes={"quick": 0.5, "paper": 2.0},
    headline=ExchangeHeadline,
    example="diffgames run exchange-fit --set data=level2.csv.gz --set components=8",
    uncertified=(
        "no game is played: a model is fitted to data, and held to their held-out parts by the scores, and to "
        "Proposition 2.3 by `theory_kept`"
    ),
    published=(
        "log-likelihoods of INTC on one day (Table 2, mixture of five); they depend on the data and on "
        "the variance floor, so that ours on other data are to be compared in order only"
    ),
    figures={
        "impact": Drawing(
            "the simulated push lies in the recorded band and decays with it; spread and depth come back as recorded",
            "resilience",
            impact_panel,
            lines("spread_stays", "depth_missing", by="law", y="share that stays", title="Spread and depth come back"),
        ),
        "facts": DRAWINGS["facts"],
        "depth": Drawing(
            "recorded, simulated and theory agree level by level", "book", depth_panel("bid"), depth_panel("ask")
        ),
        "dynamics": Drawing("taken volume comes back at the rate of theory", "book", memory_panel, spread_panel),
        "changes": Drawing("the quantiles lie on the diagonal", "book", changes_panel, quantiles_panel),
    },
)
