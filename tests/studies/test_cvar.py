"""The study of risk: exact decisions beside sampled ones, the certificate, bad input."""

import json

import pytest

from diffgames.cli import main


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cvar") / "run"
    settings = ["samples=2000", "replications=8"]
    assert main(["run", "cvar", "--seed", "1", "--out", str(folder), "--set", *settings]) == 0
    assert main(["verify", str(folder)]) == 0
    return json.loads((folder / "result.json").read_text())


def test_decisions_are_exact_and_samples_find_them(result):
    headline = result["headline"]
    assert headline["quantity"] == pytest.approx({"0": 0.67449, "0.5": 0.99270, "1": 1.11009}, abs=5e-6)
    assert headline["cost"] == pytest.approx({"0": 1.271106, "0.5": 2.259920, "1": 3.168906}, abs=1e-6)
    assert headline["cvar"]["1"] == pytest.approx(headline["cost"]["1"])
    for name in ("quantity", "cost", "output"):
        for weight, exact in headline[name].items():
            wide = headline[f"{name}_half_width"][weight]
            assert abs(headline[f"{name}_sampled"][weight] - exact) < 2 * wide, (name, weight)


def test_the_certificate_holds_sampled_decisions_to_exact_objectives(result):
    entries = result["certificate"]["entries"]
    assert len(entries) == 6 and all(entry["gain"] + 1e-9 >= 0 and entry["gap"] < 1e-2 for entry in entries.values())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("weights=[0.5,0.5]", "no two alike"),
        ("tail_mass=0", "tail_mass"),
        ("margin=0.5", "raise it, or lower the risk"),
        ("samples=10", "two in the tail"),
    ],
)
def test_bad_input_is_told_in_words(setting, words, capsys, tmp_path):
    assert main(["run", "cvar", "--out", str(tmp_path / "out"), "--set", "replications=2", setting]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert words in told
