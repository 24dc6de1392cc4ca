"""Give every study settings that are wrong, odd or huge, at random, and hold it to its promise.

Settings are taken or refused by one line of `InvalidInput`: most are parsed alone, some are carried into `run` up to
its first report of progress (games are built, starts and sizes checked), and a few run to the end at tiny sizes, where
every headline number must be finite. Anything else is printed and counted.

    python scripts/fuzz_settings.py [settings] [seed] [shares of settings that start, that finish]
"""

import dataclasses
import json
import math
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from diffgames.runtime import prepare_jax

prepare_jax()

from rich.console import Console  # noqa: E402 - JAX is set up first

from diffgames.errors import InvalidInput, RunFailed  # noqa: E402
from diffgames.execution import run_study  # noqa: E402
from diffgames.headline import numbers  # noqa: E402
from diffgames.progress import Progress  # noqa: E402
from diffgames.studies.context import CheckpointStore, RunContext  # noqa: E402
from diffgames.studies.parameters import FieldWords, build_config, fields_of, parse_settings  # noqa: E402
from diffgames.studies.registry import STUDIES, find_study  # noqa: E402
from diffgames.studies.study import Study  # noqa: E402

PIECES = ["", "null", "true", "nan", "NaN", "inf", "-Infinity", "1e999", "-1", "0", "0.0", "1", "2", "2.5",
          "1e-320", "-0.0", "1e300", "-1e300", "1e18", "100000000", "2000000", "1_0", "0x1", "[]", "[[]]",
          "[[],[]]", "[1]", "[1,2,3]", "[[1,2],[3]]", "[[1,0],[0,1]]", "[null]", '["a"]', "{}", '{"a":1}', '"',
          "'", "buy/sell", "A$^$B", "σ", "\0", "\n", "%s", "../..", "/dev/zero", "[" * 3000,
          "[" * 3000 + "]" * 3000, "9" * 400, "x" * 300, "[1e308,1e308]", "[-1,-1]", "[[0.5,0.5],[0.5,0.5]]",
          "[[[1]]]", "1,2", "=", "1=2", "None", "False"]  # fmt: skip
TINY: dict[str, list[str]] = {
    "stackelberg": ["paths=8", "steps=4", "finite_n=[5,10]", "T=1"],
    "stackelberg-discrete": ["paths=8", "T=3", "finite_n=[5,10]"],
    "typed-lq": ["agents=8", "steps=4"],
    "regime-lq": ["paths=8", "steps=4"],
    "market-maker": ["inventory_max=2", "steps=6"],
    "regime-risk": ["inventory_max=2", "steps=4", "contrasts=[0,1]"],
    "propagation-of-chaos": ["players=[2,4]", "law_players=[2,4]", "replications=2", "law_replications=2", "steps=2"],
    "portfolio": ["sweeps=2", "deviator_updates=1", "certificate_paths=10", "steps=2"],
    "alpha-decay": ["players=[7,15]", "fit_from=2", "draws=1", "search_up_to=0"],
    "games-in-games": ["points=21"],
    "game-components": ["scored_episodes=40", "groups=5", "paths=2", "steps=2"],
    "replay": ["synthetic_events=100"],
    "cvar": ["samples=50", "replications=2"],
    "shared-equilibria": ["updates=100"],
    "mean-field-ergodic": ["points=20"],
    "mean-field-benchmark": ["states=3", "actions=2", "branching=2", "iterations=20"],
    "clearing": ["agents=6", "rounds=10", "milp_nodes=10"],
    "routing": ["nodes=30", "target=20", "links=2", "payments=4", "queries=2", "fees_compared=2", "k=2", "tries=3"],
    "prosumers": ["members=2"],
    "market-maker-real": ["seconds=300", "interval=1", "regimes=1", "inventory_max=2", "steps=4", "T=10"],
    "reach-avoid": ["points=[5,5,5]", "starts=4", "simulation_steps=2", "finer=false"],
}
"""The studies that are cheap enough to be run to the end, and the sizes at which they are."""


class Started(BaseException):
    """Raised where a run first tells of its progress: its input has been taken."""


def stop(*_: Any, **__: Any) -> Any:
    """In the place of every hook that a run calls."""
    raise Started


class _Told(Progress):
    update = stop


class _Kept(CheckpointStore):
    load = save = stop


def ending_context() -> RunContext:
    """A context in which a run ends where it would begin to compute."""
    quiet = _Told(Console(quiet=True), stop, True)
    return RunContext(seed=0, folder=Path(), progress=quiet, checkpoint=_Kept(Path()), log=stop)


