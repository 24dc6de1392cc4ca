"""A game of the user's own runs from its file alone: learned, measured, certified, verified."""

import json
from pathlib import Path

import pytest

from diffgames.cli import main

GAMES = Path(__file__).parents[1] / "toy_games.py"
TINY = ["updates=12", "episodes=32", "width=8", "passes=4", "minibatch=64"]
TINY += ["deviator_updates=2", "evaluation_episodes=64"]


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_game_is_learned_and_certified(capsys):
    assert main(["run", f"{GAMES}:Door", "--out", "door", "--set", *TINY, "learning_rate=0.01"]) == 0
    result = json.loads(Path("door/result.json").read_text())
    assert result["study"] == "toy_games-Door"
    # four steps, each paying one where the guest finds the right of four doors: a blind guest gets 1
    assert result["headline"]["value"]["guest"] > 1.5
    entry = result["certificate"]["entries"]["guest 0"]
    assert entry["interval"][0] <= entry["gain"] <= entry["interval"][1]
    # the certificate is on other episodes with the policy drawing its actions: about the same value
    assert entry["value"] == pytest.approx(result["headline"]["value"]["guest"], abs=0.8)
    assert "agent" in Path("door/report.html").read_text()
    assert main(["verify", "door", "--study", f"{GAMES}:Door"]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_several_seeds_are_learned_together(capsys):
    """One mapped training; every seed has its own folder, numbers and certificate, the run their mean and interval."""
    assert main(["run", f"{GAMES}:Door", "--seeds", "2", "--out", "doors", "--set", *TINY, "learning_rate=0.01"]) == 0
    assert "learning 2 seeds" in capsys.readouterr().err
    whole, *single = (json.loads(Path("doors", name, "result.json").read_text()) for name in ("", "seed0", "seed1"))
    values = [run["headline"]["value"]["guest"] for run in single]
    assert values[0] != values[1] and min(values) > 1.2
    assert whole["headline"]["value"]["guest"] == pytest.approx(sum(values) / 2)
    assert whole["interval95"]["value"]["guest"] == pytest.approx(12.7062 * abs(values[0] - values[1]) / 2, rel=1e-4)
    # the first seed is, up to the rounding of mapped products, the run of that seed alone
    assert main(["run", f"{GAMES}:Door", "--out", "door", "--set", *TINY, "learning_rate=0.01"]) == 0
    alone = json.loads(Path("door/result.json").read_text())["headline"]["reward_first"]["guest"]
    assert single[0]["headline"]["reward_first"]["guest"] == pytest.approx(alone, abs=1e-3)
    assert main(["verify", "doors", "--study", f"{GAMES}:Door"]) == 0


def test_a_file_without_that_game_suggests_its_games(capsys):
    assert main(["run", f"{GAMES}:Dor"]) == 2
    assert "did you mean 'Door'" in capsys.readouterr().err
