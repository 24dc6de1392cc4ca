"""The market-maker-real study on its synthetic record."""

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.execution import run_study


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
