"""Hourly files: clocks, gaps, slips in words, and the exchange of day and month."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from diffgames.energy.hours import (
    Hours,
    exchange_day_and_month,
    midnight_jumps,
    read_hours,
    swapped,
    weekly_naive_error,
)
from diffgames.errors import InvalidInput

FIRST = datetime(2015, 1, 1, tzinfo=UTC)


def written(tmp_path, rows, header="utc,load,price"):
    path = tmp_path / "hours.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def plain_rows(count=48, load=20_000.0):
    return [f"{(FIRST + timedelta(hours=n)).isoformat()},{load + n},{-5 + n}" for n in range(count)]


def test_rows_in_any_order_come_on_consecutive_hours_with_gaps_counted(tmp_path):
    rows = plain_rows()
    kept = [row for n, row in enumerate(rows) if n != 7]
    kept[3] = kept[3].rsplit(",", 2)[0] + ",,1.0"
    record = read_hours(written(tmp_path, kept[::-1]), "ES")
    assert len(record.start) == 48 and set(np.diff(record.start)) == {1}
    assert np.flatnonzero(np.isnan(record.series["load"])).tolist() == [3, 7]
    assert record.series["price"][0] == -5.0 and record.notes[0] == "1 hours are absent"


def test_days_of_the_clock_have_23_and_25_hours(tmp_path):
    rows = [f"{(FIRST + timedelta(hours=n)).isoformat()},20000" for n in range(365 * 24)]
    local = read_hours(written(tmp_path, rows, "time,load"), "ES").local()
    days = [one.date().isoformat() for one in local]
    assert days.count("2015-03-29") == 23 and days.count("2015-10-25") == 25 and days.count("2015-06-01") == 24


def test_offsets_and_names_of_columns_are_followed(tmp_path):
    rows = ["2015-10-25T02:00+02:00,21000", "2015-10-25T02:00+01:00,20000"]
    record = read_hours(written(tmp_path, rows, "when,Actual"), "Europe/Madrid", columns={"load": "Actual"})
    assert record.series["load"].tolist() == [21000.0, 20000.0]


def test_a_data_frame_is_read_like_a_file(tmp_path):
    pandas = pytest.importorskip("pandas")
    index = pandas.date_range(FIRST, periods=3, freq="h")
    frame = pandas.DataFrame({"load": [20_000.0, np.nan, 21_000.0]}, index=index)
    np.testing.assert_array_equal(read_hours(frame, "ES").series["load"], frame["load"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2015-01-01T05:00Z,20000,1", "comes twice"),
        ("2015-03-01T05:00Z,-3,1", "not negative"),
        ("2015-03-01T05:30Z,3,1", "full hour"),
        ("March,3,1", "a time like"),
        ("2015-03-01T05:00Z,many,1", "a number, or nothing"),
    ],
)
def test_a_slip_is_told_with_its_line(row, said, tmp_path):
    with pytest.raises(InvalidInput, match=said) as told:
        read_hours(written(tmp_path, [*plain_rows(), row]), "ES")
    assert "line 50" in str(told.value)


def test_units_zones_and_names_are_told(tmp_path):
    for load, unit in ((25.0, "GW"), (2.5e7, "kW")):
        with pytest.raises(InvalidInput, match=unit):
            read_hours(written(tmp_path, plain_rows(load=load)), "ES")
    rows = [f"{row},{20 + n}" for n, row in enumerate(plain_rows())]
    with pytest.raises(InvalidInput, match="unit of its target"):
        read_hours(written(tmp_path, rows, "utc,load,price,load_tso_da"), "ES")
    path = written(tmp_path, plain_rows())
    for options, key in (({"zone": "Atlantis"}, "zone"), ({"zone": "ES", "columns": {"load": "laod"}}, "columns")):
        with pytest.raises(InvalidInput) as told:
            read_hours(path, **options)
        assert told.value.key == key
    with pytest.raises(InvalidInput, match="offset"):
        read_hours(written(tmp_path, ["2015-01-01T00:00,20000"], "time,load"), "ES")


def seasonal(years=2):
    """Load that changes slowly over the year, in Madrid's hours."""
    start = int(FIRST.timestamp()) // 3600 - 1 + np.arange(years * 8760)
    load = 25_000.0 + 6_000.0 * np.cos(2 * np.pi * start / 8766.0) + 3_000.0 * np.sin(2 * np.pi * start / 24.0)
    return Hours(start, "Europe/Madrid", {"load": load})


def test_exchanged_days_are_noticed_and_exchanged_back(tmp_path):
    true = seasonal()
    wrong = exchange_day_and_month(true)
    assert not swapped(true) and swapped(wrong)
    np.testing.assert_array_equal(exchange_day_and_month(wrong).series["load"], true.series["load"])
    times = [datetime.fromtimestamp(hour * 3600, UTC).isoformat() for hour in wrong.start.tolist()]
    path = written(
        tmp_path, [f"{t},{v!r}" for t, v in zip(times, wrong.series["load"].tolist(), strict=True)], "utc,load"
    )
    with pytest.raises(InvalidInput, match="repair=true"):
        read_hours(path, "ES")
    np.testing.assert_array_equal(read_hours(path, "ES", repair=True).series["load"], true.series["load"])


def test_the_spanish_file_is_whole_and_its_public_original_noticed(shared_data):
    true = read_hours(shared_data / "energy" / "es_2015_2018_hourly_datefixed.csv.gz", "ES")
    assert len(true.start) == 35_064 and "load: 36 hours have no value" in true.notes
    wrong = exchange_day_and_month(true)
    assert swapped(wrong) and not swapped(true)
    assert weekly_naive_error(true) == pytest.approx(1337, abs=1) and weekly_naive_error(wrong) > 2500
    assert np.nanmean(midnight_jumps(wrong)[0]) > np.nanmean(midnight_jumps(true)[0])
