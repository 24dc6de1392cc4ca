"""report.html: one file that carries everything (headline, published numbers, certificate, figures, parameters)."""

import base64
import contextlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from diffgames.atomic import write_atomically
from diffgames.errors import InvalidInput
from diffgames.headline import numbers, short_text
from diffgames.records import REPORT, Run, picture
from diffgames.report_tables import MOST_IN_A_CELL, Labels, in_lines, labelled, large_tables, table
from diffgames.run_files import listed, read
from diffgames.studies.drawing import Drawing
from diffgames.studies.registry import find_study, study_names

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem }
h1, h2, h3, p, li, summary { overflow-wrap: anywhere }
.scroll { overflow-x: auto; max-width: 100%; margin: .8rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
caption { text-align: left; color: #555; padding-bottom: .3rem }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #eee; vertical-align: top }
td { font-variant-numeric: tabular-nums } td.number { white-space: pre } td.wide { min-width: 11rem }
img { display: block; max-width: 100%; height: auto } figure { margin: 1.5rem 0 }
figcaption, .soft { color: #555; font-size: .92rem } .claim { font-size: 1.15rem }
.failed { background: #fdecea; border-left: 4px solid #b3261e; padding: .6rem 1rem }
.warning { background: #fff6e0; border-left: 4px solid #c77700; padding: .4rem 1rem; margin: .4rem 0 }
details { margin: .6rem 0 }
"""

MOST_LISTED = 12
"""Numbers of a certificate listed without being asked for."""

LARGEST_PICTURE = 2**26
"""Bytes of the largest picture on the page."""

PIXELS_PER_DOT = 0.36
"""Least width of a picture on the page per dot of its own (150 an inch): smaller, its words could not be read."""


def build_report(run: Run) -> Path:
    """(Re)build the report of a finished run from its folder, figures drawn anew; returns its path."""
    return write_report(run.folder, run.config, run.finished(), _redrawn(run))


def _redrawn(run: Run) -> dict[str, bytes]:
    """A registered study's figures, drawn from the stored arrays; one that they cannot draw stays as it is stored."""
    if run.config.get("target") not in study_names():
        return {}
    pictures = {}
    for name, one in find_study(run.config["target"]).figures.items():
        with contextlib.suppress(InvalidInput, LookupError, TypeError, ValueError):  # arrays of another version
            pictures |= {name: picture(one(run.arrays(one.data)))} if isinstance(one, Drawing) else {}
    return pictures


def write_report(
    folder: Path, config: Mapping[str, Any], result: Mapping[str, Any], redrawn: Mapping[str, bytes] | None = None
) -> Path:
    """Write `report.html` for a result that may not be on disk yet; `redrawn` pictures replace the stored ones."""
    words = config.get("words", {})
    first, *others = [*_figures(folder, words.get("figures", {}), redrawn or {}), "", ""]
    others = [figure for figure in others if figure]
    parts = [
        f"<h1>{escape(str(result['study']))}</h1>",
        f'<p class="claim">{escape(words.get("shows", ""))}</p><p class="soft">{escape(words.get("source", ""))}</p>',
        *_failure(result),
        *(f'<p class="warning">{escape(text)}</p>' for text in result.get("warnings", [])),
        first,
        f"<p>{_summary_line(config, result)}</p>",
        *_headline(result, words, _labels_of(folder, config, result)),
        *_certificate(result.get("certificate"), words.get("uncertified", "")),
        *(["<h2>Figures</h2>", *others] if others else []),
        *_parameters(config, words.get("parameters", {})),
        *_environment(config),
    ]
    title = escape(f"{result['study']}, seed {result['seed']}")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    write_atomically(folder / REPORT, page.encode())
    return folder / REPORT


def _summary_line(config: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    count = result.get("seeds", 1)
    seeds = f"seed {result['seed']}" if count == 1 else f"{count} seeds from {result['seed']}"
    return escape(
        f"Preset {result['preset']}, {seeds}, {result['seconds']:.0f} seconds on {config.get('device', 'this device')}."
    )


def _failure(result: Mapping[str, Any]) -> Iterator[str]:
    if result["status"] != "ok":
        failure = result["failure"]
        yield (
            f'<p class="failed"><strong>This run failed:</strong> {escape(failure["reason"])}.'
            f"<br>What to try: {escape(failure['remedy'])}.</p>"
        )


def _labels_of(folder: Path, config: Mapping[str, Any], result: Mapping[str, Any]) -> Labels:
    """Labels of an axis from the coordinates of the labelled arrays, else from parameters and headline of its name."""
    known: dict[str, list[Sequence[Any]]] = {}
    for path in listed(folder / "arrays", ".nc"):
        for name, coordinate in Run(folder, dict(config), None).arrays(path.stem).coords.items():
            if coordinate.ndim == 1:
                known.setdefault(str(name), []).append(coordinate.values.tolist())
    for values in (config["parameters"], result["headline"]):
        for name, value in values.items():
            if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
                known.setdefault(name, []).append(value)

    def labels(name: str, size: int) -> Sequence[Any] | None:
        word = name.split(" ")[0]
        found = [*known.get(word, []), *known.get(word.removesuffix("s"), [])]
        return next((values for values in found if len(values) == size), None)

    return labels


def _headline(result: Mapping[str, Any], words: Mapping[str, Any], labels: Labels) -> Iterator[str]:
    """One row for every value, and tables of the long ones behind them; published numbers beside what was found."""
    said, published = words.get("headline", {}), result.get("published", {})
    flat, spread = dict(numbers(result["headline"])), dict(numbers(result.get("interval95", {})))

    def text(name: str) -> str:
        found = short_text(flat[name])
        return f"{found} ± {short_text(spread[name])}" if spread.get(name) is not None else found

    rows, long, captions = [], [], {}
    for key, number in result["headline"].items():
        word = said.get(key, {})
        value = labelled(key, number, word.get("shape", ""), labels)
        unit, meaning = word.get("unit", ""), word.get("meaning", "")
        if word.get("normalisation"):
            meaning += f" ({word['normalisation']})"
        captions[key] = f"{key}: {meaning}" + (f" [{unit}]" if unit else "")
        shown = in_lines(value, text)
        if len(value.entries) > MOST_IN_A_CELL:
            long.append(value)
            shown = f"{len(value.entries)} numbers, below"
        paper = {name: short_text(published[name]) for name, _ in value.entries if name in published}
        beside = in_lines(value, lambda name, paper=paper: paper.get(name, "-")) if paper else ""
        where = f"\n({word['published']})" if paper and word.get("published") else ""
        rows.append([key, shown, unit, beside + where, meaning])
    if rows:
        yield "<h2>Headline</h2>"
        header = ["quantity", "value", "unit", "published", "meaning"]
        if not any(row[3] for row in rows):
            header, rows = [*header[:3], header[4]], [[*row[:3], row[4]] for row in rows]
        yield table(header, rows, numeric=range(1, len(header) - 1), wide=(len(header) - 1,))
    if words.get("published"):
        yield f'<p class="soft">What the source prints: {escape(words["published"])}.</p>'
    if spread:
        yield '<p class="soft">Mean over seeds ± half-width of the 95% interval (Student’s t).</p>'
    yield from large_tables(long, captions, text)


def _certificate(certificate: Any, uncertified: str) -> Iterator[str]:
    if not certificate:
        yield from ("<h2>Certificate</h2>", f"<p>None: {escape(uncertified)}.</p>") if uncertified else ()
        return
    yield "<h2>Certificate</h2>"
    for label, single in _single_certificates(certificate):
        if label:
            yield f"<h3>{escape(label)}</h3>"
        yield from _one_certificate(single)


def _single_certificates(certificate: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The certificate, or those of the seeds of a run over several."""
    if certificate and all(name.startswith("seed") and name[4:].isdigit() for name in certificate):
        yield from ((name, one) for name, one in certificate.items() if one)
    else:
        yield "", certificate


def _one_certificate(certificate: Mapping[str, Any]) -> Iterator[str]:
    """What is said in words, a line for each tested agent, and every number folded away."""
    for name, value in certificate.items():
        words = ", ".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value
        if isinstance(words, str):
            said = {"how": "How obtained", "significant": "Gains significantly above zero", "unseen": "Not seen"}
            title = said.get(name, name.replace("_", " ").capitalize())
            yield f"<p>{escape(title)}: {escape(words) or 'none'}.</p>"
    rows = []
    for label, entry in certificate.get("entries", {}).items():
        low, high = entry["interval"] or (None, None)
        budget = entry.get("budget") or {}
        spent = f"{budget['updates']} updates, {budget['episodes']} episodes" if budget else ""
        gain = f"{short_text(entry['gain'])} [{short_text(low)}, {short_text(high)}]"
        found = ": ".join(part for part in (entry.get("selected", ""), entry.get("unbounded", "")) if part)
        gain = "without bound" if entry.get("unbounded") else gain
        rows.append([label, short_text(entry["value"]), gain, spent, found])
    if rows:
        header = ["agent", "value at the profile", "gain by deviating [95% interval]", "budget", "found by"]
        yield table(header, rows, numeric=(1, 2))
    entries = [[name, short_text(v)] for name, v in numbers(certificate) if not isinstance(v, str)]
    listed = table(["quantity", "value"], entries, numeric=(1,))
    opened = " open" if not rows and len(entries) <= MOST_LISTED else ""
    yield f"<details{opened}><summary>all {len(entries)} numbers</summary>{listed}</details>"


def _figures(folder: Path, captions: Mapping[str, str], redrawn: Mapping[str, bytes]) -> Iterator[str]:
    """The figures, those with captions first and in their order; narrow pages scroll a wide one in its own box."""
    order = list(captions)
    pictures = sorted(
        listed(folder / "figures", ".png"),
        key=lambda path: (order.index(path.stem) if path.stem in captions else len(order), path.stem),
    )
    for stored in pictures:
        content = redrawn.get(stored.stem) or read(stored, folder, LARGEST_PICTURE)
        name = stored.stem.replace("_", " ").replace("-", " ")
        least = struct.unpack(">I", content[16:20])[0] * PIXELS_PER_DOT if len(content) > 20 else 0
        said = escape(captions.get(stored.stem, name))
        image = (
            f'<img alt="{escape(name)}" style="min-width:{least:.0f}px" '
            f'src="data:image/png;base64,{base64.b64encode(content).decode()}">'
        )
        yield f'<figure><div class="scroll">{image}</div><figcaption>{said}</figcaption></figure>'


def _parameters(config: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, value in config["parameters"].items():
        said = words.get(name, {})
        text = str(value) if isinstance(value, str | bool) else short_text(value)
        rows.append([name, text, said.get("unit", ""), said.get("meaning", "")])
    yield "<h2>Parameters</h2>"
    yield table(["parameter", "value", "unit", "meaning"], rows, wide=(1, 3))


def _environment(config: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())
    yield f'<p class="soft">Started {escape(str(config.get("started", "")))} with {escape(versions)}.</p>'
