"""A calibration from the command line, tiny: every headline value is there and within its range."""

import json

import pytest

from diffgames.cli import main
from diffgames.studies import find_study

TINY = ["updates=4", "episodes=8", "steps=5", "takers_of_each_size=4", "width=8", "passes=1", "calibrator_passes=2"]
TINY += ["bayesian_every=2", "trainings=2", "training_updates=2", "evaluation_episodes=8"]


@pytest.mark.slow
def test_the_headline_holds_what_was_promised(tmp_path):
    folder = tmp_path / "run"
    assert main(["run", "calibration-4", "--out", str(folder), "--set", *TINY]) == 0
    headline = json.loads((folder / "result.json").read_text())["headline"]
    assert set(headline) == set(find_study("calibration-4").headline)
    for name in ("reward", "reward_retrained", "baseline_nothing", "baseline_random", "baseline_closed"):
        assert 0 < headline[name] <= 1
    assert headline["baseline_nothing"] < headline["baseline_random"] and headline["baseline_closed"] > 0.95
    assert 0 <= headline["share"] <= headline["total_share"] <= 1
    assert len(headline["percentiles_1_retrained"]) == 9 and len(headline["supertypes"]) == 23
    assert set(headline["targets_met"]) == {"share of supertype 1", "share of all providers"}
    assert (folder / "figures" / "calibration.png").exists()
