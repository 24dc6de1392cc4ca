"""Day-ahead forecasts of load or wind, scored on a year that nothing was fitted to.

Student's t with a scale and ν of every hour (`energy.forecast`) against the normal law, trained alike, against the log
score as loss, and against the same hour a week ago with the errors that it made in the year before. The year before the
last chooses the weight of the trees and fits the head; the last year is tested. Without a file the record is drawn:
load with seasons, weekdays and t errors of an operator.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr

from diffgames.energy import scores
from diffgames.energy.forecast import YEAR, Forecast, back, by_day, covariates_of, first_known, fit_head, fit_location
from diffgames.energy.hours import Hours, clock_of, read_hours, synthetic_hours
from diffgames.errors import InvalidInput
from diffgames.studies.context import RunContext
from diffgames.studies.forecast_figures import FIGURES
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

DEPENDENT_DAYS = 2  # forecasts of D and D + 1 are made within 36 h: their errors overlap
SCORED = ("Student's t", "log score", "normal", "week ago")


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """The record, the target, the model."""

    data: Annotated[str | None, Parameter("CSV of hourly series; null: a synthetic record")] = None
    zone: Annotated[str, Parameter("ES, DE, AT, FR, or a clock's name like Europe/Madrid")] = "ES"
    target: Annotated[str, Parameter("series to forecast")] = "load"
    operator: Annotated[
        str | None, Parameter("the operator's day-ahead forecast of it that is used; null: none is")
    ] = None
    columns: Annotated[
        dict[str, str] | None, Parameter("names here and in the file; null: the same", shape="{name: column}")
    ] = None
    repair: Annotated[bool, Parameter("exchange day and month back where they were exchanged")] = False
    trees: Annotated[int, Parameter("boosted for the location, by each of two losses", "trees", minimum=1)] = 200
    updates: Annotated[int, Parameter("of each head", "updates", minimum=1)] = 300
    width: Annotated[int, Parameter("hidden units of a head", minimum=1)] = 16
    half_life: Annotated[float, Parameter("of what the scale remembers", "days", minimum=0.1)] = 7.0
    members: Annotated[int, Parameter("of every day", "scenarios", minimum=2, maximum=300)] = 50


@dataclass(frozen=True, kw_only=True)
class ForecastHeadline:
    """Scores of the last year."""

    crps: Annotated[float, Headline("mean CRPS of Student's t, trained by CRPS", "MW")]
    crps_gaussian: Annotated[float, Headline("of the normal law, trained alike", "MW")]
    crps_log: Annotated[float, Headline("of Student's t trained by −log p", "MW")]
    crps_naive: Annotated[float, Headline("of a week ago with its errors of the year before", "MW")]
    coverage: Annotated[float, Headline("share of the hours inside the 90% interval")]
    coverage_gaussian: Annotated[float, Headline("the same of the normal law")]
    violations: Annotated[float, Headline("share of the hours above the 95% forecast")]
    dm_statistic: Annotated[float, Headline("Diebold–Mariano of daily CRPS, t − normal: below zero, t is better")]
    dm_p: Annotated[float, Headline("its two-sided p, Bartlett over two days, HLN factor")]
    dm_p_hours: Annotated[list[float], Headline("p of every hour alone, adjusted by Holm's steps", shape="24")]
    energy_score: Annotated[float, Headline("mean energy score of the days' joint scenarios", "MW")]
    energy_score_apart: Annotated[float, Headline("with hours drawn independently", "MW")]
    variogram_score: Annotated[float, Headline("mean variogram score, p = ½, of the joint scenarios", "MW")]
    variogram_score_apart: Annotated[float, Headline("with hours drawn independently", "MW")]
    error: Annotated[float, Headline("mean absolute error of the location", "MW")]
    error_naive: Annotated[float, Headline("of the same hour a week ago", "MW")]
    error_operator: Annotated[
        float | None, Headline("of the operator's own forecast, where the file has it", "MW", optional=True)
    ]
    weight: Annotated[float, Headline("w of the trees, chosen on the year before the last")]


def record_of(config: ForecastConfig, seed: int) -> Hours:
    """The file's series, or a synthetic record."""
    if config.data is None:
        return synthetic_hours(clock_of(config.zone), seed)
    return read_hours(config.data, config.zone, columns=config.columns, repair=config.repair)


