"""The documentation is true: its pages are linked, its links lead somewhere, its Python runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import diffgames

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if not {"api", "_build"} & set(page.relative_to(DOCS).parts))
NAMES = [m.name for m in pkgutil.walk_packages(diffgames.__path__, "diffgames.") if not m.name.endswith("__main__")]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_page_is_in_the_table_of_contents():
    listed = set()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.S):
        for line in block.splitlines():
            if line.strip() and not line.startswith((":", "api/")):  # the API's pages are made by the build
                found = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.glob(f"{line.strip()}.md")}
                assert found, f"nothing matches {line}"
                listed |= found
    assert listed == {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=ids)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=ids)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """Blocks marked ```python run one after the other, as one program."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_examples_run(name):
    outcome = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert outcome.failed == 0


def test_commands_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (?:-C \S+ )?(\w+)", text, re.M)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
    from diffgames.cli import _parser

    for words in re.findall(r"^diffgames ([^#\n]*)", text, re.M):
        _parser().parse_args(words.split())
