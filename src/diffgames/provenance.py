"""What software a run was made with: versions and digests of source, compared when it goes on or is verified."""

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffgames.errors import InvalidInput
from diffgames.runtime import versions
from diffgames.studies.registry import foreign_studies


def package_digest(package: str) -> str:
    """Digest of all Python files of an installed package, which is not imported for it."""
    spec, whole = importlib.util.find_spec(package), hashlib.sha256()
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    files = [(path.relative_to(place).as_posix(), path) for place in folders for path in Path(place).rglob("*.py")]
    if spec is not None and not folders and spec.origin:  # a package that is one file
        files = [(Path(spec.origin).name, Path(spec.origin))]
    for name, path in sorted(files):
        whole.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def source_digest(target: str) -> str | None:
    """Digest of the user's file behind `FILE.py:NAME`, or of another package's source; None for a study of ours."""
    path = target.rpartition(":")[0]
    if path.endswith(".py"):
        if not Path(path).is_file():
            raise InvalidInput("STUDY", path, "a Python file that exists")
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    foreign = foreign_studies().get(target)
    return None if foreign is None else package_digest(foreign.module.partition(".")[0])


def software(target: str) -> dict[str, Any]:
    """Versions, and digests of this package's source and of that of a study which is not the package's own."""
    return {
        "versions": versions(),
        "package_sha256": package_digest("diffgames"),
        "source_sha256": source_digest(target),
    }


def other_software(stored: Mapping[str, Any], target: str) -> list[str]:
    """In words, what differs between the software a configuration records and what would run `target` now."""
    now = software(target)
    before = stored.get("versions", {})
    said = [
        f"{name} was {before.get(name)}, is {new}" for name, new in now["versions"].items() if new != before.get(name)
    ]
    for key, what in (("package_sha256", "diffgames"), ("source_sha256", target)):
        if stored.get(key) != now[key]:
            said.append(f"the source of {what} " + ("has changed" if stored.get(key) else "was not recorded"))
    return said
