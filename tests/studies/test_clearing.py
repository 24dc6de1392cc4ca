"""The study `clearing`: its headline by other routes, its certificate, its words where input is wrong."""

import json

import pytest

from diffgames.cli import main

HAND = ["market=battery", "agents=1", "prices=[-50,-50,-50,-50]", "rounds=10"]


def run(tmp_path, *settings):
    code = main(["run", "clearing", "--out", str(tmp_path / "run"), "--set", *settings])
    found = tmp_path / "run" / "result.json"
    return code, json.loads(found.read_text()) if found.exists() else None


def test_the_battery_by_hand(tmp_path, capsys):
    code, result = run(tmp_path, *HAND)
    assert code == 0
    headline = result["headline"]
    assert headline["welfare_lp"] == pytest.approx(120.441989, abs=1e-6)
    assert headline["welfare_milp"] == pytest.approx(118.5, abs=1e-6)
    assert headline["payments_sum"] == pytest.approx(0.0, abs=1e-9)
    assert headline["uplift"] == pytest.approx(0.0, abs=1e-6), "at −50 an hour the battery alone can do no better"
    assert headline["messages"] == 20.0
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert "the certificate is reproduced bit for bit" in capsys.readouterr().out
    assert result["certificate"]["gap"] < 1e-6 and result["certificate"]["checks"]["balance_MW"] < 1e-9


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["market=prosumers", "agents=40", "feeder=0.01"], "no plan is feasible: in hours"),
        (["prices=[]"], "prices"),
        (["solar_share=1.5"], "solar_share"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path, capsys, settings, words):
    code, _ = run(tmp_path, *settings)
    assert code in (1, 2) and words in capsys.readouterr().err
