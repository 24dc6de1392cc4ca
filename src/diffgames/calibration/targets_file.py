"""The targets of one's own market from a text file: what a provider sees of itself, supertype 1.

A row for each number, below a header with the columns statistic, at, value and, where wanted, kind and weight:

    statistic,at,value,kind,weight
    share,,0.2,equal,1              its share of all takers' volume
    total_share,,0.8,at least,1     that of all providers
    percentile,50,4,,0.2            of the sizes of its trades, lots; `at` is one of 10, 20, …, 90 percent
    flow,-0.5,12,,                  lots a step that it trades on a side priced `at`, in market spreads from the mid

`kind` is equal (also where empty) or, for shares, at least. `weight` multiplies the loss; where empty it is 1 for a
share, 0.2 a lot for percentiles (the paper's) and one over the mean wanted flow for a flow response.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from diffgames.calibration.targets import PROBABILITIES, Target
from diffgames.errors import InvalidInput, suggestion
from diffgames.tables import Table, read_table

REQUIRED, COLUMNS = ("statistic", "at", "value"), ("statistic", "at", "value", "kind", "weight")
STATISTICS = ("share", "total_share", "percentile", "flow")
PERCENT = tuple(round(100 * p) for p in PROBABILITIES)
LOT_WEIGHT = 0.2  # of a lot's error in percentiles, Table 5


@dataclass
class _Rows:
    """The rows of one statistic: their numbers in the file, `at`, values, weight."""

    place: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    kind: str = "equal"
    weight: float | None = None


def read_targets(path: str | Path, largest_size: float, most_flow: float) -> tuple[Target, ...]:
    """The targets in a file; `largest_size` is the largest trade (lots), `most_flow` all that takers trade in a step.

    Raises `InvalidInput`, with the line, for what is no such row and for what no market of these takers can show.
    """
    table = read_table("targets", path)
    names = table.names or ()
    if missing := [name for name in REQUIRED if names.count(name) != 1]:
        raise InvalidInput("targets", str(path), f"a header with one column each of {', '.join(missing)}")
    if unknown := [name for name in names if name not in COLUMNS or names.count(name) > 1]:
        raise InvalidInput("targets", str(path), f"no column but {', '.join(COLUMNS)}, once each; found {unknown[0]!r}")
    absent = max(table.columns - 1 - table.text[-1].count(table.separator), 0)  # empty cells that end the file
    table = replace(table, text=(*table.text[:-1], table.text[-1] + absent * table.separator))
    told: dict[str, _Rows] = {}
    for n, cells in enumerate(table.cells()):
        cell = dict.fromkeys(COLUMNS, "") | {name: one.strip() for name, one in zip(names, cells, strict=True)}
        if cell["statistic"] not in STATISTICS:
            raise table.refused(n, suggestion(cell["statistic"], STATISTICS))
        _add(table, n, cell, told.setdefault(cell["statistic"], _Rows()), largest_size, most_flow)
    _check(table, told)
    return tuple(_target(name, told[name]) for name in STATISTICS if name in told)


def _add(table: Table, n: int, cell: dict[str, str], rows: _Rows, largest_size: float, most_flow: float) -> None:
    """One row, checked for itself."""
    name, value = cell["statistic"], table.value(n, cell["value"])
    curve = name in ("percentile", "flow")
    if not curve and (cell["at"] or rows.place):
        raise table.refused(n, f"one row with the statistic {name}, nothing in its column at")
    at = table.value(n, cell["at"]) if curve else 0.0
    if name == "percentile" and at not in PERCENT:
        raise table.refused(n, "a percentile at 10, 20, … or 90 percent")
    if rows.at and at <= rows.at[-1]:
        raise table.refused(n, f"rows of {name} whose at rises")
    highest = {"percentile": largest_size, "flow": most_flow}.get(name, 1.0)
    unit = {"percentile": " lots, the largest trade size", "flow": " lots a step, all that takers trade"}.get(name, "")
    if not 0 <= value <= highest:
        raise table.refused(n, f"a {name} from 0 to {highest:g}{unit}")
    if name == "percentile" and rows.value and value < rows.value[-1]:
        raise table.refused(n, "percentiles that do not fall")
    kind = cell["kind"] or "equal"
    if kind not in (("equal",) if curve else ("equal", "at least")):
        raise table.refused(n, "the kind equal" + ("" if curve else " or at least"))
    weight = table.value(n, cell["weight"]) if cell["weight"] else None
    if weight is not None and not weight > 0:
        raise table.refused(n, "a weight > 0")
    if rows.place and weight is not None and weight != rows.weight:
        raise table.refused(n, f"one weight for all rows of {name}, in the first of them")
    if not rows.place:
        rows.kind, rows.weight = kind, weight
    rows.place.append(n)
    rows.at.append(at)
    rows.value.append(value)


def _check(table: Table, told: dict[str, _Rows]) -> None:
    """Rows against each other."""
    own, total = told.get("share"), told.get("total_share")
    if own and total and total.kind == "equal" and own.value[0] > total.value[0]:
        raise table.refused(own.place[0], f"a share of at most the total share, {total.value[0]:g}")
    if (flow := told.get("flow")) and len(flow.place) == 1:
        raise table.refused(flow.place[0], "two or more rows of flow")


def _target(name: str, rows: _Rows) -> Target:
    value = tuple(rows.value)
    if name == "percentile":
        at = tuple(PROBABILITIES[PERCENT.index(round(percent))] for percent in rows.at)
        return Target("percentiles", value, 0, rows.weight or LOT_WEIGHT, at)
    if name == "flow":
        return Target("flow", value, 0, rows.weight or 1.0 / max(float(np.mean(value)), 1e-9), tuple(rows.at))
    kind = "at least" if rows.kind == "at least" else "equal"
    return Target(kind, value, 0 if name == "share" else None, rows.weight or 1.0)
