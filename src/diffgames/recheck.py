"""Recompute a stored run's certificate from its stored profile, and say whether the stored numbers are reproduced.

The study's own `verify` gets the stored configuration, the profile read back from disk, and a context with the run's
seed whose checkpoints are thrown away: nothing the run computed but the profile reaches the new certificate. The run
folder may be a stranger's: no code that it names is executed, and none of its files is read that its digests deny.
"""

import math
import tempfile
import traceback
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffgames.errors import InvalidInput, RunFailed
from diffgames.headline import numbers
from diffgames.input_files import check_inputs, located
from diffgames.outcome import certificate_json
from diffgames.progress import Progress
from diffgames.provenance import other_software, source_digest
from diffgames.records import PROFILE, Run, open_run
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.parameters import build_config, text_values
from diffgames.studies.registry import find_study, study_names
from diffgames.studies.study import Study

TOLERANCE = 1e-6
"""Relative difference up to which a number counts as reproduced (0 is usual on the same kind of device)."""


@dataclass(frozen=True)
class Recheck:
    """What came out: the new certificate and, in words, each number that differs from the stored one."""

    certificate: dict[str, Any]
    differences: tuple[str, ...]
    exact: bool

    @property
    def reproduced(self) -> bool:
        """Whether every stored number was reproduced."""
        return not self.differences


def recheck(run: Run, target: str | None = None, quiet: bool = False) -> Recheck:
    """Recompute the certificate of one finished run; `InvalidInput` where the run has none to recompute.

    A study in a file is code, and a run folder may be anybody's: it runs only where `target` names it again.
    """
    stored = run.finished()["certificate"]
    study = find_study(_trusted(run, target))
    if study.verify is None or not stored:
        why = f"; {study.name} has none: {study.uncertified}" if study.uncertified else ""
        raise InvalidInput("run", str(run.folder), f"a run whose study issues a certificate{why}")
    check_inputs(run.config, text_values(build_config(study, run.config["preset"], run.parameters)[0]))
    config, _ = build_config(study, run.config["preset"], located(run.parameters, run.config.get("inputs", {})))
    profile = run.profile()
    with tempfile.TemporaryDirectory() as scratch, Progress(quiet=quiet) as progress:
        context = RunContext(
            seed=run.config["seed"],
            folder=Path(scratch),
            progress=progress,
            checkpoint=CheckpointStore(Path(scratch) / "checkpoints"),
            log=lambda text: None,
        )
        certificate = certificate_json(_recomputed(study, config, profile, context, run))
    if certificate is None:
        raise RunFailed("the study's verify returned no certificate", "let it return what its run returns")
    differences, exact = _compare(stored, certificate)
    return Recheck(certificate=certificate, differences=differences, exact=exact)


def _recomputed(study: Study, config: Any, profile: Any, context: RunContext, run: Run) -> Any:
    """The study's certificate of a profile, which may be of another shape than its own however sound its digests."""
    assert study.verify is not None
    try:
        return study.verify(config, profile, context)
    except (InvalidInput, RunFailed):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        allowed = (
            f"a profile that the study's verify can play (unexpected {where}: {(str(error).splitlines() or [''])[0]})"
        )
        raise InvalidInput("file", str(run.folder / PROFILE), allowed) from error


def _trusted(run: Run, target: str | None) -> str:
    """The study to run: a registered one, or the file that the user names, if it is the one the run was made with."""
    stored = str(run.config.get("target", ""))
    if stored in study_names():
        if target not in (None, stored):
            raise InvalidInput("--study", target, f"{stored}, the study of this run")
        return stored
    if target is None:
        raise InvalidInput(
            "run",
            str(run.folder),
            f"a run of a registered study, or its own file named with --study FILE.py:NAME (it says {stored}; "
            "that file would be executed)",
        )
    if source_digest(target) != run.config.get("source_sha256"):
        raise InvalidInput("--study", target, "the file that the run was made with: this one's digest is another")
    if target.rpartition(":")[2] != stored.rpartition(":")[2]:
        raise InvalidInput("--study", target, f"the name {stored.rpartition(':')[2]}, as in the run")
    return target


def made_with_other_software(run: Run, target: str | None = None) -> list[str]:
    """In words, the versions and sources that differ between the run and what would recheck it now."""
    return other_software(run.config, _trusted(run, target))


def seed_runs(run: Run) -> list[Run]:
    """The single-seed runs of a run folder: itself, or one for each of its seeds."""
    if run.config.get("seeds", 1) == 1:
        return [run]
    return [open_run(run.folder / f"seed{run.config['seed'] + i}") for i in range(run.config["seeds"])]


def _compare(stored: dict[str, Any], fresh: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
    """The numbers that differ by more than the tolerance (timings aside), and whether all are the same bit for bit."""
    old, new = dict(numbers(stored)), dict(numbers(fresh))
    differences, exact = [], True
    sizes = _sizes(old)
    for name in sorted({*old, *new}):
        if "second" in name:
            continue
        before, after = old.get(name), new.get(name)
        if before == after and (name in old) == (name in new):
            continue
        exact = False
        close = (
            isinstance(before, int | float)
            and isinstance(after, int | float)
            and math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=1e-12 * sizes[_group(name)])
        )
        if not close:
            differences.append(f"{name}: stored {before}, recomputed {after}")
    return tuple(differences), exact


def _sizes(found: dict[str, Any]) -> dict[str, float]:
    """The largest number of every entry of a certificate, against which rounding in the others is judged."""
    sizes: dict[str, float] = defaultdict(float)
    for name, number in found.items():
        if isinstance(number, int | float) and not isinstance(number, bool):
            sizes[_group(name)] = max(sizes[_group(name)], float(abs(number)))
    return sizes


def _group(name: str) -> str:
    """The entry a number belongs to: its name but for the last part; at the top its own name, or its list's."""
    return (name.rpartition(".")[0] or name).partition("[")[0]
