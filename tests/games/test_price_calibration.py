"""Price files: every asset keeps its column and its name, dates order the rows, and what is no price is refused."""

import datetime

import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.price_calibration import calibrate, condition_note, read_prices

RNG = np.random.default_rng(0)
TABLE = 100 * np.cumprod(1 + 0.01 * RNG.normal(size=(40, 2)), axis=0)
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(7 * (n // 5) + n % 5) for n in range(40)]


def write(path, rows):
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def rows_of(separator=",", header="date,AAA,BBB", form="%Y-%m-%d"):
    cells = [[day.strftime(form), *(repr(float(x)) for x in row)] for day, row in zip(DAYS, TABLE, strict=True)]
    head = [header.replace(",", separator)] if header else []
    return [*head, *(separator.join(row) for row in cells)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["date,AAA,BBB", "\ufeffdate,AAA,BBB", ",AAA,BBB", None])
def test_layouts_give_one_table(tmp_path, separator, header):
    prices = read_prices(write(tmp_path / "p.csv", rows_of(separator, header)), periods_per_year=252.0)
    np.testing.assert_array_equal(prices.table, TABLE)
    assert prices.names == (("AAA", "BBB") if header else ("asset 1", "asset 2")) and prices.notes == ()


@pytest.mark.parametrize("form", ["%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y", "%Y-%m-%dT%H:%M:%S"])
def test_rows_newest_first_are_sorted_in_every_form_of_dates(tmp_path, form):
    head, *rows = rows_of(form=form)
    prices = read_prices(write(tmp_path / "p.csv", [head, *reversed(rows)]), periods_per_year=252.0)
    np.testing.assert_array_equal(prices.table, TABLE)
    assert "sorted" in prices.notes[0]


def test_dates_are_none_of_the_assets_and_a_damaged_cell_is_none_of_the_dates(tmp_path):
    for cell in ("", "NaN", "nan", "inf", "$100", '"3,000.00"', "1_000", "0x10", "-5", "0", "1e400", "1e300", "1e-320"):
        rows = ["AAA,BBB", *(f"{a!r},{b!r}" for a, b in TABLE.tolist())]
        for line in (1, 20):
            damaged = [*rows]
            damaged[line] = f"{cell},{damaged[line].split(',')[1]}"
            with pytest.raises(InvalidInput, match=f"line {line + 1}"):
                read_prices(write(tmp_path / "p.csv", damaged))


def test_no_header_loses_no_row_and_blank_lines_count(tmp_path):
    rows = [f"{a!r},{b!r}" for a, b in TABLE.tolist()]
    assert read_prices(write(tmp_path / "p.csv", rows)).table.shape == (40, 2)
    with pytest.raises(InvalidInput, match="line 6"):
        read_prices(write(tmp_path / "p.csv", ["A,B", *rows[:2], "", "", "x,1", *rows]))


def test_repeats_and_impossible_spacings_are_refused_and_gaps_named(tmp_path):
    rows = rows_of()
    with pytest.raises(InvalidInput, match=r"line 41.*line 40 has it too"):
        read_prices(write(tmp_path / "p.csv", [*rows[:40], rows[39]]))
    path = write(tmp_path / "p.csv", rows)
    for periods in (52.0, 12.0, 1000.0):
        with pytest.raises(InvalidInput, match="periods_per_year"):
            read_prices(path, periods_per_year=periods)
    weekly = write(tmp_path / "w.csv", [rows[0], *rows[1::5]])
    with pytest.raises(InvalidInput, match="periods_per_year"):
        read_prices(weekly, periods_per_year=252.0)
    assert read_prices(weekly, periods_per_year=52.0).notes == ()
    (note,) = read_prices(write(tmp_path / "p.csv", [*rows[:10], *rows[25:]])).notes
    assert "1 gaps" in note and "2024-01-11 (line 10)" in note
    with pytest.raises(InvalidInput, match="which number is the month"):
        read_prices(write(tmp_path / "p.csv", ["date,A", "01/02/2024,1", "02/02/2024,2", "03/02/2024,3"]))


def test_riskless_assets_and_copies_are_refused_by_name():
    cash, copy = 100 * 1.0001 ** np.arange(40), TABLE[:, 0] * 3
    for column, said in ((cash, "CASH.*riskless"), (copy, "AAA, CASH.*copies")):
        with pytest.raises(InvalidInput, match=said):
            calibrate(np.column_stack([TABLE, column]), periods_per_year=252.0, rate=0.0, names=("AAA", "BBB", "CASH"))
    assert "A, B" in condition_note(np.array([[1.0, 0.99999], [0.99999, 1.0]]), ("A", "B"))[0]


def test_a_split_and_a_row_in_pence_are_told(tmp_path):
    split = TABLE.copy()
    split[20:, 1] /= 2
    split[10, 0] *= 100
    rows = ["AAA,BBB", *(f"{a!r},{b!r}" for a, b in split.tolist())]
    note = read_prices(write(tmp_path / "p.csv", rows)).notes[-1]
    assert "split" in note and "BBB" in note and "line 22" in note and "pence" in note and "AAA" in note
