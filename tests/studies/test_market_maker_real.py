"""The market-maker-real study on its synthetic record."""

from dataclasses import replace

import numpy as np
import pytest

from diffgames.calibration.market_maker import fit_market, synthetic_record
from diffgames.cli import main
from diffgames.execution import run_study
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
