"""Damage finished and interrupted run folders at random, and hold every command that opens them to its promise.

A damaged folder is refused in one line, exit 2, or answered as if it were whole: with the same headline. A forged one,
whose digests its author computed anew, may hold other numbers, yet ends in no traceback. Nothing hangs. Whatever else
happens is printed and counted.

    python scripts/fuzz_folders.py [damages] [seed]
"""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffgames import records, storage
from diffgames.cli import main
from diffgames.manifest import write_manifest

STUDY = f"{Path(__file__).resolve().parents[1] / 'tests' / 'toy_study.py'}:STUDY"
PIECES: list[Any] = [None, True, -1, 0, 0.25, 1e300, "x", "", "\ud800", [], {}, [1, [2]], {"a": {"b": []}}, ["a", 1],
                     float("nan"), 10**400, [[[[[0]]]]], {"": None}, "../../etc", "1e999"]  # fmt: skip
PATIENCE = 60


class Hang(BaseException):
    """A command that took longer than any may."""


def _hang(number: int, frame: Any) -> None:
    raise Hang


def called(words: list[str]) -> tuple[int, str, str]:
    """Exit code, output and errors of a command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    finally:
        signal.alarm(0)
    return code, out.getvalue(), err.getvalue()


def commands(folder: Path) -> list[list[str]]:
    """Every command that opens a run folder."""
    resume = ["run", STUDY, "--out", str(folder), "--resume"]
    return [
        ["compare", "--csv", str(folder)],
        ["report", str(folder)],
        ["verify", str(folder), "--study", STUDY],
        resume,
    ]


def files_of(folder: Path) -> list[Path]:
    """The files of a run that a command may read."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ("report.html", "log.txt"))


def damage(folder: Path, outside: Path, rng: np.random.Generator) -> str:
    """Damage one file, without a thought for its digest; says what was done."""
    path = files_of(folder)[rng.integers(len(files_of(folder)))]
    raw = path.read_bytes()
    kind = ("flip", "cut", "insert", "swap", "absent", "link", "dangling", "pipe", "folder", "above")[rng.integers(10)]
    at = int(rng.integers(len(raw) + 1))
    if kind == "flip" and raw:
        at = min(at, len(raw) - 1)
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << int(rng.integers(8)))]) + raw[at + 1 :])
    elif kind == "cut":
        path.write_bytes(raw[:at])
    elif kind == "insert":
        path.write_bytes(raw[:at] + bytes(rng.integers(0, 256, 3).tolist()) + raw[at:])
    elif kind == "swap":
        other = files_of(folder)[rng.integers(len(files_of(folder)))]
        path.write_bytes(other.read_bytes())
    elif kind == "above" and path.parent != folder:
        shutil.move(path.parent, outside / "moved")
        path.parent.symlink_to(outside / "moved")
    else:
        path.unlink()
        {
            "link": lambda: path.symlink_to(shutil.copyfile(*_content(raw, outside))),
            "dangling": lambda: path.symlink_to(outside / "nowhere"),
            "pipe": lambda: os.mkfifo(path),
            "folder": path.mkdir,
        }.get(kind, lambda: None)()
    return f"{kind} {path.relative_to(folder)} at {at}"


def _content(raw: bytes, outside: Path) -> tuple[Path, Path]:
    (outside / "original").write_bytes(raw)
    return outside / "original", outside / "same content"


def forge(folder: Path, outside: Path, rng: np.random.Generator) -> str:
    """Change the shape of one file and compute every digest anew; says what was done."""
    names = [name for name in ("config.json", "result.json") if (folder / name).exists()]
    trees = [path for path in files_of(folder) if path.suffix in (".tree", ".ckpt", ".nc", ".png")]
    pick = int(rng.integers(3 * len(names) + len(trees)))
    if pick >= 3 * len(names):
        path = trees[pick - 3 * len(names)]
        said = f"forged {path.relative_to(folder)}: {_forge_tree(path, rng)}"
    else:
        path = folder / names[pick % len(names)]
        content = json.loads(path.read_bytes())
        said = f"forged {path.name}: {_reshape(content, rng)}"
        content.pop("checksum", None)
        if path.name == "config.json":
            content["checksum"] = records._checksum(content)
        path.write_text(json.dumps(content))
    if (folder / "result.json").exists():
        write_manifest(folder, "config.json", "result.json", (folder / "result.json").read_bytes())
    return said


