"""What frozen policies do in other markets: the run's own point repeats it, intervals hold, bad input is one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffgames.cli import main
from diffgames.studies.what_if import MEASURES, half_width, parse_grid
from toy_market import TINY_RUN

# a first provider whose γ is known; whatever shapes the compiled programs is that of the other tiny runs
RUN = [*TINY_RUN, "provider_risk_aversion=[1,0.5]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny run whose first provider has γ = 1."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["run", "otc-market", "--out", str(folder), "--set", *RUN]) == 0
    return folder


@pytest.mark.slow
def test_the_run_s_own_point_repeats_its_headline_and_others_differ_from_it(folder, tmp_path):
    """γ of the first supertype alone is set; changes are differences, zero at the first point."""
    grid = ["provider_risk_aversion=1,2", "taker_quantity=1"]
    assert main(["what-if", str(folder), "--grid", *grid, "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    headline = json.loads((folder / "result.json").read_text())["headline"]
    told = {**headline, "market_share": headline["market_share"][0]}
    told["pnl"] = headline["pnl_spread"] + headline["pnl_inventory"] + headline["pnl_penalty"]
    assert list(table.provider_risk_aversion) == [1, 2] and list(table.taker_quantity) == [1, 1]
    for name in MEASURES:
        assert table[name][0] == pytest.approx(told[name], rel=1e-6), name
        assert table[f"{name}_change"][0] == table[f"{name}_change_error"][0] == 0
        assert table[f"{name}_change"][1] == pytest.approx(table[name][1] - table[name][0])
        assert table[f"{name}_error"].min() >= 0
    assert (table.loc[1, [f"{name}_change" for name in MEASURES]] != 0).any()


def test_the_half_width_of_a_mean_is_student_s():
    x = np.random.default_rng(0).normal(size=12)
    left_out = np.array([np.delete(x, i).mean() for i in range(12)])
    assert half_width(left_out) == pytest.approx(2.200985 * x.std(ddof=1) / np.sqrt(12), rel=1e-6)
    assert np.isnan(half_width(left_out[:2]))


def test_a_grid_is_json_or_words():
    assert parse_grid(["a=0,0.5", "b=[1,2],[3,4]", "c=x,y"]) == {"a": [0, 0.5], "b": [[1, 2], [3, 4]], "c": ["x", "y"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("provider_risk_aversio=1", "provider_risk_aversio"),
        ("provider_risk_aversion", "--grid"),
        ("provider_risk_aversion=", "--grid"),
        ("provider_pnl_weight=x", "provider_pnl_weight"),
        ("provider_counts=[1,1,1]", "allowed"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(grid, words, folder, tmp_path, capsys):
    assert main(["what-if", str(folder), "--grid", grid, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert words in error[-1] and "Traceback" not in "".join(error) and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_other_runs_and_folders_that_exist_are_refused(folder, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.mkdir()
    assert main(["what-if", str(folder), "--grid", "steps=20", "--out", str(taken)]) == 2
    assert "--out" in capsys.readouterr().err
    other: Path = shutil.copytree(folder, tmp_path / "other")
    config = other / "config.json"
    config.write_text(config.read_text().replace('"otc-market"', '"flow-response"'))
    assert main(["what-if", str(other), "--grid", "steps=20", "--out", str(tmp_path / "out")]) == 2
