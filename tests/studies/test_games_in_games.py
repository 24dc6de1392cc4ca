"""The study of an outer game on the regimes: runs, verifies, refuses rates that would turn negative."""

import json

import pytest

from diffgames.cli import main


def test_the_outer_game_moves_rates_and_values(tmp_path):
    out = tmp_path / "run"
    assert main(["run", "games-in-games", "--out", str(out), "--set", "points=61"]) == 0
    headline = json.loads((out / "result.json").read_text())["headline"]
    assert headline["attack"] == headline["stabilize"] == [1.0, 1.0, 0.0]
    assert headline["spectral_gap_exogenous"] == pytest.approx(0.9, abs=1e-9)
    assert all(a > b for a, b in zip(headline["inner"], headline["inner_exogenous"], strict=True))
    assert main(["verify", str(out)]) == 0


@pytest.mark.slow
def test_committed_policies_with_costs(tmp_path):
    """Efforts that cost are intermediate; the gap of the fixed point is stated."""
    out = tmp_path / "run"
    words = ["points=41", "reading=committed", "levels=3", "effort_attack=0.3", "effort_stabilize=0.1"]
    assert main(["run", "games-in-games", "--out", str(out), "--set", *words]) == 0
    headline = json.loads((out / "result.json").read_text())["headline"]
    assert 0 < headline["attack"][0] < 1 and headline["stabilize"][0] < 1
    assert headline["stage_gap"] < 4e-6


def test_negative_intensities_are_refused(tmp_path, capsys):
    wrong = "stabilize=[[0,1,0],[0,0,0],[0,0,0]]"
    assert main(["run", "games-in-games", "--out", str(tmp_path / "run"), "--set", wrong]) == 2
    assert "negative intensity" in capsys.readouterr().err
