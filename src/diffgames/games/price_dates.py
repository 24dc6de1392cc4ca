"""Dates of a price file: whether a column holds them, and what they are.

Read are ISO dates and times, 20240131, seconds or milliseconds since 1970, and the usual written forms. Where all rows
could be read day first and month first alike, with different results, the column is refused, not guessed.
"""

from datetime import UTC, datetime

import numpy as np

from diffgames.tables import Table, number

YEAR = 365.25
HEADERS = {"date", "dates", "day", "time", "datetime", "timestamp", "utc", "month", "week", "year", "period", "index"}
FORMS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y",
         "%b %d %Y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%y", "%d.%m.%y", "%Y-%m", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M",
         "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S")  # fmt: skip
SAMPLE = 50


def is_date(header: str, cells: list[str]) -> bool:
    """Whether the first column is one of dates: by its header, or because most of its cells are dates and no numbers
    (20240131 included). A single damaged cell makes no column of prices one of dates."""
    if header.lower().strip() in HEADERS:
        return True
    seen = cells[:SAMPLE]
    return 2 * sum(_iso(cell) is not None or (number(cell) is None and _form(cell)) for cell in seen) > len(seen)


def dates_of(table: Table, cells: list[str]) -> np.ndarray | None:
    """The dates in days since 1970, None where words stand throughout; refuses a cell that is none."""
    if all(cell and number(cell) is None and _iso(cell) is None and not _form(cell) for cell in cells[:SAMPLE]):
        return None
    if all(number(cell) is not None for cell in cells) and not all(_iso(cell) for cell in cells):
        values = np.array([float(cell) for cell in cells])
        for least, most, unit in ((1e8, 1e10, 86_400.0), (1e11, 1e13, 86_400e3), (1e17, 1e19, 86_400e9)):
            if np.all((values >= least) & (values < most)):
                return values / unit
        raise table.refused(0, "dates in the first column, like 2024-01-31, 20240131 or seconds since 1970")
    found = [_iso(cell) for cell in cells]
    if all(one is not None for one in found):
        return _days(table, found)
    readings = {}
    for form in FORMS:
        if all(_parsed(cell, form) is not None for cell in cells):
            readings[form] = [_parsed(cell, form) for cell in cells]
    if not readings:
        bad = next((n for n, cell in enumerate(cells) if _iso(cell) is None and not _form(cell)), None)
        ordinary = bad if bad is not None else next(n for n, one in enumerate(found) if one is None)
        raise table.refused(ordinary, f"a date where {cells[ordinary][:40]!r} stands, in one form throughout")
    values = [_days(table, reading) for reading in readings.values()]
    if any(not np.array_equal(values[0], other) for other in values[1:]):
        raise table.refused(0, "dates that say which number is the month: write 2024-01-31")
    return values[0]


def _days(table: Table, dates: list) -> np.ndarray:
    zones = {one.tzinfo is not None for one in dates}
    if len(zones) > 1:
        raise table.refused(0, "dates all with or all without a time zone")
    return np.array([(one if one.tzinfo else one.replace(tzinfo=UTC)).timestamp() / 86_400.0 for one in dates])


def _iso(cell: str) -> datetime | None:
    text = cell.strip()
    try:
        found = datetime.fromisoformat(text) if len(text) >= 8 else None
    except ValueError:
        return None
    return found if found is not None and 1800 <= found.year < 2200 else None


def _parsed(cell: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(cell.strip(), form)
    except ValueError:
        return None


def _form(cell: str) -> bool:
    return any(_parsed(cell, form) for form in FORMS)
