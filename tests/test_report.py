"""The report: the claim and its figure first, long values as named tables, nothing wider than the page."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray

from diffgames.plotting import new_figure
from diffgames.records import write_arrays, write_figures
from diffgames.report import write_report
from diffgames.report_tables import in_lines, labelled, large_tables

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (400, 1280)


def unlabelled(name, size):
    return None


@pytest.fixture
def report(tmp_path) -> Path:
    """A report with all that is long: names, lists, warnings, a wide figure, tables over coordinates."""
    regimes, inventory = ["calm", "stressed"], list(range(-12, 13))
    ask = np.arange(50.0).reshape(2, 25)
    axes = ("regime", "inventory")
    write_arrays(
        tmp_path, {"solution": xarray.Dataset({"ask": (axes, ask)}, {"regime": regimes, "inventory": inventory})}
    )
    write_figures(tmp_path, {"a_last": new_figure()[0], "quotes": new_figure(columns=4)[0]})
    meaning = {"shape": "regimes × inventory −Q…Q", "unit": "price", "meaning": "what it asks"}
    words = {
        "source": "a paper",
        "shows": "spreads rise before trouble",
        "published": "two numbers",
        "figures": {"quotes": "darker is wider: look at the corners"},
        "headline": {
            "ask": meaning,
            "premium": {"shape": "regimes", "meaning": "premium", "published": "Table 2"},
            "score": {"shape": "{regime: number}"},
        },
    }
    config = {"words": words, "parameters": {"A" * 90: [0.123456789] * 40}, "preset": "quick", "seed": 0}
    result = {
        "study": "market-maker",
        "seed": 0,
        "preset": "quick",
        "status": "ok",
        "seconds": 1.0,
        "headline": {"ask": ask.tolist(), "premium": [0.5, 0.25], "score": {"calm": 1.0, "stressed": 2.0}},
        "published": {"premium[1]": 0.2},
        "warnings": ["x" * 300],
        "certificate": {"how": "y" * 200, "z" * 150: 1.0, "many": [0.1] * 100},
    }
    return write_report(tmp_path, config, result)


def test_the_claim_and_its_figure_come_first_and_long_values_are_named_tables(report):
    page = report.read_text()
    places = [page.index(text) for text in ("spreads rise", 'alt="quotes"', "Headline", 'alt="a last"', "Parameters")]
    assert places == sorted(places) and "look at the corners" in page
    assert "ask[0]" not in page.split("Certificate")[0]
    assert all(f'<th scope="col">{name}</th>' in page for name in ("inventory −Q…Q", "regime calm", "regime stressed"))
    assert '<td>-12</td><td class="number">0</td><td class="number">25</td>' in page
    assert "calm 0.5\nstressed 0.25" in page and "calm -\nstressed 0.2\n(Table 2)" in page
    assert "What the source prints: two numbers." in page


def test_what_is_wide_scrolls_in_a_box_of_its_own(report):
    page = report.read_text()
    for tag in ("<table", "<img"):
        assert page.count(tag) == len(re.findall(rf'<div class="scroll">{tag}', page)) > 0
    assert ".scroll { overflow-x: auto" in page and 'name="viewport"' in page


@pytest.mark.parametrize(
    ("value", "shape", "names"),
    [
        (3.0, "scalar", []),
        ([1.0, 2.0], "types (× n × n)", ["types"]),
        ([[[1.0]], [[2.0]]], "types (× n × n)", ["types", "n", "n"]),
        ([[1.0], [2.0]], "networks × players × (T/4) × axes", ["", "axes"]),
        ([[1.0, 2.0]], "scalar or matrix", ["row", "column"]),
        ({"a": [1.0]}, "{law: sizes}", ["law", "sizes"]),
        ([[1.0], []], "players × rounds", ["entry"]),
        ([], "players", ["players"]),
    ],
)
def test_axes_are_named_by_the_shape(value, shape, names):
    found = labelled("x", value, shape, unlabelled)
    assert [axis.name for axis in found.axes] == names
    assert len(list(found.cells())) == len(found.entries)


def test_an_axis_without_labels_is_numbered_by_what_it_lists():
    found = labelled("P0", [[1.0, 2.0], [3.0, 4.0]], "regimes × players", unlabelled)
    assert [axis.labels for axis in found.axes] == [("regime 0", "regime 1"), ("player 0", "player 1")]
    assert in_lines(found, lambda name: "1").startswith("regime 0 player 0 1\n")
    (page,) = large_tables([found], {"P0": "P"}, lambda name: "1")
    assert '<th scope="col">player 0</th>' in page and "<td>regime 1</td>" in page


def measured(pages, folder: Path) -> list[tuple[str, int, int]]:
    """(page, width of the window, width of what is in it) as a browser lays the pages out."""
    frames = "".join(
        f'<iframe width="{width}" height="900" frameborder="0" title="{html.escape(str(page))}" '
        f'srcdoc="{html.escape(page.read_text())}"></iframe>'
        for page in pages
        for width in WIDTHS
    )
    script = (
        "onload = () => { document.title = [...document.querySelectorAll('iframe')].map(f => "
        "[f.title, f.clientWidth, f.contentDocument.documentElement.scrollWidth].join('|')).join(';') }"
    )
    (folder / "frames.html").write_text(f'<meta charset="utf-8">{frames}<script>{script}</script>')
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += [f"--user-data-dir={folder / 'browser'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run(
        [str(BROWSER), *options, (folder / "frames.html").as_uri()], capture_output=True, text=True, timeout=300
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    rows = [row.split("|") for row in title[1].split(";")]
    return [(name, int(window), int(width)) for name, window, width in rows]


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2), (2, 2, 3)])
def test_every_number_stands_in_its_own_cell_where_labels_read_alike(sizes):
    """Times 12345.6 and 12345.7 are both 12346 in five digits: the numbers beside them must not be mixed up."""
    numbers = np.arange(np.prod(sizes)).reshape(sizes)
    value = labelled("x", numbers.tolist(), " × ".join("time" for _ in sizes), lambda name, size: [12345.6] * size)
    page = next(iter(large_tables([value], {"x": "x"}, lambda name: name)))
    cells = re.findall(r'<td class="number">(.*?)</td>', page)
    across = 0 if sizes[0] < sizes[1] and len(sizes) == 2 else -1
    expected = [f"x[{']['.join(map(str, place))}]" for place in np.ndindex(*sizes)]
    assert cells == np.moveaxis(np.asarray(expected, object).reshape(sizes), across, -1).ravel().tolist()


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_finds_nothing_wider_than_the_page(report, tmp_path):
    found = measured([report], tmp_path)
    assert [window for _, window, _ in found] == list(WIDTHS)
    assert all(width <= window for _, window, width in found), found
