"""The exchange-fit study from the command line: data, simulation and theory agree on where volumes settle."""

import json

import numpy as np
import pytest

from diffgames.cli import main

SMALL = ["levels=2", "components=2", "paths=16", "steps=400", "draws=20000"]


def test_data_simulation_and_theory_agree(tmp_path):
    folder = tmp_path / "run"
    assert main(["run", "exchange-fit", "--out", str(folder), "--set", *SMALL]) == 0
    result = json.loads((folder / "result.json").read_text())
    headline = result["headline"]
    assert result["certificate"] is None and "no game is played" in (folder / "report.html").read_text()
    assert headline["mean_kept"] < 0.15 and headline["theory_kept"] < 0.15
    assert headline["energy_score"].keys() == {"train", "validation", "test"}
    discrete, diffusion = np.asarray(headline["theory_deviation"]), np.asarray(headline["diffusion_deviation"])
    assert (diffusion < discrete).all()  # the term μ⁻μ⁻ that vanishes in the limit is subtracted in discrete time
    assert (np.asarray(headline["gamma_lower"]) <= np.asarray(headline["gamma_upper"])).all()
    assert (np.asarray(headline["recorded_fall_rate"]) > 0.02).all()  # 0.05 in the generator
    assert (np.asarray(headline["recorded_fall_rate"]) < 0.08).all()
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {
        "impact",
        "facts",
        "depth",
        "dynamics",
        "changes",
    }
    for name, (recorded, simulated) in headline["facts"].items():
        if name in ("mid_deviation", "kurtosis", "level_deviation_1", "level_volume_deviation"):
            assert abs(simulated / recorded - 1) < 0.25, name
    assert headline["impact"].keys() == headline["impact_recorded"].keys() == {"1", "5", "30"}


def test_the_paper_s_mixture_is_one_choice_and_its_scores_are_its_own(tmp_path):
    folder = tmp_path / "run"
    assert main(["run", "exchange-fit", "--out", str(folder), "--set", *SMALL, "exchange=mixture"]) == 0
    headline = json.loads((folder / "result.json").read_text())["headline"]
    assert headline["energy_score"] == headline["energy_score_mixture"]
    assert abs(headline["facts"]["spread_autocorrelation"][1]) < 0.1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,2,3\n4,5\n", "line 1"),
        ("0,102,5,100,4\n1,102,5\n", "line 2"),
        ("", "row"),
        ("1,5,x,5,4\n", "line 1"),
    ],
)
def test_malformed_data_are_one_line(tmp_path, capsys, content, words):
    data = tmp_path / "data.csv"
    data.write_text(content)
    assert main(["run", "exchange-fit", "--out", str(tmp_path / "run"), "--set", f"data={data}"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert words in error[-1] and "data.csv" in error[-1]
