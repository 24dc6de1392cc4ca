"""What the package's studies say of themselves, read from their source: a list of studies needs no import of solvers.

The words of a `Study(...)` are literals, and its parameters the annotated fields of its configuration's class and of
the classes that this extends. A study whose words are computed is imported instead.
"""

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from diffgames.studies.registry import STUDIES

WORDS = ("source", "shows", "minutes", "example")


@dataclass(frozen=True)
class Entry:
    """The lines of one study in a list."""

    name: str
    source: str
    shows: str
    presets: tuple[str, ...]
    minutes: dict[str, int | float]
    example: str
    parameters: tuple[str, ...]


def entry(name: str) -> Entry | None:
    """The study registered as `name`; None where it must be imported to say what it is."""
    module, _, member = STUDIES[name].partition(":")
    call = _assigned(module, member)
    if not isinstance(call, ast.Call):
        return None
    given: dict[str | None, Any] = {keyword.arg: keyword.value for keyword in call.keywords}
    try:
        words = {key: ast.literal_eval(given[key]) for key in WORDS}
        presets = tuple(ast.literal_eval(key) for key in given["presets"].keys)
        parameters = tuple(dict.fromkeys(_fields(module, _name(given["config"]))))
        return Entry(name=name, **words, presets=presets, parameters=parameters)
    except (AttributeError, KeyError, ValueError):
        return None


@cache
def _tree(module: str) -> ast.Module:
    package, *below = module.split(".")
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None
    return ast.parse(Path(found.origin).parent.joinpath(*below).with_suffix(".py").read_text(encoding="utf-8"))


def _assigned(module: str, name: str) -> ast.expr | None:
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and any(_name(target) == name for target in node.targets):
            return node.value
    return None


def _fields(module: str, name: str) -> Iterator[str]:
    """Names of a dataclass's fields, those it inherits first; `ValueError` where the class is not in the source."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in reversed(node.bases):
                yield from _fields(module, _name(base))
            yield from (_name(one.target) for one in node.body if isinstance(one, ast.AnnAssign))
            return
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            yield from _fields(node.module, name)
            return
    raise ValueError(name)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
