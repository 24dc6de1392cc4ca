"""Record what every study's quick preset finds, and compare it after a change that must change no number.

    python scripts/golden.py record [STUDY …]     run and write tests/golden/STUDY.json
    python scripts/golden.py compare [STUDY …]    run again and print every difference; exit 1 where there is one

A record holds headline and certificate of `diffgames run STUDY --preset quick --seed 0`, without the values that are
timings. `list` stands for the output of `diffgames list --json`; without names, everything is meant.

Where processor, XLA's flags and libraries are those of the record, values are compared bit for bit. Elsewhere rounding
differs. The headlines of `PORTABLE` are then compared to `RELATIVE` of the largest number of the same list, and numbers
below `ZERO` count as zero. Certificates are left out there, since exact gaps are rounding and so is the start at which
the largest is found. The other studies are skipped by name: learning, searches and drawn jumps amplify rounding.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffgames.headline import numbers
from diffgames.runtime import compiler_flags, machine_tag, prepare_jax, versions
from diffgames.studies.parameters import study_json
from diffgames.studies.registry import STUDIES, find_study

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
LISTING = "list"
RELATIVE, ZERO = 1e-7, 1e-9
PORTABLE = ("replay", "exchange-fit", "market-maker", "games-in-games", "regime-risk", "stackelberg-discrete")
"""Studies whose headlines the processor does not move: float64, nothing learned, no draw at the edge of a jump."""


def platform() -> dict[str, Any]:
    """What rounding depends on: the processor's instructions and threads, XLA's flags, the libraries."""
    libraries = {name: version for name, version in versions().items() if name != "diffgames"}
    threads = os.environ.get("NPROC") or os.cpu_count()
    return {"machine": machine_tag(), "threads": threads, "flags": compiler_flags(), **libraries}


def measured(study: str) -> dict[str, Any]:
    """Headline and certificate of the study's quick preset at seed 0, timings left out; or the listing."""
    prepare_jax()  # as the command line does, before anything imports it
    from diffgames.execution import run_study

    if study == LISTING:
        return {name: study_json(find_study(name)) for name in STUDIES}
    with tempfile.TemporaryDirectory() as folder:
        run_study(study, preset="quick", seed=0, out=Path(folder) / "run", quiet=True)
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
    if result["status"] != "ok":
        raise SystemExit(f"{study}: the run failed: {result['reason']}")
    words = find_study(study).headline
    headline = {name: value for name, value in result["headline"].items() if not words[name].timing}
    return {"headline": headline, "certificate": result["certificate"]}


def record(study: str) -> None:
    """Write what is measured now to the study's file."""
    content = measured(study) if study == LISTING else {"platform": platform(), **measured(study)}
    rows = [f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}" for name, value in content.items()]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{study}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"{study}: recorded", flush=True)


def compare(study: str) -> list[str]:
    """A line for every difference between the record and what is measured now."""
    path = FOLDER / f"{study}.json"
    if not path.is_file():
        return [f"{study}: not recorded"]
    before = json.loads(path.read_text(encoding="utf-8"))
    exact = study == LISTING or before.pop("platform") == platform()
    if not exact and study not in PORTABLE:
        print(f"{study}: skipped, recorded on another platform, whose rounding its numbers amplify", flush=True)
        return []
    after = json.loads(json.dumps(measured(study)))
    if study == LISTING and (new := [name for name in after if name not in before]):
        print(f"{LISTING}: not recorded: {', '.join(new)}", flush=True)
        after = {name: words for name, words in after.items() if name in before}
    if not exact:
        before, after = before["headline"], after["headline"]
    found = list(differences(before, after, exact))
    how = "bit for bit" if exact else f"by its headline to {RELATIVE:g}, recorded on another platform"
    print(f"{study}: compared {how}, {len(found)} differences", flush=True)
    return [f"{study}: {line}" for line in found]


def differences(before: Mapping[str, Any], after: Mapping[str, Any], exact: bool) -> Iterator[str]:
    """The path of every value that differs, with both values; where not `exact`, beyond the tolerance.

    >>> list(differences({"gap": [1.0, 2.0]}, {"gap": [1.0, 2.0000001]}, exact=True))
    ['gap[1]: 2.0 → 2.0000001']
    >>> list(differences({"gap": [1.0, 2.0]}, {"gap": [1.0, 2.0000001]}, exact=False))
    []
    """
    old, new, sizes = dict(numbers(before)), dict(numbers(after)), {}
    for name, value in old.items():
        if isinstance(value, float):
            sizes[_list_of(name)] = max(sizes.get(_list_of(name), 0.0), abs(value))
    for name in {**old, **new}:
        one, other = old.get(name, "nothing"), new.get(name, "nothing")
        if not exact and isinstance(one, float) and isinstance(other, float):
            same = abs(one - other) <= max(RELATIVE * sizes[_list_of(name)], ZERO)
        else:
            same = repr(one) == repr(other)
        if not same:
            yield f"{name}: {one!r} → {other!r}"


def _list_of(name: str) -> str:
    """The name of a number without its positions: numbers of one list have one size."""
    return re.sub(r"\[\d+\]", "", name)


def main() -> int:
    """Record or compare, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("record", "compare"))
    parser.add_argument("studies", metavar="STUDY", nargs="*", help="names, or list; all where none is given")
    stated = parser.parse_args()
    if unknown := [name for name in stated.studies if name not in (LISTING, *STUDIES)]:
        parser.error(f"{', '.join(unknown)}: not registered")
    lines = []
    for study in stated.studies or (LISTING, *STUDIES):
        if stated.verb == "record":
            record(study)
        else:
            lines += compare(study)
    for line in lines:
        print(line)
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