def run(config: ForecastConfig, context: RunContext) -> StudyResult:
    """Read, fit, score."""
    record = record_of(config, context.seed)
    days, y = by_day(record, config.target)
    operator = None if config.operator is None else by_day(record, config.operator, "operator")[1]
    context.progress.update("trees", 0.1)
    base = first_known(*([] if operator is None else [operator]), back(y, 7), back(y, 14))
    fitted = fit_location(y, base, covariates_of(days, y, operator), config.trees, context.seed)
    options = {"half_life": config.half_life, "width": config.width, "updates": config.updates, "seed": context.seed}
    context.progress.update("heads", 0.6)
    laws = {
        "Student's t": fit_head(fitted, "t", **options),
        "log score": fit_head(fitted, "t", loss="log", **options),
        "normal": fit_head(fitted, "normal", **options),
    }
    context.progress.update("scores", 0.8)
    held, test = fitted.held, fitted.test
    if not np.isfinite(y[test]).any():
        raise InvalidInput("target", config.target, "a series with values in its last year")
    crps = {name: _crps(y[test], _last(law)) for name, law in laws.items()}
    naive, past = back(y, 7), (y - back(y, 7))[held]
    errors = np.quantile(past[np.isfinite(past)], (np.arange(99) + 0.5) / 99)
    crps["week ago"] = np.asarray(scores.crps_ensemble(y[test], naive[test][..., None] + errors))
    published = by_day(record, f"{config.target}_tso_da")[1] if f"{config.target}_tso_da" in record.series else None
    hours = _dataset(config, days[test], y[test], _last(laws["Student's t"]), crps)
    joint = _scenario_scores(config, y, fitted.held, laws["Student's t"], context.seed)
    own = None if published is None else float(np.nanmean(np.abs(y - published)[test]))
    return StudyResult(
        ForecastHeadline(
            **_scores_of(y[test], laws, crps),
            **joint,
            error=float(np.nanmean(np.abs(y[test] - _last(laws["Student's t"]).location))),
            error_naive=float(np.nanmean(np.abs(y - naive)[test])),
            error_operator=own,
            weight=fitted.weight,
        ),
        warnings=[*record.notes, *_notes(config)],
        arrays={"hours": hours, "scores": _score_dataset(crps, hours)},
    )


def _last(law: Forecast) -> Forecast:
    return Forecast(law.location[YEAR:], law.scale[YEAR:], law.df[YEAR:])


def _crps(y: np.ndarray, law: Forecast) -> np.ndarray:
    return np.asarray(scores.crps_t(y, law.location, law.scale, law.df))


def _pit(y: np.ndarray, law: Forecast) -> np.ndarray:
    return np.asarray(scores.pit(y, law.location, law.scale, law.df))


def _scores_of(y: np.ndarray, laws: dict[str, Forecast], crps: dict[str, np.ndarray]) -> dict[str, Any]:
    """Scores, coverage and tests of the last year."""
    found = {name: _pit(y, _last(laws[name])) for name in ("Student's t", "normal")}
    known = np.isfinite(found["Student's t"])
    inside = {name: float(np.mean(np.abs(one[known] - 0.5) <= 0.45)) for name, one in found.items()}
    difference = crps["Student's t"] - crps["normal"]
    whole = np.isfinite(difference).all(1)
    statistic, p = scores.diebold_mariano(difference[whole].mean(1), DEPENDENT_DAYS)
    hourly = [scores.diebold_mariano(one[np.isfinite(one)], DEPENDENT_DAYS)[1] for one in difference.T]
    means = {name: float(np.nanmean(one)) for name, one in crps.items()}
    return {
        "crps": means["Student's t"],
        "crps_gaussian": means["normal"],
        "crps_log": means["log score"],
        "crps_naive": means["week ago"],
        "coverage": inside["Student's t"],
        "coverage_gaussian": inside["normal"],
        "violations": float(np.mean(found["Student's t"][known] > 0.95)),
        "dm_statistic": statistic,
        "dm_p": p,
        "dm_p_hours": scores.holm(np.array(hourly)).tolist(),
    }


