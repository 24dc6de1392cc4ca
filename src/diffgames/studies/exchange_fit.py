"""Fit the exchange agent to level-2 data; hold it against them and against its theory (Vadori et al., Section 2.3).

The paper's mixture is always fitted, the agent with memory beside it unless `exchange=mixture`. Scores, simulated
values, facts and impact are those of the agent that `exchange` names; log-likelihoods, falls and theory are those of
the mixture.

For every level there are the mean and the standard deviation of its volume four times: as recorded, as the agent
simulates it, and as Proposition 2.3 has it for the mixture in discrete time and for the diffusion limit of Theorem 2.2.
`facts` puts recorded beside simulated statistics of mid, spread and volumes, `impact` what a lot does to the mid after
1, 5 and 30 steps.
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffgames.markets import facts
from diffgames.markets.ecn_memory import MemoryExchange
from diffgames.markets.ecn_memory_fit import simulate_memory
from diffgames.markets.ecn_samples import PARTS
from diffgames.markets.ecn_scores import (
    QUANTILES,
    best_autocorrelation,
    simulate_levels,
)
from diffgames.markets.ecn_theory import VolumeLaw, long_run_covariance, long_run_mean, regime_bounds
from diffgames.markets.fit_report import FitReport
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.exchange_parameters import ExchangeParameters, fit_from, fit_mixture_exchange, snapshots_of
from diffgames.studies.exchange_resilience import at_lags, impact_panel, resilience, return_panel
from diffgames.studies.market_desk import DRAWINGS
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

PRINTED = (8.89, 6.23, 8.94)
"""Log-likelihoods of the paper's Table 2: mixture of five, INTC, training, validation and test part."""

SETTLING = 100  # steps left out of simulated statistics


