"""Reading LOBSTER files: what is well formed is read exactly, what is not is refused with its line."""

import gzip

import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.lobster import read_messages, read_orderbook, read_pair

MESSAGES = [
    "34200.004241176,1,16113575,18,5853300,1",
    "34200.025551909,1,16120456,18,5859100,-1",
    "34200.201743000,3,16120456,18,5859100,-1",
    "34200.201743000,5,0,100,5855000,1",
    "34201.000000000,7,0,0,-1,-1",
]
BOOK = [
    "5859400,200,5853300,18,9999999999,0,-9999999999,0",
    "5859100,18,5853300,18,5859400,200,-9999999999,0",
    "5859400,200,5853300,18,9999999999,0,-9999999999,0",
]


def write(path, rows):
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def test_fields_are_read_exactly_plain_or_compressed(tmp_path):
    plain = write(tmp_path / "m.csv", MESSAGES)
    packed = tmp_path / "m.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        messages = read_messages(path)
        assert messages.time.tolist()[:2] == [34200.004241176, 34200.025551909]
        assert messages.type.tolist() == [1, 1, 3, 5, 7] and messages.order_id.tolist()[1] == 16120456
        assert messages.size.tolist() == [18, 18, 18, 100, 0] and messages.direction.tolist() == [1, -1, -1, 1, -1]
        assert messages.price.tolist()[:2] == [5853300, 5859100]


def test_an_order_book_is_read_by_level(tmp_path):
    book = read_orderbook(write(tmp_path / "b.csv", BOOK))
    assert book.levels == 2 and len(book) == 3
    assert book.ask_price[1].tolist() == [5859100, 5859400] and book.bid_size[1].tolist() == [18, 0]


@pytest.mark.parametrize(
    ("line", "row", "said"),
    [
        (2, "34200.03,1,7,18,5859100", "6 columns; found 5"),
        (3, "34200.3,1,7,18,5859100,1,0", "6 columns; found 7"),
        (2, "", "a blank line"),
        (2, "34200.03,1,7,-18,5859100,1", "a size that is not negative"),
        (2, "34200.03,1,7,0,5859100,1", "a positive size"),
        (2, "34200.03,9,7,18,5859100,1", "an event type"),
        (3, "34200.01,1,7,18,5859100,1", "a time no earlier than the line before's"),
        (1, "nan,1,7,18,5859100,1", "a number where 'nan' stands"),
        (2, "34200.03,1,7,18,5859100,2", "a direction of 1 (buy) or -1 (sell)"),
        (2, "34200.03,1,7,18,-1,1", "a positive price"),
        (2, "34200.03,1,7,1.5,5859100,1", "an integer where '1.5' stands"),
        (2, "noon,1,7,18,5859100,1", "a number where 'noon' stands"),
        (4, "34200.5,1,7,99999999999999999999,5859100,1", "an integer"),
    ],
)
def test_a_malformed_message_is_refused_with_its_line(tmp_path, line, row, said):
    rows = [*MESSAGES]
    rows[line - 1] = row
    with pytest.raises(InvalidInput) as refused:
        read_messages(write(tmp_path / "m.csv", rows))
    assert f"line {line}" in str(refused.value) and said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([BOOK[0], "1,2,3"], "line 2"),
        (["1,2,3"], "a multiple of four columns"),
        ([BOOK[0], "5859100,-18,5853300,18,5859400,200,-9999999999,0"], "sizes that are not negative"),
        ([BOOK[0], "5859400,18,5853300,18,5859100,200,-9999999999,0"], "asks in rising and bids in falling order"),
    ],
)
def test_a_malformed_order_book_is_refused(tmp_path, rows, said):
    with pytest.raises(InvalidInput, match=said):
        read_orderbook(write(tmp_path / "b.csv", rows))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"messages.*absent\.csv"):
        read_messages(tmp_path / "absent.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"1,2,3\n" * 100)[:-20])
    with pytest.raises(InvalidInput, match="damaged"):
        read_messages(tmp_path / "cut.csv.gz")
    with pytest.raises(InvalidInput, match="at least one row"):
        read_messages(write(tmp_path / "empty.csv", []))


def test_files_of_different_lengths_do_not_go_together(tmp_path):
    with pytest.raises(InvalidInput, match=r"3 rows.*5 rows"):
        read_pair(write(tmp_path / "m.csv", MESSAGES), write(tmp_path / "b.csv", BOOK))


def test_the_real_day_is_read_whole(shared_data):
    folder, day = shared_data / "lobster", "AAPL_2012-06-21_34200000_37800000"
    messages, book = read_pair(folder / f"{day}_message_50.csv.gz", folder / f"{day}_orderbook_10_rebuilt.csv.gz")
    assert len(messages) == len(book) == 91_997 and book.levels == 10
    assert np.all(book.ask_price[:, 0] > book.bid_price[:, 0])
