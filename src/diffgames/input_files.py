"""Files that parameters name: what they contained when a run started, so that it does not go on with other data."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffgames.errors import InvalidInput
from diffgames.manifest import MANIFEST


def input_files(parameters: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Absolute path and digest of every file, or finished run folder, that a parameter's text names."""
    found = {}
    for key, text in _texts(parameters):
        path = Path(text)
        content = path / MANIFEST if path.is_dir() else path
        if (path.is_dir() or "/" in text or "." in text) and content.is_file():
            found[key] = {"path": str(path.resolve()), "sha256": _digest(content)}
    return found


def check_inputs(config: Mapping[str, Any]) -> None:
    """`InvalidInput` names a file whose content is another than when the run of this configuration started."""
    for key, stored in config.get("inputs", {}).items():
        path = Path(stored["path"])
        content = path / MANIFEST if path.is_dir() else path
        if not content.is_file():
            raise InvalidInput(key, str(path), "the file that the run was started with; it is not there any more")
        if _digest(content) != stored["sha256"]:
            raise InvalidInput(key, str(path), "the file that the run was started with; its content has changed since")


def _texts(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in parameters.items():
        for position, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, str) and item and len(item) < 4096 and "\0" not in item:
                yield (f"{key}[{position}]" if isinstance(value, list) else key), item


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
