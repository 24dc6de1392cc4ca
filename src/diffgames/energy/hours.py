"""Hourly series of a zone, in MW and €/MWh: read, checked, put on consecutive hours.

A file has one row an hour, its time first: ISO 8601 with an offset (2015-01-01T00:00+01:00, or Z), or without one in a
column called `utc`. Rows may come in any order; absent hours and empty cells are NaN, and counted in the notes. Days
are those of the zone's clock, of 23 and 25 hours where it changes. Refused are hours that come twice, negative power,
and load whose size says kW or GW.

A file whose day and month were exchanged on days up to the twelfth is noticed by its load, which jumps at midnight:
with J the mean |load(0:00) − load(23:00 before)| over midnights at which such a day begins or ends, and J' over the
others, J > 1.25 max(J', J after exchanging them back). The exchange is its own inverse (`exchange_day_and_month`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.signal import lfilter
from scipy.special import expit

from diffgames.errors import InvalidInput, suggestion
from diffgames.tables import Table, number, read_table

ZONES = {"ES": "Europe/Madrid", "DE": "Europe/Berlin", "AT": "Europe/Vienna", "FR": "Europe/Paris"}
POWER = ("load", "solar", "wind")
LEAST_LOAD, MOST_LOAD = 100.0, 1e6  # MW, median of a zone: beyond, the unit is another
JUMP_RATIO = 1.25
_HOUR = 3600


@dataclass(frozen=True)
class Hours:
    """Series on consecutive hours.

    Attributes:
        start: hours since 1970 (UTC) of every row, rising by one. zone: name of the clock, like Europe/Madrid.
        series: name → values in MW (prices: €/MWh), NaN where missing. notes: what the reader should know.
    """

    start: Int[np.ndarray, " hours"]
    zone: str
    series: Mapping[str, Float[np.ndarray, " hours"]]
    notes: tuple[str, ...] = ()

    def local(self) -> list[datetime]:
        """The zone's clock at the start of every hour."""
        clock = ZoneInfo(self.zone)
        return [datetime.fromtimestamp(int(hour) * _HOUR, clock) for hour in self.start]

    def column(self, name: str, key: str = "target") -> Float[np.ndarray, " hours"]:
        """One series, or `InvalidInput` with the names there are; `key` is the parameter that names it."""
        if name not in self.series:
            raise InvalidInput(key, name, suggestion(name, self.series))
        return self.series[name]


def read_hours(source: Any, zone: str, *, columns: Mapping[str, str] | None = None, repair: bool = False) -> Hours:
    """The series of a CSV file (plain or gzip) or a DataFrame indexed by time, checked as the module says.

    `zone` is ES, DE, AT, FR or a clock's name; `columns` maps names used here (load, wind, …) to those of the file,
    else all columns are read under their own names. `repair` exchanges day and month back where they were exchanged.
    Raises `InvalidInput` for what cannot be read or is refused.
    """
    if isinstance(source, str | Path):
        table = read_table("data", source)
        header, cells = table.names, table.cells()
        if header is None:
            raise table.refused(0, "a header that names the columns, the time first")
    else:
        table, header = None, ("utc", *map(str, source.columns))
        cells = [
            [str(row[0]), *("" if value != value else str(value) for value in row[1:])] for row in source.itertuples()
        ]
    names = dict(columns) if columns is not None else {name: name for name in header[1:]}
    for name, theirs in names.items():
        if theirs not in header[1:]:
            raise InvalidInput("columns", {name: theirs}, suggestion(theirs, header[1:]))
    start = _times(table, [row[0] for row in cells], naive=header[0].lower() == "utc")
    values = {name: _values(table, cells, header.index(theirs)) for name, theirs in names.items()}
    record = _consecutive(table, start, values, clock_of(zone))
    _check_units(record)
    if not swapped(record):
        return record
    if not repair:
        allowed = "days and months in their places: load jumps at midnight as if they were exchanged up to the 12th"
        raise InvalidInput("data", str(source)[:80], f"{allowed}; repair=true exchanges them back")
    back = exchange_day_and_month(record)
    return replace(back, notes=(*back.notes, "day and month were exchanged up to the 12th, and are exchanged back"))


