"""The study of learning in crowds: exponents of a small run, what learning gains, a stored profile answered again."""

import json

import pytest

from diffgames.cli import main

SMALL = "rounds=[250,1000] replications=6 agents=[60] learners=2 updates=150 together=600 steps=10 points=40 bins=12"


@pytest.mark.slow
def test_a_small_run_shows_both_claims_and_is_verified(tmp_path):
    assert main(["run", "mean-field-learning", "--out", str(tmp_path / "run"), "--set", *SMALL.split()]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    headline = result["headline"]
    for drift, exponent in {"bounded": 0.1, "sqrt": 2.0, "linear": 3.0, "jumps": 1.0}.items():
        assert headline["regret_exponent"][drift] == pytest.approx(exponent, abs=0.2)
        apart = headline["regret_exponent"][drift] - headline["regret_exponent_exact"][drift]
        assert abs(apart) <= 3 * headline["regret_exponent_half_width"][drift]
    assert headline["regret_exponent_constant"]["linear"] == pytest.approx(1.0, abs=0.1)
    assert headline["exploitability"]["60"] < 0.7 * headline["exploitability_start"]
    assert headline["exploitability_equilibrium"] < 0.02
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_horizons_that_give_no_exponent_are_refused(tmp_path, capsys):
    for setting, word in (("rounds=[500]", "rounds"), ("agents=[1000,100]", "agents")):
        assert main(["run", "mean-field-learning", "--out", str(tmp_path / "slip"), "--set", setting]) == 2
        assert word in capsys.readouterr().err and not (tmp_path / "slip").exists()
