"""The market-maker-real study on its synthetic record."""

from dataclasses import replace

import numpy as np
import pytest

from diffgames.calibration.market_maker import fit_market, synthetic_record
from diffgames.cli import main
from diffgames.execution import run_study
from diffgames.markets.synthetic_tables import synthetic_quotes
from diffgames.studies.market_maker_back_test import back_test, disagreements, dwell_warnings


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    settings = {"steps": 30, "inventory_max": 4, "T": 60.0, "interval": 1.0}
    return run_study("market-maker-real", settings=settings, out=str(tmp_path_factory.mktemp("run") / "out"))


def test_it_estimates_the_synthetic_market_and_quotes_on_it(finished):
    headline = finished.headline
    np.testing.assert_allclose(headline["sigma"], [0.02, 0.06], rtol=0.1)
    np.testing.assert_allclose(headline["k"], [40.0, 25.0], rtol=0.1)
    for name, truth in (("sigma", [0.02, 0.06]), ("A", [1.0, 1.5]), ("k", [40.0, 25.0])):
        low, high = np.transpose(headline[f"{name}_interval"])
        assert np.all((low < truth) & (truth < high))
    assert np.shape(headline["ask"]) == (2, 9) and headline["ask"][0][0] is None
    assert 0 < headline["spread"][0] < headline["spread"][1]


def test_its_certificate_is_reproduced(finished):
    assert main(["verify", str(finished.folder)]) == 0


def test_half_a_pair_of_files_is_named(tmp_path, capsys):
    assert main(["run", "market-maker-real", "--out", str(tmp_path / "no"), "--set", "messages=day.csv"]) == 2
    assert "orderbook:" in capsys.readouterr().err
    words = ["messages=day.csv", "orderbook=book.csv"]
    assert main(["run", "market-maker-real", "--out", str(tmp_path / "no"), "--set", *words]) == 2
    assert "day.csv" in capsys.readouterr().err


def test_a_synthetic_record_has_no_impact_and_a_back_test_says_so(finished):
    headline = finished.headline
    low, high = np.transpose(headline["impact_interval"])
    assert np.all((low < 0.5) & (high > -0.5)) and headline.get("market_spread") is None
    assert abs(headline["realised_edge"] - headline["promised_edge"]) < 4 * headline["realised_edge_error"]
    alone = headline["model_by_regime"]
    assert sum(alone["fills"]) == headline["held_out_fills"]
    mean = np.average(alone["realised"], weights=alone["fills"])
    assert mean == pytest.approx(headline["realised_edge"]) and min(alone["markout_error"]) > 0
    assert set(headline["edge_by_quoter"]) == {"model", "no adverse selection", "fixed spread"}


def test_a_broken_promise_and_a_short_regime_are_said():
    """Fills that lose a planted 3 ticks to the mid: quotes that do not know it promise that much too much."""
    record = synthetic_record(seconds=7200.0, impact=0.03, sigma=(0.02,), A=(1.0,), k=(40.0,), generator=((0.0,),))
    tables = np.full((1, 9), 0.02)
    tables[:, 0], fit = np.nan, fit_market(record, 1)
    settings = {"regimes": 1, "cutoff": 0.25, "share": 0.5, "tick": 0.01, "grid": 0.0}
    for adverse in (True, False):
        test, notes = back_test(record, lambda _, __: (tables, tables[:, ::-1]), adverse=adverse, **settings)
        assert test is not None and notes == []
        model = test.table().sel(quoter="model", regime="all")
        error = float(model.realised_error)
        assert abs(float(model.realised) + 1.0) < 4 * error
        assert abs(float(model.promised) - (-1.0 if adverse else 2.0)) < 0.5
        said = " ".join(disagreements(test.table()))
        assert "lose money" in said and ("record disagrees" in said) == (not adverse)
    fast = replace(fit, generator=np.array([[-0.9, 0.9], [0.01, -0.01]]))
    assert [note[:8] for note in dwell_warnings(fast, 1.0)] == ["regime 0"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A run on quotes and trades of the generator, with a grid, a lot, a rebate and pips."""
    folder = tmp_path_factory.mktemp("tables")
    quotes, trades = synthetic_quotes(seconds=2400.0, tick=0.001)
    quotes.frame().rename(columns={"time": "ts"}).to_csv(folder / "quotes.csv", index=False, sep=";")
    trades.frame().drop(columns="side").to_csv(folder / "trades.csv.gz", index=False, header=False)
    settings = {"quotes": str(folder / "quotes.csv"), "trades": str(folder / "trades.csv.gz"), "time_unit": "ns"}
    settings |= {"quote_columns": {"time": "ts"}, "trade_columns": {"time": "0", "price": "1", "size": "2"}}
    settings |= {"regimes": 1, "interval": 1.0, "steps": 20, "inventory_max": 3, "T": 30.0, "pip": 0.01}
    terms = {"quote_grid": 10.0, "lot": 2.0, "fee": -0.0005}
    return [run_study("market-maker-real", settings=settings | more, out=folder / name, quiet=True)
            for name, more in (("plain", {}), ("terms", terms))]  # fmt: skip


def test_quotes_and_trades_are_taken(tables):
    headline = tables[0].headline
    assert headline["market_spread"] == pytest.approx(20.0) and headline["sigma"][0] == pytest.approx(0.03, rel=0.1)
    assert headline["k"][0] == pytest.approx(40.0, rel=0.1) and headline["A"][0] == pytest.approx(1.0, rel=0.15)
    for name in ("A", "k"):
        reach, queue = (headline[f"{name}_by_fills"][rule][0] for rule in ("reach", "queue"))
        assert reach[0] == pytest.approx(headline[name][0]) and queue[1] < queue[0] < queue[2]
    assert any("give no side" in warning for warning in tables[0].finished()["warnings"])
    units = headline["in_units"]
    assert units["market spread, pips"] == pytest.approx(2.0) and units["market spread, currency"] == pytest.approx(
        0.02
    )
    assert units["market spread, basis points"] == pytest.approx(2.0, rel=0.05)


def test_terms_of_trade_are_told(tables):
    """The rebate is worth what a smaller impact is: quotes are narrower by it; rounding costs; a lot is two units."""
    plain, terms = (run.headline for run in tables)
    assert terms["A"][0] == pytest.approx(1.25 * plain["A"][0], rel=0.1)  # sizes of 1 to 4, in lots of 2
    assert plain.get("rounding_cost") is None and terms["rounding_cost"][0] > 0
    assert "model, any price" in terms["edge_by_quoter"]
    assert terms["in_units"]["market spread, currency"] == pytest.approx(0.04)
    assert main(["verify", str(tables[1].folder)]) == 0


def test_both_tables_or_neither(capsys, tmp_path):
    for words, said in (
        (["quotes=q.csv"], "trades: None"),
        (["quotes=q", "trades=t", "messages=m", "orderbook=b"], "quotes"),
    ):
        assert main(["run", "market-maker-real", "--out", str(tmp_path / "no"), "--set", *words]) == 2
        assert said in capsys.readouterr().err
