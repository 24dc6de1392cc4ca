"""What a finished run's files contain: their digests, so that a damaged one is refused by its name.

`manifest.json` is written before result.json and holds the SHA-256 of result.json, of the profile and of every file
under arrays/ and figures/. Only regular files are read: no link, no pipe, nothing that the manifest does not name.
"""

import hashlib
import json
from pathlib import Path

from diffgames.atomic import write_atomically
from diffgames.errors import InvalidInput

MANIFEST = "manifest.json"
FOLDERS = ("arrays", "figures", "profile")


def write_manifest(folder: Path, result_name: str, result: bytes) -> None:
    """Write the digests of a run whose result is about to be written."""
    files = {name: _digest(folder / name) for name in _names(folder)}
    files[result_name] = hashlib.sha256(result).hexdigest()
    body = {"files": dict(sorted(files.items()))}
    text = json.dumps({**body, "checksum": _checksum(body)}, indent=2, ensure_ascii=False)
    write_atomically(folder / MANIFEST, text.encode() + b"\n")


def check_files(folder: Path) -> None:
    """`InvalidInput` names a file of a finished run that is missing, damaged, a link or not named in its manifest."""
    path = folder / MANIFEST
    if not path.exists():
        raise InvalidInput("file", str(path), "a run folder with the digests of its files; run the study again")
    try:
        stored = json.loads(regular(path).read_bytes())
        files, checksum = stored["files"], stored["checksum"]
        intact = checksum == _checksum({"files": files}) and all(isinstance(name, str) for name in files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput("file", str(path), "an undamaged manifest of a run") from error
    if not intact:
        raise InvalidInput("file", str(path), "an undamaged manifest of a run (its checksum does not match)")
    for name in sorted(set(_names(folder)) - set(files)):
        raise InvalidInput("file", str(folder / name), f"a file that {MANIFEST} names")
    for name, digest in files.items():
        place = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or not place.exists():
            raise InvalidInput("file", str(place), "a file of the run, which is there")
        if _digest(place) != digest:
            raise InvalidInput("file", str(place), f"an undamaged file (its digest is not that of {MANIFEST})")


def regular(path: Path) -> Path:
    """The path, if it is a regular file in a folder that is no link."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise InvalidInput("file", str(path), "a regular file, no link, pipe or folder")
    return path


def _names(folder: Path) -> list[str]:
    """Everything under the folders of a run's files, but what a killed process left half-written."""
    found = []
    for part in FOLDERS:
        if (folder / part).is_symlink():
            raise InvalidInput("file", str(folder / part), "a folder, no link")
        found += [
            path.relative_to(folder).as_posix()
            for path in sorted((folder / part).rglob("*"))
            if (path.is_symlink() or not path.is_dir()) and not path.name.startswith(".")
        ]
    return found


def _digest(path: Path) -> str:
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(body: dict[str, dict[str, str]]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
