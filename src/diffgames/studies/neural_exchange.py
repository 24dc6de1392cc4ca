"""Does the history of the book help to foretell it? The mixture against the neural exchange (Vadori et al., 2.3.2).

The exchange agent's mixture draws every variation anew; the neural exchange lets the mixture depend on the last twenty
variations and on the book, with hurdles for what stays (`markets.neural_exchange`). Both are fitted to the first 70% of
the record and scored on what they have not seen. Then each plays alone, and its facts stand beside the record's.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput
from diffgames.markets import facts
from diffgames.markets.ecn_fit import fit_exchange
from diffgames.markets.ecn_samples import PARTS, transitions
from diffgames.markets.ecn_scores import simulate_books
from diffgames.markets.exchange import AbstractExchange
from diffgames.markets.neural_fit import NeuralReport, fit_neural_exchange
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.exchange_parameters import LevelTwoParameters, snapshots_of
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

SETTLING = 100
Scores = tuple[tuple[float, ...], ...]
_scores = f"models × parts ({', '.join(PARTS)})"


@dataclass(frozen=True, kw_only=True)
class NeuralConfig(LevelTwoParameters):
    """The record, the networks, and how much is simulated."""

    levels: Annotated[int, Parameter("order-book levels per side, m", "levels", minimum=1)] = 5
    components: Annotated[int, Parameter("components of the mixtures", minimum=1)] = 5
    variance_floor: Annotated[float, Parameter("least variance of a component in any direction, standardised", "1")] = (
        1e-3
    )
    correlations: Annotated[
        tuple[Literal["fixed", "shared", "full"], ...],
        Parameter("correlations of each network: of the data, one learned, one a component", shape="networks"),
    ] = ("fixed", "shared")
    epochs: Annotated[int, Parameter("of training, at most", "epochs", minimum=1)] = 40
    paths: Annotated[int, Parameter("simulated paths of each exchange alone", "paths", minimum=2)] = 64
    steps: Annotated[int, Parameter("steps of a path, settling included", "steps", minimum=200)] = 1000


@dataclass(frozen=True, kw_only=True)
class NeuralHeadline:
    """Scores of every model on every part, and what each does when left alone."""

    log_likelihood: Annotated[
        Scores,
        Headline(
            "lower bound of a transition's log-probability; higher is better, whatever the variance floor",
            "nats",
            shape=_scores,
            published="Table 2, INTC, densities at a floor not stated: order only",
        ),
    ]
    energy_score: Annotated[Scores, Headline("proper score of the simulator; lower is better", "1", shape=_scores)]
    energy_score_error: Annotated[Scores, Headline("its standard error", "1", shape=_scores)]
    test_gain: Annotated[
        tuple[float, ...], Headline("energy score of the mixture less the network's, test part", "1", shape="networks")
    ]
    test_gain_error: Annotated[tuple[float, ...], Headline("standard error of the difference", "1", shape="networks")]
    facts: Annotated[
        dict[str, tuple[float, ...]],
        Headline(
            "recorded, then each model alone (docs/markets/tape.md has each fact with its unit)",
            "ticks, 1 or lots",
            shape="{fact: laws}",
        ),
    ]
    mean_volume_kept: Annotated[
        tuple[float, ...],
        Headline("largest relative difference, simulated to recorded mean volume", "1", shape="models"),
    ]
    outputs: Annotated[tuple[int, ...], Headline("numbers that the head gives", shape="networks")]
    epochs: Annotated[tuple[int, ...], Headline("epochs up to the network that is kept", shape="networks")]


def run(config: NeuralConfig, context: RunContext) -> StudyResult:
    """Fit the mixture and the networks, score them, and let each play alone."""
    if not config.correlations or len(set(config.correlations)) < len(config.correlations):
        raise InvalidInput("correlations", config.correlations, "one or more of fixed, shared, full, each once")
    data = snapshots_of(config.data, context.seed, config)
    base, _ = fit_exchange(
        data,
        levels=config.levels,
        components=config.components,
        variance_floor=config.variance_floor,
        seed=context.seed,
    )
    models: dict[str, AbstractExchange] = {"mixture": base}
    reports: list[NeuralReport] = []
    for place, correlation in enumerate(config.correlations):

        def told(epoch: int, score: float, place: int = place, name: str = correlation) -> None:
            share = (place + (epoch + 1) / config.epochs) / len(config.correlations)
            context.progress.update(f"training, {name} correlation", share, validation=score)

        exchange, report = fit_neural_exchange(
            data,
            base,
            correlation=correlation,
            components=config.components,
            variance_floor=config.variance_floor,
            epochs=config.epochs,
            seed=context.seed,
            report=told,
        )
        context.log(f"{correlation}: best of {report.epochs} epochs is {report.best + 1}")
        models[correlation] = exchange
        reports.append(report)
    first = reports[0]
    record = transitions(data, config.levels)
    found = {"recorded": facts.statistics(facts.of_level2(data, config.levels, config.steps - SETTLING))}
    kept = []
    for name, model in models.items():
        context.progress.update(f"simulating, {name}", 0.0)
        paths = simulate_books(model, context.key, config.paths, config.steps)
        found[name] = facts.statistics(facts.of_paths(paths, SETTLING))
        volume = np.asarray(paths.volume, float)[:, SETTLING:].mean(axis=(0, 1))
        kept.append(float(np.abs(volume / record.after.mean(axis=0) - 1.0).max()))
    headline = NeuralHeadline(
        log_likelihood=_table(first.mixture_log_likelihood, *(one.log_likelihood for one in reports)),
        energy_score=_table(first.mixture_energy_score, *(one.energy_score for one in reports)),
        energy_score_error=_table(first.mixture_energy_error, *(one.energy_score_error for one in reports)),
        test_gain=tuple(-one.energy_difference["test"][0] for one in reports),
        test_gain_error=tuple(one.energy_difference["test"][1] for one in reports),
        facts={name: tuple(row[name] for row in found.values()) for name in found["recorded"]},
        mean_volume_kept=tuple(kept),
        outputs=tuple(one.outputs for one in reports),
        epochs=tuple(one.best + 1 for one in reports),
    )
    return StudyResult(
        headline,
        published={"log_likelihood": [PRINTED[name] for name in models]} if set(models) <= set(PRINTED) else {},
        warnings=_warnings(headline, config),
        arrays={"scores": _dataset(headline, list(models), reports)},
        profile=models[config.correlations[-1]],
    )


PRINTED = {"mixture": [8.89, 6.23, 8.94], "fixed": [18.32, 15.79, 15.64], "shared": [23.4, 21.9, 21.63]}


def _table(*rows: dict[str, float]) -> Scores:
    return tuple(tuple(row[part] for part in PARTS) for row in rows)


def _warnings(headline: NeuralHeadline, config: NeuralConfig) -> list[str]:
    words = []
    for name, gain, error in zip(config.correlations, headline.test_gain, headline.test_gain_error, strict=True):
        if gain < 1.645 * error:
            words.append(
                f"with {name} correlations the network's energy score is not significantly better than the mixture's "
                f"on the test part: {gain:.3g} ± {error:.2g}"
            )
    for name, kept in zip(("mixture", *config.correlations), headline.mean_volume_kept, strict=True):
        if kept > 0.25:
            words.append(f"left alone, the exchange {name} loses the recorded mean volume by up to {kept:.0%}")
    return words


def _dataset(headline: NeuralHeadline, models: list[str], reports: list[NeuralReport]) -> xr.Dataset:
    longest = max(len(one.curve) for one in reports)
    curves = np.full((len(reports), longest), np.nan)
    for row, one in zip(curves, reports, strict=True):
        row[: len(one.curve)] = one.curve
    both = ("model", "part")
    return xr.Dataset(
        {
            "log_likelihood": (both, np.asarray(headline.log_likelihood), {"units": "nats"}),
            "energy_score": (both, np.asarray(headline.energy_score)),
            "energy_score_error": (both, np.asarray(headline.energy_score_error)),
            "validation": (
                ("network", "epoch"),
                curves,
                {"units": "nats", "long_name": "validation log-probability"},
            ),
        },
        coords={
            "model": models,
            "part": list(PARTS),
            "network": models[1:],
            "epoch": ("epoch", np.arange(1, longest + 1), {"long_name": "epoch"}),
        },
    )


def _bars(name: str, axis: str, unit: str, title: str):
    """A score of every model, parts side by side, with two standard errors where they are known."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        for place, part in enumerate(data.part.values):
            row = data[name].sel(part=part).values
            error = 2 * data[f"{name}_error"].sel(part=part).values if f"{name}_error" in data else None
            at = np.arange(len(row)) + 0.26 * (place - 1)
            ax.bar(at, row, 0.24, yerr=error, capsize=2, color=COLOURS[place], label=str(part))
        ax.set_xticks(range(data.sizes["model"]), [str(one) for one in data.model.values])
        return label(ax, x=("model", ""), y=(axis, unit), title=title)

    return panel


