"""Several seeds of the main study: each fits an exchange of its own, all learn in one mapped computation."""

import json
from pathlib import Path

import pytest

from diffgames.cli import main

TINY = ["updates=4", "episodes=8", "steps=20", "width=16", "passes=2", "evaluation_episodes=10", "deviator_updates=1"]
TINY += ["validation_episodes=4", "certificate_episodes=8"]


@pytest.mark.slow
def test_markets_of_several_seeds_learn_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "otc-market", "--seeds", "2", "--out", "both", "--set", *TINY]) == 0
    assert "learning 2 seeds" in capsys.readouterr().err
    both, *each = (json.loads(Path("both", name, "result.json").read_text()) for name in ("", "seed0", "seed1"))
    for role, mean in both["headline"]["reward_last"].items():
        values = [run["headline"]["reward_last"][role] for run in each]
        assert values[0] != values[1] and mean == pytest.approx(sum(values) / 2)
    assert each[0]["certificate"]["entries"].keys() == each[1]["certificate"]["entries"].keys()
    assert {path.name for path in Path("both/seed1/figures").iterdir()} >= {"learning.png", "market_day.png"}
