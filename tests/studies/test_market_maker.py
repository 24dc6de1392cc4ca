"""The market-maker study from the command line's side: headline, nulls, warnings, errors, the stored profile."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.execution import run_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_study("market-maker", settings={"steps": 50}, out=str(tmp_path_factory.mktemp("run") / "mm"))


def test_headline_is_the_reference(finished):
    headline = finished.headline
    assert np.shape(headline["theta0"]) == (3, 21)
    assert headline["ask"][0][10] == pytest.approx(0.66971445, abs=1e-8)
    assert headline["ask"][0][0] is None and headline["bid"][2][20] is None and headline["ask"][0][20] is not None
    assert headline["spectral_gap"][10] == pytest.approx(1.51579750, abs=1e-7)
    assert headline["premium"][0] == pytest.approx(2 * (0.66971445 - 0.6658479565), abs=2e-8)
    assert headline["premium_exogenous"][0] == pytest.approx(2 * (0.6658479565 - 0.6616190221), abs=1e-8)


def test_its_certificate_is_reproduced(finished, capsys):
    assert main(["verify", str(finished.folder)]) == 0
    assert "reproduced bit for bit" in capsys.readouterr().out


def test_one_regime_needs_no_generator(tmp_path):
    settings = {"switching": "none", "sigma": 0.3, "A": 0.9, "k": 0.3, "gamma": 0.01, "T": 600, "xi": 0}
    run = run_study("market-maker", settings=settings | {"steps": 2, "inventory_max": 5}, out=str(tmp_path / "run"))
    assert np.shape(run.headline["theta0"]) == (1, 11) and "premium" not in run.headline
    assert run.headline["spectral_gap"] == [0.0] * 11


def test_slips_are_told_in_one_line(tmp_path, capsys):
    for words, key in (
        (["stabilize_max=3"], "stabilize"),
        (["generator=[[0,1],[1,0]]"], "A"),
        (["generator=[[0,0.4,0.1],[0.6,0,0.3],[0.2,0.8,0]]"], "generator"),
        (["inventory_max=0"], "inventory_max"),
        (["predator=cash"], "predator"),
    ):
        assert main(["run", "market-maker", "--out", str(tmp_path / "no"), "--set", *words]) == 2
        error = capsys.readouterr().err.strip()
        assert error.count("\n") == 0 and f"{key}:" in error and len(error) < 600


def test_implausible_units_draw_a_warning(tmp_path):
    settings = {"switching": "none", "sigma": 2000.0, "A": 100, "xi": 0, "steps": 2, "inventory_max": 1}
    run = run_study("market-maker", settings=settings, out=str(tmp_path / "run"))
    told = json.loads((run.folder / "result.json").read_text())["warnings"]
    assert any("sigma·√T" in text and "1/k" in text for text in told)
