"""report.html: one file that carries everything (headline, published numbers, certificate, figures, parameters)."""

import base64
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from diffgames.atomic import write_atomically
from diffgames.headline import numbers, short_text
from diffgames.records import REPORT, Run

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #eee; vertical-align: top }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100% } figure { margin: 1.5rem 0 } figcaption, .soft { color: #555; font-size: .92rem }
.failed { background: #fdecea; border-left: 4px solid #b3261e; padding: .6rem 1rem }
.warning { background: #fff6e0; border-left: 4px solid #c77700; padding: .4rem 1rem; margin: .4rem 0 }
details { margin: .6rem 0 }
"""

LONGEST = 40
"""Numbers of one headline value listed one by one; longer ones are abbreviated (arrays/ and result.json have all)."""


def build_report(run: Run) -> Path:
    """(Re)build the report of a finished run from its folder; returns its path."""
    return write_report(run.folder, run.config, run.finished())


def write_report(folder: Path, config: Mapping[str, Any], result: Mapping[str, Any]) -> Path:
    """Write `report.html` for a result that may not be on disk yet."""
    words = config.get("words", {})
    parts = [
        f"<h1>{escape(str(result['study']))}</h1>",
        f'<p class="soft">{escape(words.get("source", ""))}</p><p>{escape(words.get("shows", ""))}</p>',
        f"<p>{_summary_line(config, result)}</p>",
        *_failure(result),
        *(f'<p class="warning">{escape(text)}</p>' for text in result.get("warnings", [])),
        *_headline(result, words.get("headline", {})),
        *_certificate(result.get("certificate")),
        *_figures(folder),
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


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A table of escaped cells; the second column holds numbers."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{"number" if i == 1 else ""}">{escape(c)}</td>' for i, c in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _headline(result: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[str]:
    published = result.get("published", {})
    spread = dict(numbers(result.get("interval95", {})))
    rows = []
    for key, value in result["headline"].items():
        said = words.get(key, {})
        unit, meaning = said.get("unit", ""), said.get("meaning", "")
        if said.get("normalisation"):
            meaning += f" ({said['normalisation']})"
        entries = list(numbers(value, key))
        shown = entries if len(entries) <= LONGEST else [(key, value)]
        for position, (name, number) in enumerate(shown):
            text = short_text(number)
            if spread.get(name) is not None:
                text += f" ± {short_text(spread[name])}"
            paper = short_text(published[name]) if name in published else ""
            rows.append([name, text, unit, paper, meaning if position == 0 else ""])
    if rows:
        yield "<h2>Headline</h2>"
        yield _table(["quantity", "value", "unit", "published", "meaning"], rows)
    if spread:
        yield '<p class="soft">Mean over seeds ± half-width of the 95% interval (Student’s t).</p>'


def _certificate(certificate: Any) -> Iterator[str]:
    if not certificate:
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
            said = {"how": "How obtained", "significant": "Gains significantly above zero"}
            title = said.get(name, name.replace("_", " ").capitalize())
            yield f"<p>{escape(title)}: {escape(words) or 'none'}.</p>"
    rows = []
    for label, entry in certificate.get("entries", {}).items():
        low, high = entry["interval"]
        budget = entry.get("budget") or {}
        spent = f"{budget['updates']} updates, {budget['episodes']} episodes" if budget else ""
        gain = f"{short_text(entry['gain'])} [{short_text(low)}, {short_text(high)}]"
        rows.append([label, short_text(entry["value"]), gain, spent, entry.get("selected", "")])
    if rows:
        yield _table(["agent", "value at the profile", "gain by deviating [95% interval]", "budget", "found by"], rows)
    entries = [[name, short_text(v)] for name, v in numbers(certificate) if not isinstance(v, str)]
    table, count = _table(["quantity", "value"], entries), len(entries)
    yield f"<details{' open' if not rows else ''}><summary>all {count} numbers</summary>{table}</details>"


def _figures(folder: Path) -> Iterator[str]:
    pictures = sorted((folder / "figures").glob("*.png"))
    if pictures:
        yield "<h2>Figures</h2>"
    for picture in pictures:
        name = escape(picture.stem.replace("_", " ").replace("-", " "))
        data = base64.b64encode(picture.read_bytes()).decode()
        yield (f'<figure><img alt="{name}" src="data:image/png;base64,{data}"><figcaption>{name}</figcaption></figure>')


def _parameters(config: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, value in config["parameters"].items():
        said = words.get(name, {})
        text = str(value) if isinstance(value, str | bool) else short_text(value)
        rows.append([name, text, said.get("unit", ""), said.get("meaning", "")])
    yield "<h2>Parameters</h2>"
    yield _table(["parameter", "value", "unit", "meaning"], rows)


def _environment(config: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())
    yield f'<p class="soft">Started {escape(str(config.get("started", "")))} with {escape(versions)}.</p>'
