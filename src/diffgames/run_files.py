"""The one door to the files of a run folder, which may be a stranger's.

A run folder holds regular files and folders, nothing else. No link between the folder and a file is followed, no pipe
is waited for, and no file is read that is larger than a run's can be. The folder itself may be a link that its user
gave.
"""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from diffgames.errors import InvalidInput

LARGEST = 2**34
"""Bytes of the largest file of a run."""

LARGEST_IN_MEMORY = 2**31
"""Bytes of the largest file of a run that is read in one piece."""

_LARGEST_JSON, _DEEPEST_JSON = 2**26, 64
_DOORS = {
    "rb": os.O_RDONLY,
    "ab": os.O_RDWR | os.O_APPEND | os.O_CREAT,
    "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
}
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def opened(path: Path, folder: Path, mode: str = "rb", most: int = LARGEST) -> BinaryIO:
    """Open a file of the run in `folder` to be read (`rb`), written anew (`wb`) or added to (`ab`).

    `InvalidInput` names one that is absent, unreadable, larger than `most`, no regular file, or behind a link.
    """
    try:
        _look(path, folder, may_be_absent=mode != "rb")
        descriptor = os.open(path, _DOORS[mode] | _CAREFULLY, 0o666)
    except OSError as error:
        raise InvalidInput("file", str(path), f"a regular file that can be used ({error.strerror})") from error
    file = cast(BinaryIO, os.fdopen(descriptor, mode))
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > most:
        file.close()
        _refuse(path) if not stat.S_ISREG(found.st_mode) else None
        raise InvalidInput("file", str(path), f"a file of a run, of at most {most} bytes (it has {found.st_size})")
    return file


def read(path: Path, folder: Path, most: int = LARGEST_IN_MEMORY) -> bytes:
    """The content of a file of the run in `folder`; raises as `opened` does."""
    with opened(path, folder, most=most) as file:
        content = file.read(most + 1)
    if len(content) > most:  # it grew since it was opened
        raise InvalidInput("file", str(path), f"a file of a run, of at most {most} bytes")
    return content


def check_folder(folder: Path) -> None:
    """`InvalidInput` names whatever lies in a run folder, at any depth, and is neither a regular file nor a folder."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise InvalidInput("file", str(place), f"a folder that can be read ({error.strerror})") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                _refuse(Path(entry.path))


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """The object in a JSON file of the run in `folder`: every number finite, every text printable as UTF-8."""
    raw = read(path, folder, _LARGEST_JSON)
    try:
        content = json.loads(raw, parse_float=_finite, parse_int=_countable, parse_constant=_finite)
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}, not an object")
        _check_depth(content)
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair cannot be shown
    except (ValueError, RecursionError) as error:
        plain = not isinstance(error, json.JSONDecodeError | UnicodeError | RecursionError)
        reason = f" ({error})" if plain else ""
        raise InvalidInput("file", str(path), f"an undamaged JSON file of a run{reason}") from error
    return content


def _look(path: Path, folder: Path, may_be_absent: bool) -> None:
    """Refuse a link, pipe or device on the way from the folder to the file, before anything is opened."""
    parts = path.relative_to(folder).parts
    if not parts or ".." in parts:
        _refuse(path)
    place = folder
    for part in parts:
        place = place / part
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            if may_be_absent:
                return
            raise InvalidInput("file", str(path), "a file of the run, which is there") from None
        if not (stat.S_ISREG(mode) if place == path else stat.S_ISDIR(mode)):
            _refuse(place)


def _refuse(path: Path) -> NoReturn:
    raise InvalidInput("file", str(path), "a regular file or a folder of the run, no link, pipe or device")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _countable(text: str) -> int:
    _finite(text)
    return int(text)


def _check_depth(content: Any) -> None:
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > _DEEPEST_JSON:
            raise ValueError(f"it is nested more than {_DEEPEST_JSON} deep")
        inside = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [item for items in inside for item in items]


def listed(place: Path, suffix: str) -> list[Path]:
    """The files of a folder of the run by name, hidden ones left out as no digest stands for them."""
    return [path for path in sorted(place.glob(f"*{suffix}")) if not path.name.startswith(".")]
