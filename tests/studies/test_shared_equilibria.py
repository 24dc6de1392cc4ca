"""The study of shared equilibria: bounds, observations, cycles, and a certificate that finds what is planted."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.studies.shared_equilibria import SharedConfig, games_of
from diffgames.verification.shared_equilibrium import certify_shared


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "run"
    assert main(["run", "shared-equilibria", "--out", str(folder), "--set", "updates=1100"]) == 0
    assert main(["verify", str(folder)]) == 0
    return json.loads((folder / "result.json").read_text())


def test_bounds_hold_where_games_are_transitive_and_cycles_are_found(result):
    headline = result["headline"]
    assert round(headline["bound"]) == 345_600 and headline["observed"] == 20
    assert headline["transitive"] == {
        "decision": 1,
        "coordination": 1,
        "skill": 1,
        "unvisited": 1,
        "anti-coordination": 0,
        "rock-paper-scissors": 0,
    }
    assert headline["cycle_length"]["anti-coordination"] == 2 and headline["cycle_length"]["rock-paper-scissors"] == 3
    for case, bound in headline["bounds"].items():
        seen = headline["observations"][case]
        assert bound is None or (seen is not None and seen <= bound), case
    assert headline["bounds_printed"]["unvisited"] is not None and headline["bounds"]["unvisited"] is None
    assert headline["observations"]["unvisited"] is None and headline["exploitability"]["unvisited"] == pytest.approx(
        0.8
    )
    assert headline["taken_printed"] == 0 and headline["taken"] > 0.9


def test_the_certificate_agrees_and_finds_a_planted_profile(result):
    for name, entry in result["certificate"]["entries"].items():
        assert entry["gain"] == pytest.approx(result["headline"]["exploitability"][name], abs=1e-9)
    games = games_of(SharedConfig())
    worst = certify_shared(games["coordination"], np.array([[[0.0, 0.0, 1.0]]]))
    assert worst.gain == pytest.approx(0.0, abs=1e-12)  # all on the worst: an equilibrium all the same
    planted = certify_shared(games["decision"], np.array([[[1.0, 0.0, 0.0]]]))
    assert planted.gap == pytest.approx(2.0) and planted.lower > 1.9


@pytest.mark.parametrize(
    ("setting", "words"), [("rewards=[1,1]", "two different"), ("start=[0.5,0.5]", "three probabilities")]
)
def test_bad_input_is_told_in_words(setting, words, capsys, tmp_path):
    assert main(["run", "shared-equilibria", "--out", str(tmp_path / "out"), "--set", setting]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
