"""Files that parameters name: what they contained when a run started, so that it does not go on with other data.

`inputs` of config.json holds, for every text among the parameters, the absolute path and digest of the file or finished
run folder that it named when the run started, or null where it named none; FILE.py:NAME names the file. A run that goes
on elsewhere, or is verified, opens the files at these paths, after their digests were compared.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diffgames.errors import InvalidInput
from diffgames.headline import numbers
from diffgames.manifest import MANIFEST

MEMBER = re.compile(r"(.+\.py):\w+", re.DOTALL)

Inputs = Mapping[str, Mapping[str, str] | None]


def input_files(texts: Mapping[str, Any]) -> dict[str, dict[str, str] | None]:
    """What the texts among parameters name now, under the names of `headline.numbers`: `data`, `data[1]`."""
    return {name: _found(text) for name, text in _texts(texts).items()}


def check_inputs(config: Mapping[str, Any], texts: Mapping[str, Any]) -> None:
    """`InvalidInput` names a file whose content is another than when the run of this configuration started.

    `texts` are the parameters that may name files: each of them that the run was started with must be recorded.
    """
    inputs: Inputs = config.get("inputs", {})
    for name, text in _texts({key: texts[key] for key in texts if key in config["parameters"]}).items():
        if name not in inputs:
            raise InvalidInput(name, text, "a file whose digest config.json holds: its key inputs has none of this one")
        if inputs[name] is None and _found(text) is not None:
            raise InvalidInput(name, text, "a text that names no file here, as it named none when the run was started")
    for name, stored in inputs.items():
        if stored is None:
            continue
        found = _found(stored["path"])
        if found is None:
            raise InvalidInput(name, stored["path"], "the file that the run was started with; it is not there any more")
        if found["sha256"] != stored["sha256"]:
            changed = "the file that the run was started with; its content has changed since"
            raise InvalidInput(name, stored["path"], changed)


def located(parameters: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """The parameters, a text that would now name another file than was recorded replaced by the recorded path."""

    def place(name: str, text: str) -> str:
        stored = inputs.get(name)
        return text if stored is None or _absolute(text) == stored["path"] else stored["path"]

    return {key: _replaced(value, key, place) for key, value in parameters.items()}


def means_the_same(key: str, value: Any, kept: Any, inputs: Inputs) -> bool:
    """Whether a value given now is the recorded one; files are compared by where they are, not by what was typed."""
    now = _replaced(value, key, lambda name, text: text if inputs.get(name) is None else _absolute(text))
    then = _replaced(kept, key, lambda name, text: (inputs.get(name) or {"path": text})["path"])
    return now == then


def other_inputs(before: Inputs, now: Inputs) -> list[str]:
    """In words, what one run read and another reads instead."""
    said = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if (old or {}).get("sha256") == (new or {}).get("sha256"):
            continue
        was, reads = (f"read {file['path']}" if file else "read no file" for file in (old, new))
        if old and new and old["path"] == new["path"]:
            reads += ", whose content has changed since"
        said.append(f"{name}: the earlier run {was}; this one {reads}")
    return said


def _texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name, text in numbers(parameters) if isinstance(text, str)}


def _replaced(value: Any, name: str, place: Callable[[str, str], str]) -> Any:
    """The value with every text in it replaced by `place(name, text)`."""
    if isinstance(value, str):
        return place(name, value)
    if isinstance(value, Mapping):
        return {key: _replaced(item, f"{name}.{key}", place) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, f"{name}[{position}]", place) for position, item in enumerate(value)]
    return value


def _absolute(text: str) -> str:
    try:
        return str(Path(text).resolve())
    except (OSError, ValueError, RuntimeError):  # no path at all
        return text


def _found(text: str) -> dict[str, str] | None:
    """Absolute path and digest of the file, or of the run folder's manifest, that a text names; None for neither."""
    try:
        path = Path(text).resolve()
        content = path / MANIFEST if path.is_dir() else path
        if not content.is_file() and (member := MEMBER.match(str(path))):  # FILE.py:NAME
            content = Path(member[1])
        if not content.is_file():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    try:
        with content.open("rb") as file:
            return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise InvalidInput("file", str(path), f"a file that can be read ({error.strerror})") from error
