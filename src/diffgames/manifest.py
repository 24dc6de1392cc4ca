"""What a finished run's files contain: their digests, so that a damaged one is refused by its name.

`manifest.json` is written before result.json and holds the SHA-256 of config.json, of result.json, of the profile and
of every file under arrays/ and figures/. A file in these folders that the manifest does not name is refused too.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import cast

from diffgames.atomic import write_atomically
from diffgames.errors import InvalidInput
from diffgames.run_files import opened
from diffgames.run_schemas import Manifest, read_checked

MANIFEST = "manifest.json"
FOLDERS = ("arrays", "figures", "profile")


def write_manifest(folder: Path, config_name: str, result_name: str, result: bytes) -> None:
    """Write the digests of a run whose result is about to be written."""
    files = {name: digest(folder / name, folder) for name in (config_name, *_names(folder))}
    files[result_name] = hashlib.sha256(result).hexdigest()
    body = {"files": dict(sorted(files.items()))}
    text = json.dumps({**body, "checksum": _checksum(body)}, indent=2, ensure_ascii=False)
    write_atomically(folder / MANIFEST, text.encode() + b"\n")


def check_files(folder: Path, *needed: str) -> None:
    """`InvalidInput` names a file of a finished run that is missing, damaged or not named in its manifest."""
    path = folder / MANIFEST
    if not path.exists():
        raise InvalidInput("file", str(path), "a run folder with the digests of its files; run the study again")
    stored = read_checked(path, folder, Manifest)
    files = stored["files"]
    if stored["checksum"] != _checksum({"files": files}):
        raise InvalidInput("file", str(path), "an undamaged manifest of a run (its checksum does not match)")
    for name in sorted({*needed, *_names(folder)} - set(files)):
        raise InvalidInput("file", str(folder / name), f"a file that {MANIFEST} names")
    for name, stated in files.items():
        if name not in needed and name.partition("/")[0] not in FOLDERS:
            raise InvalidInput("file", str(path), f"an undamaged manifest of a run; its key files: {name!r}")
        if digest(folder / name, folder) != stated:
            raise InvalidInput("file", str(folder / name), f"an undamaged file (its digest is not that of {MANIFEST})")


def digest(path: Path, folder: Path) -> str:
    """SHA-256 of a file of the run in `folder`."""
    with opened(path, folder) as file:
        return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()


def _names(folder: Path) -> list[str]:
    """Everything under the folders of a run's files, but what a killed process left half-written."""
    return [
        path.relative_to(folder).as_posix()
        for part in FOLDERS
        for path in sorted((folder / part).rglob("*"))
        if not path.is_dir() and not path.name.startswith(".")
    ]


def _checksum(body: dict[str, dict[str, str]]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
