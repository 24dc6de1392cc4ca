"""What is installed is used, what is named exists, and the README and the pages say what the registry has."""

import builtins
import re
import sys
import tomllib
from pathlib import Path

import pytest

from diffgames import __version__
from diffgames.studies import STUDIES, find_study

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"scikit-learn": "sklearn", "python-dateutil": "dateutil", "h5netcdf": "h5netcdf", "h5py": None}
"""Where a package's module has another name; None for what another package imports (h5netcdf reads by h5py)."""


def used(name: str) -> bool:
    module = IMPORTED_AS.get(name, name.replace("-", "_"))
    pattern = re.compile(rf"^\s*(import|from) {module}\b|engine=\"{module}\"|import_module\(\"{module}\"", re.M)
    return module is None or any(pattern.search(path.read_text()) for path in (ROOT / "src").rglob("*.py"))


def names(requirements) -> list[str]:
    return [re.split(r"[^\w-]", requirement)[0] for requirement in requirements]


@pytest.mark.parametrize("name", names([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["env"]]))
def test_every_package_that_is_installed_is_imported(name):
    assert used(name)


def test_the_source_archive_has_the_examples_and_names_that_exist():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert "examples" in tool["include"] and all((ROOT / name).exists() for name in tool["include"])
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_missing_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith(("pettingzoo", "gymnasium")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "diffgames.games.pettingzoo", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'diffgames\[env\]'"):
        import diffgames.games.pettingzoo  # noqa: F401 - the import is what is tested


def test_the_readme_lists_every_study():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    assert set(STUDIES) <= set(re.findall(r"`([a-z0-9-]+)`", "\n".join(rows)))


def test_the_page_of_the_market_says_the_updates_of_its_preset():
    text = (ROOT / "docs" / "markets" / "otc_market.md").read_text()
    said = re.search(r"`quick` learns for (\d+) updates", text)
    assert said is not None and int(said[1]) == find_study("otc-market").presets["quick"]["updates"]
