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


def test_negative_intensities_are_refused(tmp_path, capsys):
    wrong = "stabilize=[[0,1,0],[0,0,0],[0,0,0]]"
    assert main(["run", "games-in-games", "--out", str(tmp_path / "run"), "--set", wrong]) == 2
    assert "negative intensity" in capsys.readouterr().err
