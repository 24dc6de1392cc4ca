"""Quotes, trades and named snapshots: what is written is read again, what is malformed is refused in words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import read_level2
from diffgames.markets.quoted import quoted
from diffgames.markets.snapshots import read_snapshots
from diffgames.markets.synthetic import synthetic_level2
from diffgames.markets.synthetic_tables import snapshot_frame, synthetic_quotes
from diffgames.markets.top_of_book import Quotes, Trades, as_events, read_quotes, read_trades

QUOTES = ["time,bid,ask", *(f"{n},{100 + n % 7 / 100:.2f},{100.02 + n % 7 / 100:.2f}" for n in range(30))]
TRADES = ["time,price,size,side", "0.5,100.02,100,B", "1.5,100.01,50,sell", "2.5,100.03,7,-1"]
BOOK = ["time,bid_1,bid_size_1,ask_1,ask_size_1", *(f"{n},100.{n % 5},5,100.{n % 5 + 1},7" for n in range(30))]


def written(tmp_path, rows, raw=None):
    path = tmp_path / "table.csv"
    path.write_bytes("\n".join(rows).encode() if raw is None else raw)
    return path


whole = st.integers(1, 10**9)


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(0, 2 * 10**18),
    rows=st.lists(st.tuples(st.integers(0, 10**12), whole, whole, st.integers(0, 10**6)), min_size=1, max_size=20),
    tick=st.sampled_from([0.00001, 0.001, 0.01, 0.25, 0.5, 1.0, 5.0]),
)
def test_quotes_that_are_written_are_read_again(tmp_path_factory, start, rows, tick):
    steps, bid, ask, size = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    sizes = size.astype(float)
    quotes = Quotes(start + np.cumsum(steps), bid, ask, np.ones(len(bid)), sizes, tick=tick)
    path = tmp_path_factory.mktemp("quotes") / "quotes.csv"
    quotes.frame().to_csv(path, index=False)
    for source in (path, quotes.frame()):
        try:
            found = read_quotes(source, time_unit="ns", tick=tick)
        except InvalidInput as refused:
            assert "multiples of" in str(refused) and len(rows) >= 10  # all prices several ticks apart by chance
            return
        for name in ("time", "bid", "bid_size", "ask_size"):
            np.testing.assert_array_equal(getattr(found, name), getattr(quotes, name), err_msg=name)
        np.testing.assert_array_equal(found.ask, np.where(size > 0, ask, 0))
        assert found.tick == tick


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 10**15), st.floats(1e-6, 1e9), st.floats(1e-6, 1e9), st.sampled_from([-1, 1])),
        min_size=1,
        max_size=20,
    )
)
def test_trades_that_are_written_are_read_again(tmp_path_factory, rows):
    steps, price, size, side = (np.array(column) for column in zip(*rows, strict=True))
    trades = Trades(np.cumsum(steps), price, size, side)
    path = tmp_path_factory.mktemp("trades") / "trades.csv"
    trades.frame().to_csv(path, index=False, sep=";", encoding="utf-8-sig")
    found = read_trades(path, time_unit="ns")
    for name in ("time", "price", "size", "side"):
        np.testing.assert_array_equal(getattr(found, name), getattr(trades, name), err_msg=name)


def test_snapshots_that_are_written_are_read_again(tmp_path):
    data = synthetic_level2(seconds=50, seed=1)
    snapshot_frame(data).to_csv(tmp_path / "book.csv.gz", index=False)
    for lot in (1.0, 0.5):
        found = read_snapshots(tmp_path / "book.csv.gz", tick=0.25, lot=lot)
        assert (found.tick, found.price_unit, found.levels) == (1, 4.0, 10)
        np.testing.assert_array_equal(found.ask_price * 2500, data.ask_price)
        np.testing.assert_array_equal(found.bid_size * lot, data.bid_size)
        np.testing.assert_array_equal(found.seconds, data.seconds)
        np.testing.assert_array_equal(found.double_mid, data.double_mid)
    none = [*BOOK, "30,100.5,5,100.6,0"]
    assert read_snapshots(written(tmp_path, none)).dropped == {"one side empty": 1}


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        ([*QUOTES, "29.5,nan,100.02"], {}, r"line 32.*a number where 'nan'"),
        ([*QUOTES, "29.5,,100.02"], {}, "line 32.*a number where ''"),
        ([*QUOTES, "29.5,-1,100.02"], {}, "line 32.*positive prices"),
        ([*QUOTES, "28,100,100.02"], {}, "line 32.*no earlier than the row before's"),
        ([*QUOTES, "29.5,100,100.02,7"], {}, "line 32.*3 columns; found 4"),
        ([*QUOTES, "29.5,100.001,100.02"], {"tick": 0.01}, "line 32.*multiples of the tick, 0.01"),
        (["time,bid,offer", *QUOTES[1:]], {}, r"\{'ask': 'ask'\}.*one of time, bid, offer"),
        (["time,bid,ask,ask", *(f"{row},1" for row in QUOTES[1:])], {}, "a column that .* has once"),
        (QUOTES, {"columns": {"bids": "bid"}}, "did you mean 'bid'"),
        (QUOTES[1:], {"columns": {"time": 0, "bid": 1, "ask": 7}}, "a position from 0 to 2"),
        (QUOTES, {"price_unit": 0.0}, "price_unit.*positive"),
        (QUOTES, {"time_unit": "m"}, "time_unit.*s, ms, us, ns"),
        (["time,bid,ask", "1546383600078000128,1,2"], {}, "is time_unit right"),
        (["time,bid,ask", "yesterday,1,2"], {}, "ISO 8601 or a number where 'yesterday'"),
        (["time,bid,ask", "2024-10-27 02:30,1,2"], {"zone": "Europe/Berlin"}, "line 2.*twice or never"),
        (["time,bid,ask", "2024-03-31 02:30,1,2"], {"zone": "Europe/Berlin"}, "line 2.*twice or never"),
        (["time,bid,ask", "2024-03-31 02:30,1,2"], {"zone": "Nowhere"}, "zone.*a clock's name"),
    ],
)
def test_a_malformed_sibling_is_refused_in_words(tmp_path, rows, settings, said):
    with pytest.raises(InvalidInput, match=said) as refused:
        read_quotes(written(tmp_path, rows), **settings)
    assert "\n" not in str(refused.value)


def test_a_price_in_ticks_where_currency_was_said_is_noticed(tmp_path):
    rows = ["time,bid,ask", *(f"{n},{10_000 + n},{10_002 + n}" for n in range(30))]
    with pytest.raises(InvalidInput, match=r"tick=1 .* or price_unit=0.01 if they are in ticks"):
        read_quotes(written(tmp_path, rows), tick=0.01)
    assert read_quotes(written(tmp_path, rows), tick=0.01, price_unit=0.01).bid[0] == 10_000
    trades = read_trades(pd.DataFrame({"time": [3.5], "price": [10_002.0], "size": [1]}))
    with pytest.raises(InvalidInput, match="look at price_unit"):
        as_events(read_quotes(written(tmp_path, rows), price_unit=0.01), trades)
    with pytest.raises(InvalidInput, match="within the time"):
        as_events(read_quotes(written(tmp_path, rows), time_unit="ms"), trades)


def test_clocks_agree_whatever_they_are_written_in():
    rows = {"bid": [1.0, 1.0], "ask": [2.0, 2.0]}
    wanted = [1_717_232_400_000_000_000, 1_717_232_400_250_000_000]
    local = pd.DataFrame({"time": ["2024-06-01 10:00", "2024-06-01 10:00:00.250"], **rows})
    offset = pd.DataFrame({"time": ["2024-06-01T09:00:00Z", "2024-06-01T11:00:00.250+02:00"], **rows})
    stamps = pd.DataFrame({"time": pd.to_datetime(wanted, utc=True), **rows})
    millis = pd.DataFrame({"time": [1_717_232_400_000, 1_717_232_400_250], **rows})
    for frame, options in (
        (local, {"zone": "Europe/London"}),
        (offset, {}),
        (stamps, {"zone": "Asia/Tokyo"}),
        (millis, {"time_unit": "ms"}),
    ):
        assert read_quotes(frame, **options).time.tolist() == wanted


def test_crossed_quotes_empty_sides_and_pauses_are_cut_out_and_counted():
    """A locked quote in passing, a bid that is gone for 10 s, and a closed hour between two stretches."""
    clock = np.concatenate([np.arange(100), 3700 + np.arange(100)]) * 10**9
    bid, size = np.full(200, 100), np.ones(200)
    bid[20], size[50:60] = 102, 0.0
    quotes = Quotes(clock, bid, np.full(200, 102), size, np.ones(200), tick=0.01, source="by hand")
    assert quotes.crossed.sum() == 1
    trades = Trades(np.array([30_500_000_000]), np.array([1.03]), np.ones(1), np.zeros(1, int), source="by hand")
    events, book = as_events(quotes, trades)
    found = quoted(events, book)
    assert found.left_out["crossed or locked"] == 1 and found.left_out["with an empty side"] == 10
    assert (found.cuts[:, 1] - found.cuts[:, 0]).tolist() == pytest.approx([10.0, 3601.0])
    trade = np.flatnonzero(events.type == 4)
    assert events.direction[trade].tolist() == [-1] and events.price[trade].tolist() == pytest.approx([103.0])


def test_our_order_of_columns_is_not_taken_for_lobster_s(tmp_path):
    rows = ["time,bid,bid_size,ask,ask_size", "0,10000,5,10100,7"]
    with pytest.raises(InvalidInput, match="asks before bids"):
        read_level2(written(tmp_path, rows))
    names = {name: name for name in ("bid", "bid_size", "ask", "ask_size")}
    assert read_snapshots(written(tmp_path, rows), columns=names).ask_size.tolist() == [[7]]
    with pytest.raises(InvalidInput, match="a header that names"):
        read_snapshots(written(tmp_path, rows[1:]))
    with pytest.raises(InvalidInput, match="multiples of the lot, 2"):
        read_snapshots(written(tmp_path, rows), columns=names, lot=2.0)


def test_real_quotes_are_read_whole(shared_data):
    path = shared_data / "fx" / "eurusd_quotes_2019-01.csv.gz"
    quotes = read_quotes(path, columns={"time": "ts_ns"}, time_unit="ns")
    assert len(quotes) == 10_000 and quotes.tick == 0.00001 and not quotes.crossed.any()
    assert quotes.time[0] == 1_546_383_600_078_000_128 and quotes.bid[0] == 114_605


def test_the_generator_keeps_its_parameters():
    quotes, trades = synthetic_quotes(seconds=3600, sigma=0.02, A=2.0, k=30.0, seed=1)
    mid = 0.5 * (quotes.bid + quotes.ask) * quotes.tick
    assert np.std(np.diff(mid)) / np.sqrt(0.5) == pytest.approx(0.02, rel=0.05)
    assert len(trades) == pytest.approx(2 * 2.0 * 3600, rel=0.04)
    for wrong in ({"tick": 0.0}, {"seconds": 0.1}, {"sigma": 100.0}):
        with pytest.raises(InvalidInput):
            synthetic_quotes(**wrong)
