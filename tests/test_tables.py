"""The one way in for tables: encodings, separators, limits, and files that are none."""

import gzip
import os

import numpy as np
import pytest

from diffgames import tables
from diffgames.errors import InvalidInput
from diffgames.tables import number, read_table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end_gives_the_same_numbers(tmp_path, encoding, packed, end):
    raw = end.join(["1,2.5", "-3e2,4", ""]).encode(encoding)
    (tmp_path / "t").write_bytes(gzip.compress(raw) if packed else raw)
    np.testing.assert_array_equal(read_table("data", tmp_path / "t").numbers(), [[1, 2.5], [-300, 4]])


def test_a_number_is_decimal_and_finite():
    assert [number(cell) for cell in ("1", " -2.5 ", "+1e3", ".5", "5.")] == [1, -2.5, 1000, 0.5, 5]
    for cell in ("", "nan", "inf", "1e999", "1_000", "0x1p3", "$1", "1,5", "١", "1 2"):
        assert number(cell) is None


def test_integers_that_float64_does_not_hold_are_refused(tmp_path):
    for cell in ("1e300", "9007199254740993", "99999999999999999999", "1.5"):
        (tmp_path / "t").write_text(f"1\n{cell}\n")
        table = read_table("data", tmp_path / "t")
        with pytest.raises(InvalidInput, match="line 2"):
            table.whole(table.numbers())


def test_what_is_no_file_or_no_text_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    packed = gzip.compress(b"1,2\n" * 1000)
    (tmp_path / "flipped").write_bytes(packed[:20] + bytes([packed[20] ^ 64]) + packed[21:])
    (tmp_path / "latin").write_bytes("Kurs,é\n1,2\n".encode("latin-1"))
    (tmp_path / "zero").write_bytes(b"1,2\n\x00,3\n")
    (tmp_path / "lonely").symlink_to(tmp_path / "absent")
    for name in ("pipe", "flipped", "latin", "zero", "lonely", "absent", "."):
        with pytest.raises(InvalidInput, match=r"^data: "):
            read_table("data", tmp_path / name)
    (tmp_path / "bomb").write_bytes(gzip.compress(b"1\n" * 10**6))
    monkeypatch.setattr(tables, "TEXT_LIMIT", 10**6)
    with pytest.raises(InvalidInput, match="MiB of text"):
        read_table("data", tmp_path / "bomb")
    monkeypatch.setattr(tables, "TEXT_LIMIT", 10**8)
    monkeypatch.setattr(tables, "ROW_LIMIT", 10**5)
    with pytest.raises(InvalidInput, match="at most 100000 lines"):
        read_table("data", tmp_path / "bomb")
