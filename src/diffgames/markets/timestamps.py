"""Times of a market's record: numbers of a unit, or ISO 8601 text on a zone's clock, as whole nanoseconds.

Numbers count from an origin of the file's own (midnight, 1970, …) and are taken as they are. Text is a date and a time
with an offset, or without one on the clock of `zone`; it counts from 1970 (UTC), to the microsecond. A time that a
clock shows twice, or not at all, as daylight saving begins and ends, is refused.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from jaxtyping import Int

from diffgames.errors import InvalidInput
from diffgames.tables import Table, number

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
LATEST = 9.2e18
"""Nanoseconds that int64 holds: 292 years; a number beyond is of another unit."""


def times(table: Table, cells: Sequence[str], unit: str = "s", zone: str = "UTC") -> Int[np.ndarray, " rows"]:
    """The times in a column, in nanoseconds; raises `InvalidInput` for one that is none, or earlier than the last."""
    if unit not in NANOSECONDS:
        raise InvalidInput("time_unit", unit, "one of s, ms, us, ns")
    clock = _clock(zone)
    if number(cells[0]) is not None:
        found = [_counted(table, row, cell, NANOSECONDS[unit], unit) for row, cell in enumerate(cells)]
    else:
        found = [_read(table, row, cell, clock) for row, cell in enumerate(cells)]
    values = np.array(found, np.int64)
    table.check([(np.diff(values, prepend=values[0]) >= 0, "a time no earlier than the row before's")])
    return values


def _clock(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidInput("zone", zone, "a clock's name like UTC or America/New_York") from error


def _counted(table: Table, row: int, cell: str, factor: int, unit: str) -> int:
    """A number of units; whole ones are exact."""
    text = cell.strip()
    if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 25:
        value = int(text) * factor
    else:
        value = table.value(row, cell) * factor
    if not abs(value) < LATEST:
        raise table.refused(row, f"a time in {unit} below {LATEST / factor:.2g}; is time_unit right?")
    return round(value)


def _read(table: Table, row: int, cell: str, clock: ZoneInfo) -> int:
    """A time in ISO 8601."""
    try:
        moment = datetime.fromisoformat(cell.strip())
        if moment.tzinfo is None:
            first, second = (moment.replace(tzinfo=clock, fold=fold) for fold in (0, 1))
            if first.utcoffset() != second.utcoffset():
                shown = "twice or never, as daylight saving changes"
                raise table.refused(row, f"a time with its offset: {clock.key} shows {moment.isoformat(' ')} {shown}")
            moment = first
        passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except InvalidInput:
        raise
    except (ValueError, OverflowError) as error:
        raise table.refused(row, f"a time in ISO 8601 or a number where {cell[:40]!r} stands") from error
    value = passed // timedelta(microseconds=1) * 1000
    if not abs(value) < LATEST:
        raise table.refused(row, "a time between 1678 and 2261")
    return value