def damaged(value: Any, dice: random.Random) -> Any:
    """A JSON value with one change: a number of another size, a row or entry more, less, or of another kind."""
    if isinstance(value, list) and value and dice.random() < 0.75:
        rows, at = list(value), dice.randrange(len(value))
        way = dice.randrange(6)
        if way == 0:
            del rows[at]
        elif way == 1:
            rows.append(rows[at])
        elif way == 2:
            rows[at] = dice.choice([None, "a", [], [1.0], -1.0, 0.0, 1e300, {}])
        else:
            rows[at] = damaged(rows[at], dice)
        return rows
    if isinstance(value, int | float) and not isinstance(value, bool):
        return dice.choice([-value, 0, 2 * value, value / 2, value * 1e-9, value * 1e9, value + 1, [value], [[value]]])
    if isinstance(value, dict) and value:
        key = dice.choice(sorted(value))
        return {**value, key: damaged(value[key], dice)} if dice.random() < 0.7 else {key: value[key]}
    return dice.choice([None, 1, [], [value], "a", {}])


def odd_value(field: FieldWords, dice: random.Random) -> str:
    """The text of a value that a user may have meant for a field."""
    if dice.random() < 0.35 or field.default is dataclasses.MISSING:
        return dice.choice(PIECES)
    default = json.loads(json.dumps(field.default))
    text = json.dumps(damaged(default, dice))
    if dice.random() < 0.1:
        at = dice.randrange(len(text) + 1)
        text = text[:at] + dice.choice(PIECES) + text[at + dice.randrange(3) :]
    return text


def odd_settings(fields: list[FieldWords], dice: random.Random) -> list[str]:
    """One to three `key=value` words, one in fifty with a key that does not exist."""
    words = []
    for field in dice.choices(fields, k=dice.choice([1, 1, 2, 3])):
        key = field.name if dice.random() > 0.02 else field.name[:-1] + dice.choice(["x", "", ".y", " "])
        words.append(f"{key}={odd_value(field, dice)}")
    return words


def start(study: Study, words: list[str]) -> None:
    """Carry settings into the study up to its first report."""
    config, _ = build_config(study, "quick", parse_settings([*TINY.get(study.name, []), *words]))
    try:
        study.run(config, ending_context())
    except Started:
        return


def finish(name: str, words: list[str], folder: Path) -> str | None:
    """Run to the end; what is wrong with the result, or None."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    try:
        run = run_study(name, settings=parse_settings([*TINY[name], *words]), out=out, quiet=True)
    except InvalidInput:
        if out.exists():
            return "a folder is left"
        raise
    result = run.finished()
    if result["status"] != "ok":
        return result["failure"]["reason"] if "unexpected" in result["failure"]["reason"] else None
    bad = [key for key, value in numbers(result["headline"]) if value is not None and not math.isfinite(value)]
    return f"not finite: {', '.join(bad)}" if bad else None


def fuzz(count: int, seed: int, folder: Path, started: float = 0.01, finished: float = 0.0) -> list[str]:
    """What went wrong with that many settings, in words, each kind of fault once; the rest is counted."""
    dice, faults = random.Random(seed), Counter[str]()
    studies = {name: find_study(name) for name in STUDIES}
    fields = {name: list(fields_of(study.config)) for name, study in studies.items()}
    examples: dict[str, str] = {}
    for _ in range(count):
        name, depth = dice.choice(list(STUDIES)), dice.random()
        words = odd_settings(fields[name], dice)
        if depth < finished:
            name = dice.choice(list(TINY))
            sizes = {word.partition("=")[0] for word in TINY[name]}
            words = [w for w in odd_settings(fields[name], dice) if w.partition("=")[0] not in sizes]
        fault = None
        try:
            if depth < finished:
                fault = finish(name, words, folder)
            elif depth < finished + started:
                start(studies[name], words)
            else:
                build_config(studies[name], "quick", parse_settings(words))
        except InvalidInput as refused:
            fault = "more than one line" if "\n" in str(refused) else None
        except RunFailed:
            pass  # an honest answer in one line
        except Exception as error:
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
            fault = f"{type(error).__name__} at {where}"
            examples.setdefault(f"{name}: {fault}", f"{words!r:.300}: {str(error)[:160]!r}")
        if fault is not None:
            faults[f"{name}: {fault}"] += 1
            examples.setdefault(f"{name}: {fault}", f"{words!r:.300}")
    return [f"{times} × {fault}: {examples[fault]}" for fault, times in faults.most_common()]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    number, first, starts, ends = [float(word) for word in sys.argv[1:]] + [100_000, 0, 0.01, 0.001][
        len(sys.argv) - 1 :
    ]
    with tempfile.TemporaryDirectory() as place:
        found = fuzz(int(number), int(first), Path(place), starts, ends)
    print("\n".join(found))
    print(f"{int(number):,} settings, {len(found)} kinds of answers that are neither a result nor a refusal")
    sys.exit(bool(found))
