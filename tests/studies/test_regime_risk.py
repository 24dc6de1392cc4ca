"""Risk and the spectral gap; the batch benchmark agrees with its peer."""

import numpy as np
import pytest

from diffgames.benchmarks.market_maker_batch import run as run_benchmark
from diffgames.cli import main
from diffgames.execution import run_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    settings = {"contrasts": [0.0, 0.5, 1.0], "inventory_max": 4, "steps": 40}
    return run_study("regime-risk", settings=settings, out=str(tmp_path_factory.mktemp("run") / "out"))


def test_equal_regimes_leave_the_graph_alone_and_unequal_ones_mix_it(finished):
    headline = finished.headline
    assert headline["gap_base"] == pytest.approx(0.9)
    assert headline["risk_difference"][0] < 1e-9 and headline["spectral_gap"][0] == pytest.approx(0.9, abs=1e-9)
    assert np.all(np.diff(headline["spectral_gap"]) > 0.1) and np.all(np.diff(headline["risk_difference"]) > 0.1)
    assert headline["rank_correlation"] == pytest.approx(1.0)


def test_every_quote_set_is_best_where_it_is_right_and_the_attack_is_insured_by_knowing_of_it(finished):
    headline = finished.headline
    table = np.stack([headline["certainty_equivalent"][name] for name in ("alone", "chance", "attack")])
    assert list(table[:, :3].argmax(axis=0)) == [0, 1, 2], "nobody beats the best response of the world it meets"
    assert np.all(table[:, 3:].argmax(axis=0) == 2) and np.all(np.diff(table[2]) < 0), "worse worlds from left to right"
    alone, chance, attack = (headline["spread"][name] for name in ("alone", "chance", "attack"))
    assert alone[0] < chance[0] < attack[0], "the calm regime's spread rises with the risk of leaving it"
    assert finished.result["certificate"]["gap"] < 1e-4
    names = {path.stem for path in (finished.folder / "figures").glob("*.png")}
    assert names == {"gap", "spreads", "wrong_worlds"}


def test_small_modulation_moves_the_gap_as_its_derivative_says(tmp_path):
    settings = {
        "contrasts": [1.0],
        "inventory_max": 4,
        "steps": 40,
        "effort_attack": 2000.0,
        "effort_stabilize": 2000.0,
    }
    headline = run_study("regime-risk", settings=settings, out=str(tmp_path / "run")).headline
    change, predicted = headline["spectral_gap"][0] - 0.9, headline["gap_predicted"][0] - 0.9
    assert 1e-3 < change < 0.05 and predicted == pytest.approx(change, rel=0.05)


def test_bad_input_is_named(tmp_path, capsys):
    for words, key in ((["contrasts=[]"], "contrasts"), (["sigma=[0,1,2]"], "sigma, A, k")):
        assert main(["run", "regime-risk", "--out", str(tmp_path / "no"), "--set", *words]) == 2
        assert f"{key}:" in capsys.readouterr().err


def test_the_benchmark_compares_like_with_like():
    found = run_benchmark(sets=3, sample=3)
    assert found["finished"] == 3 and found["largest_difference"] < 1e-5
