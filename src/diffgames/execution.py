"""Carrying out a study: resolve the folder, check the words, run, write the run folder, verify its certificate.

`run_study` is what `diffgames run` does and can be called from Python:

    run = run_study("replay", settings={"messages": "…", "orderbook": "…"})
    run.headline["match_best"]
"""

import dataclasses
import re
import shlex
import shutil
import traceback
import warnings as python_warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from diffgames import records
from diffgames.errors import InvalidInput, RunFailed
from diffgames.input_files import check_inputs, input_files, located, means_the_same
from diffgames.outcome import finish, internal_failure, summary, write_outcome
from diffgames.progress import Progress
from diffgames.provenance import other_software, software
from diffgames.records import Run
from diffgames.studies.axes import together
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.drawing import captions
from diffgames.studies.memory import refuse_what_does_not_fit
from diffgames.studies.parameters import build_config, parameter_values, parameters_of, text_values
from diffgames.studies.registry import find_study
from diffgames.studies.study import Study, StudyResult

MOST_SEED = 2**63
MOST_SEEDS = 10_000
OCCUPIED = "an empty or absent folder, or --resume to finish the run in it"


def run_study(
    target: str,
    *,
    preset: str | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Run:
    """Run a study (a registered name, or `FILE.py:NAME`) into a folder and return the finished run.

    What is None takes its default: preset quick, seed 0, one seed, `runs/STUDY-seedN-TIME`; with `resume`, what the
    run that is resumed was started with. Raises `InvalidInput` for a slip of the caller's. A run that failed is
    returned with status "failed" and the reason, not raised.
    """
    study = find_study(target)
    for name, number, least in (("--seed", seed, 0), ("--seeds", seeds, 1)):
        if number is not None and number < least:
            raise InvalidInput(name, number, f"an integer, at least {least}")
    if (seeds or 1) > MOST_SEEDS:
        raise InvalidInput("--seeds", seeds, f"at most {MOST_SEEDS}: each has a folder of its own")
    if (seed or 0) + (seeds or 1) > MOST_SEED:
        raise InvalidInput("--seed", seed, f"an integer below {MOST_SEED} (2^63), the seeds after it included")
    folder = Path(out) if out is not None else None
    if folder is None and resume:
        folder = records.newest_run(Path("runs"), study.name, seed or 0)
    before = None
    if folder is not None and not records.is_fresh(folder):
        if not resume:
            raise InvalidInput("--out", str(folder), OCCUPIED)
        before = records.open_run(folder)
    request = _Request(study, target, preset, seed, seeds, settings or {})
    description, config, drawn = _new_run(request) if before is None else _resumed_run(request, before)
    if before is not None and before.result is not None and before.result["status"] == "ok":
        return before
    refuse_what_does_not_fit(study, config)
    made = folder is None or not folder.exists()
    if folder is None:
        folder = records.new_folder(Path("runs"), _file_name(study.name), description["seed"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput("--out", str(folder), f"a folder that can be made ({error.strerror})") from error
    with records.locked(folder):
        if before is None:
            if not records.is_fresh(folder):  # another process was quicker
                raise InvalidInput("--out", str(folder), OCCUPIED)
            records.write_config(folder, description)
        records.clear_leftovers(folder)
        try:
            _carry_out(study, config, folder, description, drawn, quiet)
        except KeyboardInterrupt:
            command = shlex.join(["diffgames", "run", target, "--out", str(folder), "--resume"])
            raise KeyboardInterrupt(f"to go on: {command}") from None
        except InvalidInput as slip:
            if before is None and not any(folder.rglob("*.ckpt")):
                _withdraw(folder, made)
            hint = together(study, config, slip.key, (settings or {}).keys())
            if hint:
                raise InvalidInput(slip.key, slip.value, f"{slip.allowed}; {hint}") from slip
            raise
    return records.open_run(folder)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _withdraw(folder: Path, made: bool) -> None:
    """Undo the start of a run whose input turned out unusable, so that the corrected command can use the folder."""
    for item in folder.iterdir():  # the folder was empty before
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    if made:
        folder.rmdir()


@dataclasses.dataclass(frozen=True)
class _Request:
    """What a caller asked for; None where nothing was said."""

    study: Study
    target: str
    preset: str | None
    seed: int | None
    seeds: int | None
    settings: Mapping[str, Any]


Description = dict[str, Any]
"""The content of config.json."""


def _new_run(request: _Request) -> tuple[Description, Any, list[str]]:
    """Description, configuration and warnings of a run that starts now."""
    preset = request.preset or "quick"
    config, drawn = build_config(request.study, preset, request.settings)
    file, colon, name = request.target.rpartition(":")
    own_file = bool(colon) and file.endswith(".py")
    description = {
        "study": request.study.name,
        "target": f"{Path(file).resolve()}:{name}" if own_file else request.target,
        "preset": preset,
        "seed": request.seed or 0,
        "seeds": request.seeds or 1,
        "parameters": parameter_values(config),
        "inputs": input_files(text_values(config)),
        **software(request.target),
        "device": _device(),
        "started": datetime.now().astimezone().isoformat(),
        "words": _words(request.study),
    }
    return description, config, drawn


def _resumed_run(request: _Request, before: Run) -> tuple[Description, Any, list[str]]:
    """The same for a run that goes on: what was not said again is taken from it, and nothing may be changed."""
    stored = before.config
    asked = {"study": request.study.name, "preset": request.preset, "seed": request.seed, "seeds": request.seeds}
    for name, value in asked.items():
        if value is not None and value != stored.get(name, 1):
            key = name if name == "study" else f"--{name}"
            raise InvalidInput(key, value, f"{stored.get(name, 1)!r}, as in the run to be resumed, or another --out")
    parameters, inputs = stored["parameters"], stored.get("inputs", {})
    asked_for, _ = build_config(request.study, stored["preset"], {**parameters, **request.settings})
    for key, value in parameter_values(asked_for).items():
        kept, given = parameters.get(key, value), any(f"{key}.".startswith(f"{name}.") for name in request.settings)
        if not (means_the_same(key, value, kept, inputs) if given else value == kept):
            raise InvalidInput(key, value, f"{kept!r}, as in the run to be resumed, or another --out")
    check_inputs(stored, text_values(asked_for))
    config, drawn = build_config(request.study, stored["preset"], located(parameters, inputs))
    others = other_software(stored, request.target)
    others += [f"device {_device()}"] if stored.get("device") != _device() else []
    if others:
        drawn.append(
            f"resumed with other software or device than the run was started with: {', '.join(others)}; "
            "its numbers may differ from those of an uninterrupted run"
        )
    return stored, config, drawn


def _device() -> str:
    import jax

    devices = jax.devices()
    return f"{len(devices)} x {devices[0].platform} ({devices[0].device_kind})"


def _words(study: Study) -> dict[str, Any]:
    """What a reader of the folder needs to judge its numbers without the study at hand."""
    return {
        "source": study.source,
        "shows": study.shows,
        "published": study.published,
        "uncertified": study.uncertified,
        "figures": captions(study.figures),
        "parameters": parameters_of(study),
        "headline": {key: dataclasses.asdict(value) for key, value in study.headline.items()},
    }


def _carry_out(
    study: Study, config: Any, folder: Path, description: Mapping[str, Any], drawn: list[str], quiet: bool
) -> None:
    """Run one seed, or several into subfolders, and write what came out."""
    seed, count = description["seed"], description.get("seeds", 1)
    if count == 1:
        _one_seed(study, config, folder, description, drawn, quiet)
        return
    folders = {seed + i: folder / f"seed{seed + i}" for i in range(count)}
    for number, place in folders.items():
        place.mkdir(exist_ok=True)
        if records.is_fresh(place):
            records.write_config(place, {**description, "seed": number, "seeds": 1})
    if study.run_seeds is not None:
        _seeds_at_once(study, config, folder, folders, drawn, quiet)
    else:
        for number, place in folders.items():
            single = records.open_run(place)
            if single.result is None or single.result["status"] != "ok":
                _one_seed(study, config, place, single.config, drawn, quiet, label=f"seed {number}: ")
    results = {number: records.open_run(place).finished() for number, place in folders.items()}
    finish(folder, description, summary(description, results))


def _one_seed(
    study: Study,
    config: Any,
    folder: Path,
    description: Mapping[str, Any],
    drawn: list[str],
    quiet: bool,
    label: str = "",
) -> None:
    """Run one seed in its own folder."""
    watch = records.Stopwatch(folder)
    outcome = _supervised(folder, description["seed"], quiet, watch, label, lambda c: study.run(config, c))
    write_outcome(study, folder, description, outcome, drawn, watch.seconds())


def _seeds_at_once(
    study: Study, config: Any, folder: Path, folders: Mapping[int, Path], drawn: list[str], quiet: bool
) -> None:
    """Let the study run all seeds together, then write each seed's folder."""
    watch, together = records.Stopwatch(folder), study.run_seeds
    assert together is not None
    outcomes = _supervised(folder, min(folders), quiet, watch, "", lambda c: together(config, c, tuple(folders)))
    if isinstance(outcomes, StudyResult):  # the joint run failed: every seed has failed
        outcomes = [outcomes] * len(folders)
    for place, outcome in zip(folders.values(), outcomes, strict=True):
        write_outcome(study, place, records.read_config(place), outcome, drawn, watch.seconds() / len(folders))


def _supervised(
    folder: Path,
    seed: int,
    quiet: bool,
    watch: records.Stopwatch,
    label: str,
    work: Callable[[RunContext], Any],
) -> Any:
    """Call `work` with a context on `folder`; a failure becomes a `StudyResult` that says so."""

    def log(text: str) -> None:
        records.log_line(folder, text)

    def noted(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        log(f"{category.__name__}: {message} ({filename}:{lineno})")

    with python_warnings.catch_warnings(), Progress(Console(stderr=True), log, quiet, label) as progress:
        python_warnings.showwarning = noted  # kept in the log, out of the user's sight
        store = CheckpointStore(folder / "checkpoints", saved=watch.save, within=folder)
        context = RunContext(seed=seed, folder=folder, progress=progress, checkpoint=store, log=log)
        log("started")
        try:
            return work(context)
        except RunFailed as failure:
            log(f"failed: {failure}")
            return StudyResult(headline={}, failure=failure)
        except InvalidInput:
            raise
        except KeyboardInterrupt:
            log("interrupted")
            raise
        except Exception as error:
            log("".join(traceback.format_exception(error)))
            return StudyResult(headline={}, failure=internal_failure(error, folder))