def clock_of(zone: str) -> str:
    """The clock of a zone: of ES, DE, AT, FR, or a name like Europe/Madrid itself."""
    name = ZONES.get(zone, zone)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput("zone", zone, f"{', '.join(ZONES)}, or a clock's name like Europe/Madrid") from error
    return name


def exchange_day_and_month(record: Hours) -> Hours:
    """The record with the local days (year, m, d) and (year, d, m) exchanged wherever both exist."""
    local = record.local()
    row = {(one.year, one.month, one.day, one.hour): n for n, one in enumerate(local) if one.day <= 12}
    source = np.arange(len(local))
    for (year, month, day, hour), n in row.items():
        source[n] = row.get((year, day, month, hour), n)
    return replace(record, series={name: values[source] for name, values in record.series.items()})


def midnight_jumps(record: Hours) -> tuple[Float[np.ndarray, " midnights"], Bool[np.ndarray, " midnights"]]:
    """|load(0:00) − load(23:00 before)| at every midnight in MW, and whether a day up to the 12th meets it."""
    load, local = record.column("load"), record.local()
    at = np.array([n for n in range(1, len(local)) if local[n].hour == 0 and local[n - 1].hour == 23], int)
    early = np.array([local[n].day <= 13 for n in at], bool)
    return np.abs(load[at] - load[at - 1]), early


def swapped(record: Hours) -> bool:
    """Whether load jumps at midnight as if day and month were exchanged up to the twelfth; see the module."""
    if "load" not in record.series:
        return False
    jumps, early = midnight_jumps(record)
    again = midnight_jumps(exchange_day_and_month(record))[0]
    known = np.isfinite(jumps) & np.isfinite(again)
    if min((known & early).sum(), (known & ~early).sum()) < 60:  # a few weeks do not tell
        return False
    found, back, others = jumps[known & early].mean(), again[known & early].mean(), jumps[known & ~early].mean()
    return bool(found > JUMP_RATIO * max(back, others))


def weekly_naive_error(record: Hours, name: str = "load") -> float:
    """Mean |y(t) − y(t − 168 h)|, in the unit of y: the error of the same hour a week before."""
    values = record.column(name)
    return float(np.nanmean(np.abs(values[168:] - values[:-168])))


def _refused(table: Table | None, row: int, cell: str, allowed: str) -> InvalidInput:
    return table.refused(row, allowed) if table else InvalidInput(f"data, row {row + 1}", cell, allowed)