def _scenario_scores(config: ForecastConfig, y: np.ndarray, held: slice, law: Forecast, seed: int) -> dict[str, Any]:
    """Energy and variogram scores of the last year's days that are whole, hours joined and hours apart."""
    standard = (y[held] - law.location[:YEAR]) / law.scale[:YEAR]
    past = standard[np.isfinite(standard).all(1)]
    if len(past) < config.members:
        raise InvalidInput(
            "members", config.members, f"at most {len(past)}, the whole days of the year before the last"
        )
    random = np.random.default_rng(seed)
    template = random.choice(past, config.members, replace=False)
    last = _last(law)
    whole = np.isfinite(y[held.stop :] + last.location).all(1)
    found = {}
    for name, ranks in (("", template), ("_apart", random.permuted(template, axis=0))):
        chosen = Forecast(last.location[whole], last.scale[whole], last.df[whole]).scenarios(ranks)
        for kind, score in (("energy_score", scores.energy_score), ("variogram_score", scores.variogram_score)):
            found[f"{kind}{name}"] = float(np.mean(score(y[held.stop :][whole], chosen)))
    return found


def _dataset(
    config: ForecastConfig, days: np.ndarray, y: np.ndarray, law: Forecast, crps: dict[str, np.ndarray]
) -> xr.Dataset:
    """The last year: outcomes, quantiles, PIT."""
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    quantiles = np.stack([law.quantile(level) for level in levels], axis=-1)
    name = {"long_name": config.target, "units": "MW"}
    return xr.Dataset(
        {
            "outcome": (("day", "hour"), y, name),
            "quantile": (("day", "hour", "level"), quantiles, name),
            "pit": (("day", "hour"), _pit(y, law)),
            "scale": (("day", "hour"), law.scale, {"long_name": "scale σ", "units": "MW"}),
            "df": (("day", "hour"), law.df, {"long_name": "degrees of freedom ν"}),
        },
        coords={"day": days.astype(str), "hour": np.arange(24), "level": levels},
    )


def _score_dataset(crps: dict[str, np.ndarray], hours: xr.Dataset) -> xr.Dataset:
    values = np.stack([np.nanmean(crps[name], axis=0) for name in SCORED])
    words = {"long_name": "mean CRPS", "units": "MW"}
    hour = ("hour", np.arange(24), {"long_name": "hour of the local day"})
    return xr.Dataset({"crps": (("forecast", "hour"), values, words)}, coords={"forecast": list(SCORED), "hour": hour})


def _notes(config: ForecastConfig) -> list[str]:
    if config.operator is None:
        return []
    return [f"{config.operator} is taken to be published by 10:00 of the day before: the file does not say when it was"]


def memory(config: ForecastConfig) -> dict[str, float]:
    """The scenarios of a year, four times over while they are compared in pairs."""
    return {"members": 8.0 * 4 * YEAR * 24 * config.members, "width": 4.0 * 4 * YEAR * 24 * config.width}


STUDY = Study(
    name="forecast",
    source="mean-field-type games tutorial, Section 6; Jordan, Krüger & Lerch 2019; Diebold & Mariano 1995",
    shows="heavy tails with a scale and ν of every hour, trained by CRPS, held against the normal law trained alike",
    config=ForecastConfig,
    run=run,
    memory=memory,
    presets={"quick": {}, "paper": {"trees": 400, "updates": 1000, "members": 100}},
    minutes={"quick": 2.0, "paper": 5.0},
    headline=ForecastHeadline,
    example="diffgames run forecast --set data=hours.csv.gz zone=ES target=load operator=load_tso_da",
    published="the tutorial claims 3–6% of CRPS for Student's t against the normal law, with no protocol and no data",
    uncertified="no game is played: forecasts are scored on days that nothing was fitted to",
    figures=FIGURES,
)
