"""The ablation: its headline, its baselines, and what it refuses."""

import json

import pytest

from diffgames.cli import main
from diffgames.studies.calibration_ablation import STUDY

TINY = ["updates=4", "trainings=2", "episodes=8", "width=8", "passes=2"]


def test_all_ways_are_measured_beside_the_baselines(tmp_path):
    assert main(["run", "calibration-ablation", "--out", str(tmp_path / "run"), "--set", *TINY]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    headline = result["headline"]
    assert set(headline) == set(STUDY.headline)
    assert set(headline["reward"]) == {"state", "no_state", "wide"}
    difference = headline["reward"]["state"] - headline["reward"]["no_state"]
    assert headline["difference"] == pytest.approx(difference, abs=1e-6)
    assert round(headline["baseline_nothing"], 2) == 0.87 < headline["baseline_random"]
    assert all(0 <= count <= 2 for count in headline["met"].values()) and len(headline["met"]) == 6


def test_an_experiment_that_is_none_is_refused(tmp_path, capsys):
    assert main(["run", "calibration-ablation", "--out", str(tmp_path / "run"), "--set", "experiment=5"]) == 2
    assert "experiment" in capsys.readouterr().err