def _times(table: Table | None, cells: list[str], naive: bool) -> np.ndarray:
    """Hours since 1970 (UTC)."""
    found = []
    for n, cell in enumerate(cells):
        try:
            one = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise _refused(table, n, cell, "a time like 2015-01-01T00:00+01:00 first") from None
        if one.tzinfo is None:
            if not naive:
                raise _refused(table, n, cell, "a time with its offset, like 2015-01-01T00:00Z, or a column called utc")
            one = one.replace(tzinfo=UTC)
        seconds = one.timestamp()
        if seconds % _HOUR:
            raise _refused(table, n, cell, "times on the full hour")
        found.append(int(seconds) // _HOUR)
    return np.array(found, np.int64)


def _values(table: Table | None, cells: list[list[str]], column: int) -> np.ndarray:
    """A column, NaN where a cell is empty."""
    found = np.full(len(cells), np.nan)
    for n, row in enumerate(cells):
        if (cell := row[column].strip()) and cell.lower() != "nan":
            value = number(cell)
            if value is None:
                raise _refused(table, n, cell, f"a number, or nothing, where {cell[:40]!r} stands")
            found[n] = value
    return found


def _consecutive(table: Table | None, start: np.ndarray, values: dict[str, np.ndarray], zone: str) -> Hours:
    """Rows put in order on consecutive hours; hours that come twice and negative power are refused."""
    order = np.argsort(start, kind="stable")
    twice = np.flatnonzero(np.diff(start[order]) == 0)
    if len(twice):
        row = int(order[twice[0] + 1])
        raise _refused(table, row, str(start[row]), "every hour once: this one comes twice (in autumn, give offsets)")
    for name, column in values.items():
        if name.startswith(POWER) and (bad := np.flatnonzero(column < 0)).size:
            raise _refused(table, int(bad[0]), str(column[bad[0]]), f"{name} in MW, not negative")
    hours = np.arange(int(start[order[0]]), int(start[order[-1]]) + 1)
    if len(hours) > 20 * len(start) + 1000:
        raise InvalidInput("data", f"{len(start)} rows over {len(hours)} hours", "hourly rows, most of them present")
    series, notes = {}, []
    if absent := len(hours) - len(start):
        notes.append(f"{absent} hours are absent")
    for name, column in values.items():
        series[name] = np.full(len(hours), np.nan)
        series[name][start - hours[0]] = column
        if empty := int(np.isnan(column).sum()):
            notes.append(f"{name}: {empty} hours have no value")
    return Hours(hours, zone, series, tuple(notes))


def _check_units(record: Hours) -> None:
    """Refuse load in kW or GW, and a forecast in another unit than its target."""
    for name, values in record.series.items():
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
        if name == "load" and not np.isnan(middle) and not LEAST_LOAD <= middle <= MOST_LOAD:
            unit = "GW" if middle < LEAST_LOAD else "kW"
            raise InvalidInput(name, f"median {middle:.4g}", f"MW; this looks like {unit}")
        target = record.series.get(name.removesuffix("_tso_da"))
        if target is not None and target is not values:
            ratio = middle / float(np.nanmedian(target)) if np.nanmedian(target) else 1.0
            if np.isfinite(ratio) and not 0.05 < ratio < 20.0:
                raise InvalidInput(name, f"{ratio:.3g} times its target", "a forecast in the unit of its target")


def synthetic_hours(zone: str, seed: int, days: int = 1100) -> Hours:
    """A drawn record from 2021 on: load with seasons, weekdays, hours and weather, and an operator's forecast of it.

    Weather is an autoregression from hour to hour; the operator errs by such a process too, of t innovations (ν = 4).
    Sun and wind come with it, and a day-ahead price that is affine in what they leave to others, but for noise.
    """
    random = np.random.default_rng(seed)
    count = 24 * days
    start = int(datetime(2020, 12, 31, 23, tzinfo=UTC).timestamp()) // _HOUR + np.arange(count)
    hour, day = start % 24, start // 24
    shape = 3_000.0 * np.sin(2 * np.pi * (hour - 9) / 24) + 1_200.0 * np.sin(4 * np.pi * (hour - 7) / 24)
    season = 2_500.0 * np.cos(2 * np.pi * (day % 365.25) / 365.25) + 1_000.0 * np.cos(4 * np.pi * day / 365.25)
    weekend = -3_000.0 * ((day + 3) % 7 >= 5)
    weather = lfilter([1.0], [1.0, -0.99], 120.0 * random.normal(size=count))
    wrong = lfilter([1.0], [1.0, -0.9], 100.0 * random.standard_t(4.0, size=count) * (1.0 + 0.5 * (hour > 12)))
    load = 28_000.0 + shape + season + weekend + weather
    long = 1.0 + 0.35 * np.sin(2 * np.pi * (day % 365.25 - 81) / 365.25)
    sky = expit(1.0 + np.asarray(lfilter([1.0], [1.0, -0.97], 0.35 * random.normal(size=count))))
    solar = 9_000.0 * long * sky * np.clip(np.sin(np.pi * (hour - 12 + 6 * long) / (12 * long)), 0.0, None)
    wind = 12_000.0 * expit(np.asarray(lfilter([1.0], [1.0, -0.98], 0.25 * random.normal(size=count))) - 1.0)
    noise = lfilter([1.0], [1.0, -0.9], 2.0 * random.normal(size=count))
    price = -30.0 + 110.0 * (load - solar - wind) / load.mean() + noise
    series = {"load": load, "load_tso_da": load + wrong, "solar": solar, "wind": wind, "price": price}
    return Hours(start, zone, series, ())