def _reshape(content: Any, rng: np.random.Generator) -> str:
    """Replace, drop or add a value somewhere in a JSON tree."""
    place, way = content, []
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = keys[rng.integers(len(keys))]
        way.append(str(key))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.4:
            break
        place = place[key]
    piece = PIECES[rng.integers(len(PIECES))]
    if rng.random() < 0.2:
        del place[key]
        return f"{'.'.join(way)} dropped"
    place[key] = piece
    return f"{'.'.join(way)} = {piece!r:.40}"


def _forge_tree(path: Path, rng: np.random.Generator) -> str:
    if path.suffix in (".tree", ".ckpt") and rng.random() < 0.8:
        line, _, payload = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        said = _reshape(head, rng)
        head["head_sha256"] = storage._head_digest(head)
        path.write_bytes(json.dumps(head).encode() + b"\n" + payload)
        return said
    raw = bytearray(path.read_bytes())
    for at in rng.integers(0, len(raw), 3):
        raw[at] = int(rng.integers(256))
    path.write_bytes(raw[: int(rng.integers(len(raw)))] if rng.random() < 0.3 else raw)
    return "bytes"


def prepared(root: Path) -> dict[str, Path]:
    """A finished run, one of two seeds, and one that was killed before its certificate."""
    settings = ["--set", "updates=6"]
    finished, seeds, interrupted = root / "finished", root / "seeds", root / "interrupted"
    assert called(["run", STUDY, "--out", str(finished), *settings])[0] == 0
    assert called(["run", STUDY, "--out", str(seeds), "--seeds", "2", *settings])[0] == 0
    shutil.copytree(finished, interrupted)
    for name in ("result.json", "manifest.json", "report.html", "checkpoints/stage.certificate.ckpt"):
        (interrupted / name).unlink()
    for name in ("arrays", "figures", "profile"):
        shutil.rmtree(interrupted / name)
    return {"finished": finished, "seeds": seeds, "interrupted": interrupted}


def fuzz(damages: int, seed: int, root: Path) -> list[str]:
    """What went wrong with that many damaged folders, in words."""
    rng, wrong = np.random.default_rng(seed), []
    before = signal.signal(signal.SIGALRM, _hang)
    originals = prepared(root)
    headlines = {name: _headline(originals["finished" if name == "interrupted" else name]) for name in originals}
    compared = {name: called(commands(originals[name])[0])[1] for name in ("finished", "seeds")}
    try:
        for number in range(damages):
            state = ("finished", "seeds", "finished", "interrupted")[number % 4]
            outside = root / "outside"
            outside.mkdir()
            folder = shutil.copytree(originals[state], root / "damaged" / state)
            forged = bool(rng.random() < 0.5)
            act: Callable[..., str] = forge if forged else damage
            said = act(folder, outside, rng)
            words = commands(folder)[3 if state == "interrupted" else rng.integers(4)]
            if complaint := _judged(words, folder, None if forged else headlines[state], compared.get(state, "")):
                wrong.append(f"{state}, {words[0]}: {said}: {complaint}")
            for place in (root / "damaged", outside):
                shutil.rmtree(place)
    finally:
        signal.signal(signal.SIGALRM, before)
    return wrong


def _headline(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_bytes())["headline"]


def _judged(words: list[str], folder: Path, headline: dict[str, Any] | None, compared: str) -> str:
    """What is wrong with the answer of a command, in words; `headline` is None where another one may be right."""
    try:
        code, out, err = called(words)
    except Hang:
        return f"took longer than {PATIENCE} s"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if code not in (0, 1, 2) or "Traceback" in err:
        return f"exit {code}: {err}"
    if code == 2 and len(err.splitlines()) != 1:
        return f"more than one line: {err}"
    if code == 1 and "unexpected" in err and "a mistake of the study's" not in err:
        return err
    if code == 0 and headline is not None:
        if words[0] == "compare" and out != compared:
            return f"another headline: {out}"
        if words[0] == "run" and _headline(folder) != headline:
            return "another headline"
    return ""


if __name__ == "__main__":
    warnings.simplefilter("error")
    count, start = [int(word) for word in sys.argv[1:]] + [2_000, 0][len(sys.argv) - 1 :]
    with tempfile.TemporaryDirectory() as name:
        found = fuzz(count, start, Path(name))
    print("\n".join(found[:40]))
    print(f"{count} damaged folders, {len(found)} neither refused in one line nor answered as if whole")
    sys.exit(bool(found))
