"""The study of an outer game on the regimes: runs, verifies, refuses rates that would turn negative."""

import json

import pytest

from diffgames.cli import main


def test_the_outer_game_moves_rates_and_values(tmp_path):
    out = tmp_path / "run"
    assert main(["run", "games-in-games", "--out", str(out), "--set", "points=61"]) == 0
    result = json.loads((out / "result.json").read_text())
    headline, certificate = result["headline"], result["certificate"]
    assert headline["attack"] == headline["stabilize"] == [1.0, 1.0, 0.0]
    assert certificate["checks"] == {"finer_grid_change": headline["finer_grid_change"]} and certificate["unseen"]
    assert 0 < headline["leak"] < 1e-3 and headline["isaacs_gap"] == 0.0
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


def test_unstable_steps_and_a_grid_that_leaks_are_told(tmp_path, capsys):
    assert main(["run", "games-in-games", "--out", str(tmp_path / "a"), "--set", "points=61", "steps=20"]) == 2
    assert "steps: 20 is not valid; allowed: a multiple of keep = 20, at least" in capsys.readouterr().err
    narrow = ["points=21", "width=0.3"]
    assert main(["run", "games-in-games", "--out", str(tmp_path / "b"), "--set", *narrow]) == 1
    assert "the grid is too narrow: with probability 0." in capsys.readouterr().err
