"""The study of discrete mean-field games: the chain by Newton's method, draws of Garnets, honest failure, bad input."""

import json

import pytest

from diffgames.cli import main
from diffgames.studies.mean_field_benchmark import PRINTED_LAW


def ran(folder, *settings):
    assert main(["run", "mean-field-benchmark", "--out", str(folder), "--set", *settings]) == 0
    return json.loads((folder / "result.json").read_text())


def test_the_chain_is_solved_certified_and_verified_again(tmp_path):
    result = ran(tmp_path / "run", 'methods=["newton"]')
    headline = result["headline"]
    assert headline["exploitability"] <= 1e-10 and headline["converged"] == {"newton": 1.0}
    assert headline["law"] == pytest.approx(PRINTED_LAW, abs=6e-9)
    assert result["certificate"]["gap"] < 2e-10 and main(["verify", str(tmp_path / "run")]) == 0


def test_what_is_no_equilibrium_is_said_to_be_none(tmp_path):
    result = ran(tmp_path / "run", "game=susceptible-infected", 'methods=["mirror"]', "iterations=50")
    assert result["headline"]["converged"] == {"mirror": 0.0}
    assert any("not an equilibrium" in note for note in result["warnings"])


def test_garnets_are_drawn_by_their_seeds(tmp_path):
    settings = ("game=garnet", 'methods=["newton"]', "draws=3", "states=4", "actions=2", "branching=2")
    headline = ran(tmp_path / "run", *settings)["headline"]
    assert headline["worst"]["newton"] <= 1e-10 and headline["median"]["newton"] <= headline["worst"]["newton"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("methods=[]", "at least one of newton, mirror, fictitious"),
        ("game=chess", "lasry-lions-chain"),
        ("branching=11", "between 1 and the number of states"),
    ],
)
def test_bad_input_is_told_in_words(setting, words, capsys, tmp_path):
    settings = [setting, *(["game=garnet"] if setting.startswith("branching") else [])]
    assert main(["run", "mean-field-benchmark", "--out", str(tmp_path / "out"), "--set", *settings]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
