"""Imports point one way, files stay one idea each, and the command line stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "diffgames"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each room may import from the package besides itself. `learning` and `markets` meet only through `games`;
# rooms that are not listed (studies, benchmarks, the command line and what carries a run out) stand on top.
FOUNDATION = {"errors", "tables", "atomic", "plotting", "risk"}
BELOW = {
    "errors": set(),
    "tables": {"errors"},
    "atomic": set(),
    "runtime": set(),
    "plotting": set(),
    "interruption": set(),
    "progress": {"errors", "interruption"},
    "run_files": {"errors"},
    "storage": {"errors", "atomic", "run_files"},
    "risk": {"errors", "numerics"},
    "numerics": {"errors", "tables", "atomic", "plotting"},
    "games": {*FOUNDATION, "numerics"},
    "equilibria": {*FOUNDATION, "numerics", "games"},
    "simulation": {*FOUNDATION, "numerics", "games"},
    "solvers": {*FOUNDATION, "numerics", "games", "equilibria"},
    "markets": {*FOUNDATION, "numerics", "games"},
    "energy": {*FOUNDATION, "numerics", "games"},
    "learning": {*FOUNDATION, "numerics", "games"},
    "verification": {*FOUNDATION, "numerics", "games", "energy", "equilibria", "solvers", "simulation", "learning"},
}


def room(module: str) -> str:
    """`diffgames.markets.agents` is in the room `markets`."""
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """Every module of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            if node.module == "diffgames":
                found |= {f"diffgames.{alias.name}" for alias in node.names}
            elif node.module is not None:
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("diffgames.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own in BELOW:
        allowed = {own, *BELOW[own]}
        wrong = {name for name in imports(path) if room(name) not in allowed}
        assert not wrong, f"{own} may import {sorted(allowed)}, not {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_idea_told_first(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module says first what it is"
    assert len(path.read_text().splitlines()) <= 450, "a file is one idea: split it"
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.module == "__future__"), "annotations stay real objects"
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 80, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text())
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare, f"without a docstring: {bare}"


def test_the_front_door_needs_no_heavy_import():
    code = (
        "import sys, diffgames.cli, diffgames.studies\n"
        "heavy = {'jax', 'scipy', 'sklearn', 'matplotlib', 'xarray', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_everything_changes_no_global_setting():
    code = (
        "import importlib, pkgutil, jax, diffgames\n"
        "before = dict(jax.config.values)\n"
        "for module in pkgutil.walk_packages(diffgames.__path__, 'diffgames.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "changed = {k for k, v in jax.config.values.items() if before.get(k, v) != v}\n"
        "assert not changed, changed"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
