"""Numbers as tables with named rows and columns, for the report.

The names of a headline value's axes are read off its documented shape: `regimes × inventory` has two axes, of
`methods (potential, simultaneous)` the labels stand in the brackets, `types (× n × n)` has two more where states are
vectors. An axis without labels there takes those of a coordinate of the run's labelled arrays, or the values of a
parameter or headline list, that has its name and its length; failing these it is numbered from 0: `regime 0`.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from diffgames.headline import numbers, short_text

MOST_IN_A_CELL = 5
"""Numbers of one value told in a cell; more of them are a table."""


@dataclass(frozen=True)
class Axis:
    """One axis of a nested list: its name, and a label per position."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """A headline value: its numbers in order under their flat names (`ask[0][1]`), and its axes (none: one number)."""

    key: str
    axes: tuple[Axis, ...]
    entries: tuple[tuple[str, Any], ...]

    def cells(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """(labels, flat name) of every number."""
        places = itertools.product(*(axis.labels for axis in self.axes))
        yield from zip(places, (name for name, _ in self.entries), strict=True)


Labels = Callable[[str, int], Sequence[Any] | None]
"""Labels of an axis by its name and length, None where nothing known has both."""


def labelled(key: str, value: Any, shape: str, labels: Labels) -> Value:
    """The value with named axes; one that is ragged is one axis of flat names."""
    entries, sizes = tuple(numbers(value, key)), _sizes(value)
    if sizes is None:
        names = tuple(name[len(key) :].lstrip(".") for name, _ in entries)
        return Value(key, (Axis("entry", names),), entries)
    named = _named(shape, len(sizes))
    keys = tuple(value) if isinstance(value, Mapping) else None
    axes = tuple(
        Axis(name, keys if keys is not None and place == 0 else _labels(name, given, size, labels))
        for place, ((name, given), size) in enumerate(zip(named, sizes, strict=True))
    )
    return Value(key, axes, entries)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Lengths of the levels of a nested value; None where it is ragged."""
    if not isinstance(value, Mapping | list):
        return ()
    inside = {_sizes(item) for item in (value.values() if isinstance(value, Mapping) else value)}
    if len(inside) > 1 or inside == {None}:
        return None
    return (len(value), *(next(iter(inside), None) or ()))


def _named(shape: str, depth: int) -> list[tuple[str, tuple[str, ...]]]:
    """Name and given labels of `depth` axes: optional ones are left out from the end, others from the front."""
    if shape.startswith("{"):  # {law: sizes}, or {first: number, second: number}, whose labels the value itself has
        parts = ["" if "," in shape else part.strip(" {}") for part in shape.split(":")[:2]]
    else:
        text, _, optional = shape.partition(" (×")
        parts = re.split(r" [×x] (?![^(]*\))", text)
        if optional and len(parts) < depth:
            parts += [part.strip(" )") for part in optional.split("×")][: depth - len(parts)]
    parts = parts[-depth:] if depth else []
    if len(parts) < depth == 2:
        parts = ["row", "column"]
    parts += [""] * (depth - len(parts))
    return [_name_and_labels(part) for part in parts]


def _name_and_labels(part: str) -> tuple[str, tuple[str, ...]]:
    name, bracket, inside = part.strip().partition("(")
    return name.strip(), tuple(label.strip() for label in inside.rstrip(")").split(",")) if bracket else ()


def _labels(name: str, given: tuple[str, ...], size: int, labels: Labels) -> tuple[str, ...]:
    if len(given) == size:
        return given
    found = labels(name, size)
    if found is not None:
        return tuple(short_text(label) for label in found)
    return tuple(f"{_one_of(name)} {place}" if name.isalpha() else str(place) for place in range(size))


def _one_of(name: str) -> str:
    """One of what an axis lists: `regime` of `regimes`."""
    return {"axes": "axis"}.get(name, name.removesuffix("s"))


def _full(axis: Axis, label: str) -> str:
    """A label with what it is one of, once."""
    one = _one_of(axis.name)
    return label if label.startswith(one) else f"{one} {label}"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[int] = (),
    wide: Sequence[int] = (),
    caption: str = "",
) -> str:
    """A table of escaped cells in a box that scrolls: columns `numeric` keep their lines, `wide` hold sentences."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    kinds = {**dict.fromkeys(numeric, ' class="number"'), **dict.fromkeys(wide, ' class="wide"')}
    body = "".join(
        "<tr>" + "".join(f"<td{kinds.get(place, '')}>{escape(cell)}</td>" for place, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def in_lines(value: Value, text: Callable[[str], str]) -> str:
    """A value of few numbers, a line each: `calm 0.36`, `volatile 0.27`. One number alone has no label."""
    alone = len(value.entries) == 1
    told = ([*(label for label in place if label and not alone), text(name)] for place, name in value.cells())
    return "\n".join(" ".join(one) for one in told)


def large_tables(values: Sequence[Value], words: Mapping[str, str], text: Callable[[str], str]) -> Iterator[str]:
    """Tables of the values of many numbers: those along one and the same axis together, each other one alone.

    `words` is the caption of each value, `text` the text of each number by its flat name.
    """
    by_axis: dict[Axis, list[Value]] = {}
    for value in values:
        if len(value.axes) == 1:
            by_axis.setdefault(value.axes[0], []).append(value)
    for value in values:
        if len(value.axes) != 1:
            yield _one_table(value, words[value.key], text)
        elif (together := by_axis.pop(value.axes[0], None)) is not None:
            yield _together(value.axes[0], together, words, text)


def _together(axis: Axis, values: Sequence[Value], words: Mapping[str, str], text: Callable[[str], str]) -> str:
    rows = [[label, *(text(value.entries[place][0]) for value in values)] for place, label in enumerate(axis.labels)]
    caption = "; ".join(words[value.key] for value in values)
    header = [axis.name, *(value.key for value in values)]
    return table(header, rows, numeric=range(1, len(header)), caption=caption)


def _one_table(value: Value, caption: str, text: Callable[[str], str]) -> str:
    """Rows along all axes but one: the last, or of two the shorter one, which a narrow page can hold."""
    across = len(value.axes) - 1
    if len(value.axes) == 2 and len(value.axes[0].labels) < len(value.axes[1].labels):
        across = 0
    down = [axis for place, axis in enumerate(value.axes) if place != across]
    columns = value.axes[across]
    # by position: labels are rounded, and two of them may read alike
    names = np.asarray([name for name, _ in value.entries], object).reshape([len(axis.labels) for axis in value.axes])
    lines = np.moveaxis(names, across, -1).reshape(-1, len(columns.labels))
    places = itertools.product(*(axis.labels for axis in down))
    rows = [[*place, *map(text, line)] for place, line in zip(places, lines, strict=True)]
    header = [*(axis.name for axis in down), *(_full(columns, label) for label in columns.labels)]
    return table(header, rows, numeric=range(len(down), len(header)), caption=caption)
