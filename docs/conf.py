"""Sphinx: pages in Markdown, and an API reference made from the docstrings, which are plain text and formulas."""

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))

import diffgames  # noqa: E402 - found through the line above when the package is not installed

project = "diffgames"
author = "the diffgames authors"
release = diffgames.__version__
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "diffgames"
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]


def fenced(text: str, language: str) -> str:
    """A block shown as it is."""
    return f"````{language}\n{text}\n````\n"


def api_page(name: str) -> str:
    """One module: its docstring (the mathematics in the letters of the code), then its public names."""
    module = importlib.import_module(name)
    parts = [f"# `{name}`\n", fenced(inspect.getdoc(module) or "", "text")]
    for label, item in vars(module).items():
        own = getattr(item, "__module__", None) == name
        if label.startswith("_") or not own or not (inspect.isclass(item) or inspect.isfunction(item)):
            continue
        try:
            signature = str(inspect.signature(item))
        except (TypeError, ValueError):
            signature = ""
        parts.append(f"## `{label}`\n")
        parts.append(fenced(f"{label}{signature}", "text"))
        parts.append(fenced(inspect.getdoc(item) or "", "text"))
    return "\n".join(parts)


def write_api(_: object) -> None:
    """Write `api/`, one page a module, and its table of contents, before the pages are read."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    names = sorted(m.name for m in pkgutil.walk_packages(diffgames.__path__, "diffgames.") if "__main__" not in m.name)
    for old in folder.glob("*.md"):
        old.unlink()
    for name in names:
        (folder / f"{name}.md").write_text(api_page(name))
    table = "\n".join(["```{toctree}", ":maxdepth: 1", "", *names, "```"])
    (folder / "index.md").write_text(f"# API\n\nEvery module and its public names.\n\n{table}\n")


def setup(app: object) -> None:
    """Sphinx calls this."""
    app.connect("builder-inited", write_api)
