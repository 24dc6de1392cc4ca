"""Tables of numbers from text files: the one way in for everything that is read from a user's file.

A file is plain or gzip-compressed text: UTF-8 with or without a byte-order mark, or UTF-16 with one. Cells are
separated by tabs, semicolons or commas, whichever the first line has. A first row without a number is a header.

A number is decimal and finite; nothing else is taken for one, so `NaN`, `$100`, `3,000` and an empty cell are refused.
Lines are numbered as an editor numbers them, blank ones too. Only regular files are read (a link to one is followed),
and sizes are bounded before memory is asked for.

A table whose columns have names is read by `read_columns`, from a file or a pandas data frame alike.
"""

import codecs
import csv
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffgames.errors import InvalidInput, suggestion

TEXT_LIMIT = 2**29  # bytes of text, uncompressed
LINE_LIMIT = 2**20  # characters in a line
ROW_LIMIT = 10**7
BLANK = "a blank line"
_CHUNK = 2**20
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PLAIN = b"0123456789+-.eE,;\t\n "
_UNIT = "\x1f"  # between the cells of a data frame's row


def number(cell: str) -> float | None:
    """The number that a cell holds; None where it holds none that is decimal and finite."""
    if not _NUMBER.fullmatch(text := cell.strip()):
        return None
    value = float(text)
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class Table:
    """The lines of a file below its header, `line` numbers them; `names` is the header, None where there is none."""

    source: str
    separator: str
    names: tuple[str, ...] | None
    line: np.ndarray
    text: tuple[str, ...]
    columns: int

    def __len__(self) -> int:
        return len(self.text)

    def cells(self) -> list[list[str]]:
        """The cells of every row, quotes taken off; raises `InvalidInput` for a row of another length."""
        rows = [_split(text, self.separator) for text in self.text]
        for n, row in enumerate(rows):
            if len(row) != self.columns:
                raise self.refused(n, f"{self.columns} columns; found {len(row) if self.text[n].strip() else BLANK}")
        return rows

    def numbers(self) -> np.ndarray:
        """All cells as float64, [rows, columns]; raises `InvalidInput` naming the first that holds no number."""
        joined = "\n".join(self.text)
        if joined.isascii() and not joined.encode().translate(None, _PLAIN):
            try:
                table = np.loadtxt(list(self.text), delimiter=self.separator, comments=None, ndmin=2)
                if table.shape == (len(self), self.columns) and np.isfinite(table).all():
                    return table
            except ValueError:
                pass
        return np.array([[self.value(n, cell) for cell in row] for n, row in enumerate(self.cells())], float)

    def value(self, row: int, cell: str) -> float:
        """The number in a cell of a row, or `InvalidInput` with its line."""
        if (found := number(cell)) is None:
            raise self.refused(row, f"a number where {cell[:40]!r} stands")
        return found

    def whole(self, values: np.ndarray, what: str = "an integer") -> np.ndarray:
        """A column (or several) as int64: whole numbers below 2⁵³ in size, which float64 holds exactly."""
        bad = ((values != np.floor(values)) | (np.abs(values) >= 2.0**53)).reshape(len(self), -1)
        if bad.any():
            row = int(np.argmax(bad.any(axis=1)))
            found = values.reshape(len(self), -1)[row, np.argmax(bad[row])]
            raise self.refused(row, f"{what} where '{found:.17g}' stands, below 2**53 in size")
        return values.astype(np.int64)

    def check(self, checks: Sequence[tuple[np.ndarray | np.bool, str]]) -> None:
        """Raise for the first row on which a check does not hold, saying what is allowed."""
        failed = [(int(np.argmin(holds)), allowed) for holds, allowed in checks if not np.all(holds)]
        if failed:
            raise self.refused(*min(failed, key=lambda found: found[0]))

    def refused(self, row: int, allowed: str) -> InvalidInput:
        """The refusal of a row."""
        return InvalidInput(f"{self.source}, line {self.line[row]}", self.text[row][:200], allowed)


def read_table(key: str, path: str | Path, *, blank: bool = False) -> Table:
    """The table in a file; `blank` says whether blank lines are passed over (they count) or refused.

    Raises `InvalidInput` for what is no regular file, no text, too large, or has no row.
    """
    lines = _text(key, Path(path)).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n\t ;,").split("\n")
    number_of = [n for n, line in enumerate(lines, start=1) if line.strip() or not blank]
    kept = [lines[n - 1] for n in number_of]
    if max(map(len, kept), default=0) > LINE_LIMIT:
        raise InvalidInput(key, str(path), f"lines of at most {LINE_LIMIT} characters")
    if not kept or not any(line.strip() for line in kept):
        raise InvalidInput(key, str(path), "a file with at least one row")
    separator = next((one for one in "\t;" if one in kept[0]), ",")
    first = _split(kept[0], separator)
    names = None
    if any(cell.strip() for cell in first) and not any(_numeric(cell) for cell in first):
        names = tuple(cell.strip() for cell in first)
        number_of, kept = number_of[1:], kept[1:]
        if not kept:
            raise InvalidInput(key, str(path), "a file with at least one row below its header")
    return Table(str(path), separator, names, np.asarray(number_of), tuple(kept), len(first))


