"""From what a study hands back to what a run folder holds: result.json and everything that is written before it."""

import dataclasses
import math
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffgames import records
from diffgames.errors import RunFailed
from diffgames.headline import checked_headline, numbers, over_seeds, plain
from diffgames.report import write_report
from diffgames.studies.drawing import figures_from
from diffgames.studies.study import Study, StudyResult


def internal_failure(error: Exception, folder: Path) -> RunFailed:
    """An error nobody foresaw, in one line: where it happened, and where the traceback is."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = (str(error).splitlines() or [""])[0]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return RunFailed(
        f"unexpected {type(error).__name__} at {where}: {text}", f"the traceback is in {folder / records.LOG}"
    )


def write_outcome(
    study: Study,
    folder: Path,
    description: Mapping[str, Any],
    outcome: StudyResult,
    drawn: Sequence[str],
    seconds: float,
) -> None:
    """Write everything a run leaves behind, result.json last."""
    failure = outcome.failure
    try:
        words = study.headline if failure is None else {key: study.headline[key] for key in outcome.headline}
        headline = checked_headline(outcome.headline, words)
    except RunFailed as missing:
        failure = failure or missing
        headline = checked_headline(
            outcome.headline, {k: dataclasses.replace(study.headline[k], optional=True) for k in outcome.headline}
        )
    except (KeyError, TypeError) as error:
        records.log_line(folder, "".join(traceback.format_exception(error)))
        failure, headline = internal_failure(error, folder), {}
    records.write_arrays(folder, outcome.arrays)
    records.write_profile(folder, outcome.profile)
    records.write_figures(folder, {**figures_from(study.figures, outcome.arrays), **outcome.figures})
    certificate = None
    try:
        certificate = certificate_json(outcome.certificate)
    except RunFailed as hollow:
        failure = failure or hollow
    result = {
        "study": description["study"],
        "preset": description["preset"],
        "seed": description["seed"],
        "status": "ok" if failure is None else "failed",
        **({} if failure is None else {"failure": {"reason": failure.reason, "remedy": failure.remedy}}),
        "seconds": round(seconds, 3),
        "headline": headline,
        "certificate": certificate,
        "published": dict(numbers(plain(outcome.published))),
        "warnings": [*drawn, *outcome.warnings],
    }
    finish(folder, description, result)


def certificate_json(certificate: Any) -> dict[str, Any] | None:
    """A certificate as JSON. `RunFailed` names a number that is not finite: it would certify nothing."""
    if certificate is None:
        return None
    body = plain(certificate if isinstance(certificate, Mapping) else certificate.to_dict())
    for name, number in numbers(body):
        if isinstance(number, float) and not math.isfinite(number):
            raise RunFailed(
                f"the certificate's {name} is {number}, which certifies nothing",
                "look at the units and sizes of the parameters: what overflows cannot be compared",
            )
    return body


def finish(folder: Path, description: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Write the report, then result.json: its presence says that the run is over."""
    write_report(folder, description, result)
    records.log_line(folder, f"finished: {result['status']}")
    records.write_result(folder, result)


def summary(description: Mapping[str, Any], results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The result over seeds: mean and half-width of the 95% interval of every number."""
    good = {seed: result for seed, result in results.items() if result["status"] == "ok"}
    bad = {seed: result for seed, result in results.items() if result["status"] != "ok"}
    mean, half_width = over_seeds([result["headline"] for result in good.values()]) if good else ({}, {})
    failure = {}
    if bad:
        first, worst = next(iter(bad.items()))
        reason = f"{len(bad)} of {len(results)} seeds failed; seed {first}: {worst['failure']['reason']}"
        failure = {"failure": {"reason": reason, "remedy": worst["failure"]["remedy"]}}
    return {
        "study": description["study"],
        "preset": description["preset"],
        "seed": description["seed"],
        "seeds": len(results),
        "status": "failed" if bad else "ok",
        **failure,
        "seconds": round(sum(result["seconds"] for result in results.values()), 3),
        "headline": mean,
        "interval95": half_width,
        "certificate": {f"seed{seed}": result["certificate"] for seed, result in good.items()},
        "published": next(iter(results.values()))["published"],
        "warnings": sorted({text for result in results.values() for text in result["warnings"]}),
    }
