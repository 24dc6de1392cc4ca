"""The command line: `diffgames list | run | compare | verify | report | export | what-if | bench`.

Exit codes: 0 done; 1 the study ran and failed (result.json says why and what to try); 2 bad usage, bad input or a
damaged run folder, in one line; 130 interrupted (resumable). JAX is imported only by the commands that need it, so
that `--help` answers at once.
"""

import argparse
import csv
import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from diffgames import __version__
from diffgames.errors import InvalidInput, RunFailed, suggestion
from diffgames.interruption import interruptible

if TYPE_CHECKING:
    from diffgames.records import Run

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Answers bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="diffgames", description="Stochastic dynamic games: solve, learn, simulate, certify.")
    parser.add_argument("--version", action="version", version=f"diffgames {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    listing = commands.add_parser("list", help="every study: name, source, what it shows, presets, minutes")
    listing.add_argument("--json", action="store_true", help="with every parameter and headline key, for programs")
    listing.set_defaults(act=_list)

    run = commands.add_parser("run", help="run a study, or the study or game NAME in your FILE.py")
    run.add_argument("study", metavar="STUDY", nargs="?", help="a name from `diffgames list`, or FILE.py:NAME")
    run.add_argument("--preset", help="quick (default), paper, or another preset of the study")
    run.add_argument("--seed", type=int, metavar="N", help="seed of all randomness (default 0)")
    run.add_argument("--seeds", type=int, metavar="K", help="run K seeds from N on: mean and 95%% interval")
    run.add_argument("--out", metavar="DIR", help="run folder (default runs/STUDY-seedN-TIME)")
    run.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="key=value", help="parameters; JSON where it parses"
    )
    run.add_argument("--resume", action="store_true", help="finish the run in --out, or the newest of study and seed")
    run.set_defaults(act=_run)

    compare = commands.add_parser("compare", help="headlines of several runs side by side")
    compare.add_argument("runs", metavar="RUN", nargs="+")
    compare.add_argument("--csv", action="store_true", help="as comma-separated values")
    compare.set_defaults(act=_compare)

    verify = commands.add_parser("verify", help="recompute the certificate from the stored profile")
    verify.add_argument("run", metavar="RUN")
    verify.add_argument(
        "--study", metavar="FILE.py:NAME", help="the file of the study, where the run's is no registered one"
    )
    verify.set_defaults(act=_verify)

    report = commands.add_parser("report", help="(re)build report.html")
    report.add_argument("run", metavar="RUN")
    report.set_defaults(act=_report)

    export = commands.add_parser("export", help="write trades, quotes, books and accounts of a market run as tables")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--format", default="csv", metavar="csv|parquet", help="of the files (default csv)")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    export.set_defaults(act=_export)

    what_if = commands.add_parser("what-if", help="play a market run's policies in other markets: one table")
    what_if.add_argument("run", metavar="RUN")
    what_if.add_argument("--grid", nargs="+", action="extend", required=True, metavar="KEY=V1,V2,…", help="parameters")
    what_if.add_argument("--out", required=True, metavar="DIR", help="a new folder for table.csv")
    what_if.set_defaults(act=_what_if)

    bench = commands.add_parser("bench", help="run a benchmark")
    bench.add_argument("name", metavar="NAME")
    bench.add_argument("--json", action="store_true", help="print JSON only")
    bench.set_defaults(act=_bench)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands = ("list", "run", "compare", "verify", "report", "export", "what-if", "bench")
    if words and not words[0].startswith("-") and words[0] not in commands:
        return _refuse(InvalidInput("COMMAND", words[0], suggestion(words[0], commands)))
    try:
        with interruptible():
            options = _parser().parse_args(words)
            return options.act(options)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else USAGE
    except InvalidInput as slip:
        return _refuse(slip)
    except RunFailed as failure:
        _say(f"diffgames: {failure}", error=True)
        return FAILED
    except KeyboardInterrupt as stop:
        print("\ninterrupted" + (f"; {stop}" if str(stop) else ""), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (`diffgames list | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:  # a folder we may not read or write, a full disk
        return _refuse(InvalidInput("file", error.filename or "", f"a place that can be used ({error.strerror})"))


def _say(*parts: str, sep: str = " ", error: bool = False) -> None:
    """Print text that may come from a stranger's folder or an error."""
    print(sep.join(map(_visible, parts)), file=sys.stderr if error else sys.stdout)


def _visible(text: str) -> str:
    """The text without what would move a terminal's cursor, change its colours or turn the direction of reading."""
    return "".join("\ufffd" if unicodedata.category(c)[0] == "C" and c not in "\n\t" else c for c in text)


def _refuse(slip: InvalidInput) -> int:
    _say(f"diffgames: {' '.join(str(slip).split())}", error=True)
    return USAGE


def _list(options: argparse.Namespace) -> int:
    from diffgames.studies.catalogue import entry
    from diffgames.studies.registry import STUDIES, study_names

    said = [None if options.json or name not in STUDIES else entry(name) for name in study_names()]
    imported = [name for name, one in zip(study_names(), said, strict=True) if one is None]
    found = dict(_imported(imported)) if imported else {}
    if options.json:
        from diffgames.studies.parameters import study_json

        print(json.dumps([study_json(study) for study in found.values()], indent=2, ensure_ascii=False))
        return DONE
    for name, one in zip(study_names(), said, strict=True):
        if one is not None or name in found:
            _say_study(one or found[name])
    return DONE


def _imported(names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Studies by name, without those that cannot be imported: another package's must not hide ours."""
    from diffgames.runtime import prepare_jax

    prepare_jax()
    from diffgames.studies.registry import find_study

    for name in names:
        try:
            yield name, find_study(name)
        except InvalidInput as broken:
            print(f"diffgames: {broken}", file=sys.stderr)


def _say_study(study: Any) -> None:
    """The lines of a study, or of its entry in the catalogue."""
    presets = ", ".join(
        f"{name} ({study.minutes[name]:g} min)" if name in study.minutes else name for name in study.presets
    )
    print(f"{study.name}\n    {study.source}\n    {study.shows}\n    presets: {presets}")
    parameters = getattr(study, "parameters", None)
    if parameters is None:
        from diffgames.studies.parameters import parameters_of

        parameters = parameters_of(study)
    print(f"    parameters: {', '.join(parameters)}\n    example: {study.example}\n")


def _run(options: argparse.Namespace) -> int:
    target, settings = _target(options)
    from diffgames.runtime import prepare_jax

    prepare_jax()
    from diffgames.execution import run_study
    from diffgames.studies.parameters import parse_settings

    run = run_study(
        target,
        preset=options.preset,
        seed=options.seed,
        seeds=options.seeds,
        settings=parse_settings(settings),
        out=options.out,
        resume=options.resume,
    )
    _show(run)
    result = run.finished()
    if result["status"] == "ok":
        return DONE
    failure = result["failure"]
    _say(f"diffgames: the run failed: {failure['reason']}; {failure['remedy']}", error=True)
    return FAILED


def _target(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The study and the settings; `--set key=value STUDY` swallows the study's name, which is given back here."""
    settings = list(options.set)
    if options.study is None and settings and "=" not in settings[-1]:
        return settings.pop(), settings
    if options.study is None:
        raise InvalidInput("STUDY", "", "a name from `diffgames list`, or FILE.py:NAME")
    return options.study, settings


def _show(run: "Run") -> None:
    """The result in the terminal: every headline value with its unit, the published number beside it."""
    from diffgames.headline import numbers, short_text

    result, words = run.finished(), run.config["words"]["headline"]
    spread = dict(numbers(result.get("interval95", {})))
    rows = []
    for key, value in result["headline"].items():
        entries = list(numbers(value, key))
        for name, number in entries if len(entries) <= 12 else [(key, value)]:
            text = short_text(number) + (f" ± {short_text(spread[name])}" if spread.get(name) is not None else "")
            paper = f"(published {short_text(result['published'][name])})" if name in result["published"] else ""
            rows.append((name, text, " ".join(part for part in (words.get(key, {}).get("unit", ""), paper) if part)))
    widths = [min(max((len(row[i]) for row in rows), default=0), most) for i, most in ((0, 60), (1, 30))]
    for name, text, unit in rows:
        _say(f"{name:<{widths[0]}}  {text:<{widths[1]}}  {unit}".rstrip())
    for warning in result["warnings"]:
        _say(f"warning: {warning}")
    folder = run.folder.resolve()
    _say(f"{result['status']} after {result['seconds']:.1f} s\nrun folder: {folder}")
    _say(f"report: {folder / 'report.html'}")


def _compare(options: argparse.Namespace) -> int:
    from diffgames.headline import numbers, short_text
    from diffgames.records import open_run

    runs = [open_run(path) for path in options.runs]
    columns = [dict(numbers(run.headline)) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    units = {key: words.get("unit", "") for run in runs for key, words in run.config["words"]["headline"].items()}
    titles = [run.folder.name or str(run.folder) for run in runs]
    if len(set(titles)) < len(titles):
        titles = [str(run.folder) for run in runs]
    unit_of = {name: units.get(name.partition(".")[0].partition("[")[0], "") for name in names}
    if options.csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(["quantity", "unit", *map(_visible, titles)])
        for name in names:
            table.writerow([_visible(name), _visible(unit_of[name]), *(_cell(column.get(name)) for column in columns)])
        return DONE
    rows = [["quantity", *titles, "unit"]]
    rows += [[name, *(short_text(column.get(name)) for column in columns), unit_of[name]] for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return DONE


def _cell(number: int | float | None) -> str:
    return "" if number is None else repr(number)


def _verify(options: argparse.Namespace) -> int:
    from diffgames.records import open_run

    stored = open_run(options.run)
    stored.finished()
    from diffgames.runtime import prepare_jax

    prepare_jax()
    from diffgames.recheck import TOLERANCE, made_with_other_software, recheck, seed_runs

    code = DONE
    if others := made_with_other_software(stored, options.study):
        _say(f"made with other software than is here now: {', '.join(others)}")
    for run in seed_runs(stored):
        outcome = recheck(run, options.study)
        if outcome.reproduced:
            how = "bit for bit" if outcome.exact else f"to a relative {TOLERANCE:g}"
            _say(f"{run.folder}: the certificate is reproduced {how}")
        else:
            code = FAILED
            _say(f"{run.folder}: the certificate is NOT reproduced", *outcome.differences, sep="\n    ")
    return code


def _report(options: argparse.Namespace) -> int:
    from diffgames.records import open_run
    from diffgames.report import build_report

    print(build_report(open_run(options.run)))
    return DONE


def _export(options: argparse.Namespace) -> int:
    from diffgames.export import export
    from diffgames.records import open_run

    for path in export(open_run(options.run), options.out, options.format):
        print(path)
    return DONE


def _what_if(options: argparse.Namespace) -> int:
    from diffgames.runtime import prepare_jax

    prepare_jax()
    from diffgames.records import open_run
    from diffgames.studies.what_if import parse_grid, what_if

    print(what_if(open_run(options.run), parse_grid(options.grid), options.out))
    return DONE


def _bench(options: argparse.Namespace) -> int:
    from diffgames.benchmarks import BENCHMARKS

    if options.name not in BENCHMARKS:
        raise InvalidInput("NAME", options.name, suggestion(options.name, BENCHMARKS))
    from importlib import import_module

    from diffgames.runtime import prepare_jax

    prepare_jax(compile_fast=False)
    try:
        figures: dict[str, Any] = import_module(BENCHMARKS[options.name]).run()
    except ModuleNotFoundError as missing:
        remedy = f"an environment that has {missing.name}: pip install 'diffgames[bench]'"
        raise InvalidInput("NAME", options.name, remedy) from missing
    if options.json:
        print(json.dumps({"benchmark": options.name, **figures}, indent=2))
        return DONE
    from diffgames.headline import numbers, short_text

    for name, value in numbers(figures):
        print(f"{name:<44} {short_text(value)}")
    return DONE