@dataclass(frozen=True, kw_only=True)
class ExchangeFitConfig(ExchangeParameters):
    """The data, the model's size, and how much is simulated."""

    paths: Annotated[int, Parameter("simulated paths of the exchange alone", "paths", minimum=2)] = 64
    steps: Annotated[int, Parameter("simulated steps per path, settling included", "steps", minimum=200)] = 1000
    draws: Annotated[int, Parameter("draws behind the fitted law's moments", "draws", minimum=1000)] = 100_000


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
            "law": ["recorded", "simulated"],
            "probability": QUANTILES,
        },
    )
    return StudyResult(
        headline={
            "facts": facts.named(compared),
            "impact": at_lags(curves, "impact", "simulated"),
            "impact_recorded": at_lags(curves, "impact", "recorded"),
            "impact_error": at_lags(curves, "impact_error", "recorded"),
            "spread_stays": at_lags(curves, "spread_stays", "simulated"),
            "spread_stays_recorded": at_lags(curves, "spread_stays", "recorded"),
            "depth_missing": at_lags(curves, "depth_missing", "simulated"),
            "depth_missing_recorded": at_lags(curves, "depth_missing", "recorded"),
            "log_likelihood": mixture_report.log_likelihood,
            "dequantised_log_likelihood": mixture_report.dequantised_log_likelihood,
            "energy_score": report.energy_score,
            "energy_score_error": report.energy_score_error,
            "energy_score_mixture": mixture_report.energy_score,
            "energy_score_resampled": mixture_report.energy_score_resampled,
            "variance_floor": mixture_report.variance_floor,
            **book,
            "fall_rate": law.fall,
            "recorded_fall_rate": report.recorded["fall_rate"],
            "gamma_lower": list(lower),
            "gamma_upper": list(upper),
            "mean_kept": kept,
            "theory_kept": theory,
            "tick_share": float(report.simulated["spread_share"][0]),
        },
        published={"log_likelihood": dict(zip(PARTS, PRINTED, strict=True))},
        warnings=report.notes,
        arrays={"book": dataset, "resilience": curves, "facts": compared},
        profile=model,
        figures={
            "depth": depth_figure(dataset),
            "dynamics": dynamics_figure(dataset, law),
            "changes": changes_figure(dataset),
        },
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


def depth_figure(book: xr.Dataset) -> Figure:
    """Mean volume per level with one standard deviation: recorded, simulated, Proposition 2.3."""
    figure, axes = new_figure(columns=2, width=5.2, height=3.6)
    rows = (("recorded", "o", 0), ("simulated", "s", 1), ("theory", "^", 2))
    for axis, side in zip(axes, ("bid", "ask"), strict=True):
        at = book.sel(side=side)
        for offset, (name, marker, colour) in zip((-0.15, 0.0, 0.15), rows, strict=True):
            axis.errorbar(
                at.level.values + offset,
                at[f"{name}_mean"].values,
                at[f"{name}_deviation"].values,
                fmt=marker,
                capsize=3,
                color=COLOURS[colour],
                label=name,
            )
        label(axis, x=("level", ""), y=("volume, ± one standard deviation", "lots"), title=f"Depth of the {side} side")
        axis.set_ylim(0.0, 1.5 * float((book.simulated_mean + book.simulated_deviation).max()))
    legends(*axes)
    return figure


def dynamics_figure(book: xr.Dataset, law: VolumeLaw) -> Figure:
    """Autocorrelation of the best levels against (1 − μ⁻)^lag, and the law of the spread."""
    figure, (left, right) = new_figure(columns=2, width=5.2, height=3.6)
    lags = np.arange(book.sizes["lag"])
    levels = book.sizes["level"]
    fall = float(law.fall[[0, levels]].mean())
    for colour, law_name in enumerate(("recorded", "simulated")):
        left.plot(lags, book.autocorrelation.sel(law=law_name).values, color=COLOURS[colour], label=law_name)
    left.plot(lags, (1 - fall) ** lags, "--", color=COLOURS[2], label=f"(1 − μ⁻)^lag, μ⁻ = {fall:.3f}")
    left.axhline(0, color="0.5", lw=0.6)
    label(left, x=("lag", "steps"), y=("autocorrelation", ""), title="Volume at the best levels")
    width = np.arange(1, book.sizes["spread"] + 1)
    for offset, row, name in ((-0.2, 0, "recorded"), (0.2, 1, "simulated")):
        right.bar(width + offset, book.spread_share.values[row], 0.4, color=COLOURS[row], label=name)
    right.set_yscale("log")
    right.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    label(right, x=("spread", "ticks"), y=("share of steps", ""), title="Market spread")
    legends(left, right)
    return figure


def changes_figure(book: xr.Dataset) -> Figure:
    """Volume changes of the best levels: both distribution functions, and quantile against quantile."""
    figure, (left, right) = new_figure(columns=2, width=5.2, height=3.6)
    recorded, simulated = (book.change.sel(law=name).values for name in ("recorded", "simulated"))
    for colour, (name, values) in enumerate((("recorded", recorded), ("simulated", simulated))):
        left.step(values, book.probability.values, where="post", color=COLOURS[colour], label=name)
    label(left, x=("volume change", "lots"), y=("share of steps at or below", ""), title="Best levels, one step")
    ends = [min(recorded[0], simulated[0]), max(recorded[-1], simulated[-1])]
    right.plot(ends, ends, "--", color="0.5", lw=0.8, label="equal laws")
    right.plot(recorded, simulated, ".", ms=4, color=COLOURS[1], label="quantiles, 0.25% to 99.75%")
    label(right, x=("recorded change", "lots"), y=("simulated change", "lots"), title="Quantile against quantile")
    legends(left, right)
    return figure


_parts = "{" + ", ".join(f"{part}: number" for part in PARTS) + "}"
_lags = "{steps after it: number}"
_levels = "2 · levels (bid from the best down, then ask)"


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
    headline={
        "facts": Headline(
            "stylised facts of the exchange alone (docs/markets/tape.md has each with its unit)",
            shape="{name: [recorded, simulated]}",
        ),
        "impact": Headline("what a planted order does to the simulated mid", "ticks/lot", shape=_lags),
        "impact_recorded": Headline("propagator of recorded order flow", "ticks/lot", shape=_lags),
        "impact_error": Headline("standard error of the recorded impact", "ticks/lot", shape=_lags),
        "spread_stays": Headline("share that stays of a widening, simulated", "1", shape=_lags),
        "spread_stays_recorded": Headline("share that stays of a widening, recorded", "1", shape=_lags),
        "depth_missing": Headline("share still missing of a fall, simulated", "1", shape=_lags),
        "depth_missing_recorded": Headline("share still missing of a fall, recorded", "1", shape=_lags),
        "log_likelihood": Headline(
            "of a variation, standardised; comparable at one variance floor only",
            "nats",
            shape=_parts,
            published="Table 2, INTC",
        ),
        "dequantised_log_likelihood": Headline(
            "lower bound of a transition's log-probability; higher is better", "nats", shape=_parts
        ),
        "energy_score": Headline("proper score of the simulator; lower is better", "1", shape=_parts),
        "energy_score_error": Headline("its standard error", "1", shape=_parts),
        "energy_score_mixture": Headline("that of the mixture", "1", shape=_parts),
        "energy_score_resampled": Headline("that of recorded variations drawn anew", "1", shape=_parts),
        "variance_floor": Headline("least standardised variance of a component", "1"),
        "recorded_mean": Headline("mean volume in the training data", "lots", shape=_levels),
        "simulated_mean": Headline("mean volume of the fitted agent alone", "lots", shape=_levels),
        "theory_mean": Headline("μ⁺/μ⁻ of the fitted law", "lots", shape=_levels),
        "recorded_deviation": Headline("standard deviation in the training data", "lots", shape=_levels),
        "simulated_deviation": Headline("standard deviation of the fitted agent", "lots", shape=_levels),
        "theory_deviation": Headline("by Proposition 2.3, discrete time", "lots", shape=_levels),
        "diffusion_deviation": Headline("by Proposition 2.3, diffusion limit", "lots", shape=_levels),
        "fall_rate": Headline("μ⁻, rate at which taken volume comes back", "1/step", shape=_levels),
        "recorded_fall_rate": Headline("mean share by which recorded levels fall", "1/step", shape=_levels),
        "gamma_lower": Headline("γ_*, lower end of the self-inhibiting regime", "lots", shape=_levels),
        "gamma_upper": Headline("γ^*, upper end of the self-inhibiting regime", "lots", shape=_levels),
        "mean_kept": Headline("largest relative difference, simulated to recorded mean volume", "1"),
        "theory_kept": Headline("largest relative difference, simulated to theory's mean volume", "1"),
        "tick_share": Headline("share of simulated steps with a spread of one tick", "1"),
    },
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
            return_panel,
        ),
        "facts": DRAWINGS["facts"],
        "depth": "recorded, simulated and theory agree level by level",
        "dynamics": "taken volume comes back at the rate of theory",
        "changes": "the quantiles lie on the diagonal",
    },
)