def memory(config: NeuralConfig) -> dict[str, float]:
    """The simulated paths, and the histories that are scored at once."""
    levels = 2 * max(config.levels, 1)
    return {"paths, steps": 4.0 * (levels + 2) * config.paths * config.steps, "levels": 4.0 * 256 * 64 * levels * 32}


STUDY = Study(
    name="neural-exchange",
    source="Vadori et al., arXiv 2210.07184, Section 2.3.2 (correlations by unit rows, hurdles added)",
    shows="how much better the next book is foretold by an exchange agent that remembers, and what it does left alone",
    config=NeuralConfig,
    run=run,
    memory=memory,
    presets={"quick": {}, "paper": {"correlations": ("fixed", "shared", "full"), "epochs": 300, "paths": 256}},
    minutes={"quick": 1.5, "paper": 6.0},
    headline=NeuralHeadline,
    example="diffgames run neural-exchange --set data=level2.csv.gz --set correlations=[shared]",
    uncertified="no game is played: models are fitted to data, and held to the parts that they have not seen",
    published="log-likelihoods of INTC on one day (Table 2), at a variance floor that is not stated: order only",
    figures={
        "scores": Drawing(
            "on parts not seen: what history adds to the mixture; on synthetic data, which have no memory, nothing",
            "scores",
            _bars("log_likelihood", "log-probability of a transition", "nats", "Higher is better"),
            _bars("energy_score", "energy score", "", "Lower is better"),
        ),
        "training": Drawing(
            "the network with the best score is kept; later ones learn the training part by heart",
            "scores",
            lines("validation", by="network"),
        ),
    },
)
