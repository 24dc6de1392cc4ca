"""Reading level-2 files: layouts, crossed rows and their aftermath, times from the message file, malformed lines."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.ecn_samples import transitions
from diffgames.markets.level2 import read_level2
from diffgames.markets.synthetic import synthetic_level2

SNAPSHOT = "10100,5,10000,7,10200,6,9900,8"  # ask, size, bid, size of two levels; tick 100


def written(path: Path, lines: list[str], *, packed: bool = False) -> Path:
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def timed(count: int) -> list[str]:
    return [f"{second},{SNAPSHOT}" for second in range(count)]


@pytest.mark.parametrize("packed", [False, True])
def test_snapshots_in_time_are_read_plain_or_compressed(tmp_path, packed):
    data = read_level2(written(tmp_path / "book.csv", timed(3), packed=packed))
    assert (len(data), data.levels, data.tick, data.dropped) == (3, 2, 100, {})
    np.testing.assert_array_equal(data.spread, 1)
    np.testing.assert_array_equal(data.seconds, [0, 1, 2])
    np.testing.assert_array_equal(data.bid_size, [[7, 8]] * 3)


def test_a_crossed_row_takes_the_seconds_after_it_along(tmp_path):
    lines = timed(12)
    lines[0] = "0,9900,5,10000,7,10200,6,9900,8"
    data = read_level2(written(tmp_path / "book.csv", lines))
    np.testing.assert_array_equal(data.row, np.arange(5, 12))
    assert data.dropped == {"crossed or locked": 1, "within 4 s after a crossed row": 4}


def test_no_transition_spans_rows_left_out(tmp_path):
    lines = timed(12)
    lines[4] = "4,9999999999,0,10000,7,9999999999,0,9900,8"  # no asks
    data = read_level2(written(tmp_path / "book.csv", lines))
    assert data.dropped == {"one side empty": 1}
    assert len(transitions(data, 2)) == 9  # pairs 0–3 and 5–11


def test_event_files_take_their_times_from_the_message_file(tmp_path):
    book = written(tmp_path / "X_orderbook_2.csv", [SNAPSHOT] * 5)
    assert read_level2(book).seconds is None
    messages = written(tmp_path / "X_message_2.csv", [f"{time},1,1,1,10000,1" for time in (0.1, 0.2, 1.4, 3.5, 3.6)])
    seconds = read_level2(book).every(1.0)
    assert seconds.seconds is not None
    np.testing.assert_array_equal(seconds.seconds, [0, 1, 2, 3])  # second 2 saw no event: the book stands
    written(messages, ["0.1,1,1,1,10000,1"])
    with pytest.raises(InvalidInput, match="one row for each of the 5 rows"):
        read_level2(book)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2,10100,5,10000", r"line 3.*9 columns; found 4"),
        ("2,10100,x,10000,7,10200,6,9900,8", r"line 3.*a number"),
        ("2,10100,-5,10000,7,10200,6,9900,8", r"line 3.*sizes ≥ 0"),
        ("0.5,10100,5,10000,7,10200,6,9900,8", r"line 3.*time that does not run back"),
        ("2,10100.5,5,10000,7,10200,6,9900,8", r"line 3.*whole prices"),
        ("2,inf,5,10000,7,10200,6,9900,8", r"line 3.*a number where 'inf' stands"),
        ("", r"line 3.*9 columns"),
    ],
)
def test_a_malformed_line_is_named_by_number_in_one_line(tmp_path, line, said):
    lines = timed(6)
    lines[2] = line
    with pytest.raises(InvalidInput, match=said) as raised:
        read_level2(written(tmp_path / "book.csv", lines))
    assert "\n" not in str(raised.value)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="readable CSV"):
        read_level2(tmp_path / "absent.csv")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"1,2,3,4\n" * 500)[:-12])
    with pytest.raises(InvalidInput, match="readable CSV"):
        read_level2(tmp_path / "cut.gz")
    (tmp_path / "nothing.csv").write_text("")
    with pytest.raises(InvalidInput, match="at least one row"):
        read_level2(tmp_path / "nothing.csv")
    with pytest.raises(InvalidInput, match="3 columns"):
        read_level2(written(tmp_path / "narrow.csv", ["1,2,3"]))
    with pytest.raises(InvalidInput, match=r"^tick"):
        read_level2(written(tmp_path / "book.csv", timed(3)), tick=70)


def test_the_synthetic_book_is_adjacent_uncrossed_and_reproducible():
    data, again = (synthetic_level2(seconds=300, seed=3) for _ in range(2))
    np.testing.assert_array_equal(data.ask_size, again.ask_size)
    assert data.adjacent(10) == 1.0 and data.spread.min() >= 1 and min(data.ask_size.min(), data.bid_size.min()) >= 1


@pytest.mark.parametrize("late", [0.0, 0.001, 0.03])
def test_no_row_of_a_fast_clock_is_lost(tmp_path, late):
    """Tenths of a second are no binary fractions, and 40% of the rows may be late: every pair is a transition."""
    delay = np.where(np.random.default_rng(0).random(400) < 0.4, late, 0.0)
    times = [f"{34_200 + tick / 10 + d:.4f}" for tick, d in zip(range(400), delay, strict=True)]
    data = read_level2(written(tmp_path / "book.csv", [f"{time},{SNAPSHOT}" for time in times])).every(0.1)
    assert len(data) == 400 and len(transitions(data, 2)) == 399


def test_a_locked_quote_now_and_then_is_left_out_alone(tmp_path):
    lines = timed(20)
    lines[5::5] = [f"{second},10000,5,10000,7,10200,6,9900,8" for second in range(5, 20, 5)]
    assert read_level2(written(tmp_path / "book.csv", lines)).dropped == {"crossed or locked": 3}


def test_one_bad_timestamp_asks_for_no_memory(tmp_path):
    rows = [f"{second / 10},{SNAPSHOT}" for second in range(50)]
    with pytest.raises(InvalidInput, match="intervals of 1 s"):
        read_level2(written(tmp_path / "book.csv", [*rows, f"1e10,{SNAPSHOT}"])).every(1.0)