@dataclass(frozen=True)
class Columns:
    """Columns of a table by our names, as text; `optional` ones that are not there are absent."""

    table: Table
    cells: Mapping[str, tuple[str, ...]]

    def __contains__(self, name: str) -> bool:
        return name in self.cells

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64; raises `InvalidInput` naming the first cell that holds no number."""
        column = self.cells[name]
        joined = "\n".join(column)
        if joined.isascii() and not joined.encode().translate(None, _PLAIN.translate(None, b",;\t ")):
            try:
                values = np.array(column, float)
                if np.isfinite(values).all():
                    return values
            except ValueError:
                pass
        return np.array([self.table.value(row, cell) for row, cell in enumerate(column)], float)


def read_columns(
    key: str, source: Any, names: Sequence[str], optional: Sequence[str] = (), columns: Mapping[str, Any] | None = None
) -> Columns:
    """The columns called `names`, and those of `optional` that are there, of a file or a pandas data frame.

    `columns` maps our names to those of the header, or to positions counted from 0. Without a header, and without
    `columns`, they stand in the order of `names` and `optional`. A number in a data frame is read as its shortest
    decimal, NaN and None as empty cells. Raises `InvalidInput` for what is missing, there twice, or unknown.
    """
    table = table_of(key, source)
    known, given = (*names, *optional), {} if columns is None else dict(columns)
    for name in given:
        if name not in known:
            raise InvalidInput("columns", name, suggestion(str(name), known))
    header = table.names
    places = {}
    for order, name in enumerate(known):
        theirs = str(given.get(name, name))
        if header is not None and header.count(theirs) > 1:
            raise InvalidInput("columns", theirs, f"a column that {table.source} has once")
        if header is not None and theirs in header:
            places[name] = header.index(theirs)
        elif name in given and theirs.isascii() and theirs.isdecimal() and len(theirs) < 8:
            if (place := int(theirs)) >= table.columns:
                raise InvalidInput("columns", {name: place}, f"a position from 0 to {table.columns - 1}")
            places[name] = place
        elif name not in given and header is None and not given and order < table.columns:
            places[name] = order
        elif name in given or name in names:
            listed = f"positions from 0 to {table.columns - 1}" if header is None else suggestion(theirs, header)
            raise InvalidInput("columns", {name: theirs}, f"a column of {table.source}: {listed}")
    rows = table.cells()
    return Columns(table, {name: tuple(row[place] for row in rows) for name, place in places.items()})


def table_of(key: str, source: Any) -> Table:
    """The table of a file or of a pandas data frame, as the text that a file of it would hold, rows counted from 1."""
    if isinstance(source, Table):
        return source
    if isinstance(source, str | os.PathLike):
        return read_table(key, Path(source))
    frame = source
    if not hasattr(frame, "columns") or not hasattr(frame, "itertuples"):
        raise InvalidInput(key, type(frame).__name__, "the path of a file, or a pandas data frame")
    if len(frame) == 0 or len(frame) > ROW_LIMIT:
        raise InvalidInput(key, f"{len(frame)} rows", f"a data frame with 1 to {ROW_LIMIT} rows")
    written = [["" if x is None or x != x else str(x) for x in row] for row in frame.itertuples(index=False)]
    text = tuple(_UNIT.join(row) for row in written)
    names = tuple(map(str, frame.columns))
    return Table("data frame", _UNIT, names, np.arange(1, len(text) + 1), text, len(names))


def _numeric(cell: str) -> bool:
    """Whether a cell of the first row is data: a number, finite or not, or a date, which begins with a digit."""
    try:
        float(cell)
        return True
    except ValueError:
        return bool(re.match(r"\s*[-+$€£]?\d", cell, re.ASCII))


def _split(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except (csv.Error, StopIteration):
        return line.split(separator)


def _text(key: str, path: Path) -> str:
    """The text of a regular file within the limits."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe must not be waited for
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidInput(key, str(path), "a regular file, no pipe, device or folder")
            raw = _bounded(key, path, file)
            if raw[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                    raw = _bounded(key, path, packed)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}, it is damaged or no text"
        raise InvalidInput(key, str(path), f"a readable CSV or gzip-compressed CSV file ({reason})") from error
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and max(raw.count(b"\n"), raw.count(b"\r")) > ROW_LIMIT:
        raise InvalidInput(key, str(path), f"at most {ROW_LIMIT} lines")
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        allowed = f"a readable CSV or gzip-compressed CSV file in UTF-8: line {line} is damaged or no text"
        raise InvalidInput(key, str(path), allowed) from error
    if "\0" in text:
        raise InvalidInput(key, str(path), "a readable CSV or gzip-compressed CSV file: it has zero bytes, no text")
    return text


def _bounded(key: str, path: Path, file: io.BufferedIOBase | gzip.GzipFile) -> bytes:
    """All bytes of a file, read in pieces until there are too many."""
    pieces, length = [], 0
    while piece := file.read(_CHUNK):
        length += len(piece)
        if length > TEXT_LIMIT:
            raise InvalidInput(key, str(path), f"at most {TEXT_LIMIT // 2**20} MiB of text, uncompressed")
        pieces.append(piece)
    return b"".join(pieces)
