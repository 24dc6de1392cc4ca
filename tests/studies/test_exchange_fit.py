"""The exchange-fit study from the command line: data, simulation and theory agree on where volumes settle."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.markets.synthetic import synthetic_level2
from diffgames.markets.synthetic_tables import snapshot_frame
from diffgames.studies.exchange_parameters import LevelTwoParameters, snapshots_of

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


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Snapshots in a table with names of its own, as a vendor writes them, and those behind it."""
    data, path = synthetic_level2(seconds=1200, seed=2), tmp_path_factory.mktemp("table") / "book.csv.gz"
    frame = snapshot_frame(data).rename(columns=lambda name: name.replace("bid_size", "bq").replace("time", "ts"))
    frame.to_csv(path, index=False, sep=";")
    return data, path


def test_a_table_with_names_is_read_as_the_parameters_say(table, tmp_path):
    data, path = table
    found = snapshots_of(
        str(path), 0, LevelTwoParameters(columns={"time": "ts", "bid_size": "bq_{}"}, size_name="contracts")
    )
    assert (found.levels, found.price_unit, found.size_name) == (10, 4.0, "contracts")
    np.testing.assert_array_equal(found.bid_size, data.bid_size)
    snapshot_frame(data).to_csv(tmp_path / "ours.csv", index=False)
    ours = snapshots_of(str(tmp_path / "ours.csv"), 0)
    np.testing.assert_array_equal(ours.ask_size, data.ask_size)
    (tmp_path / "lobster.csv").write_text("0,10100,5,10000,7\n1,10200,5,10100,7\n")
    assert snapshots_of(str(tmp_path / "lobster.csv"), 0, LevelTwoParameters(tick=0.01)).tick == 100
    for name, value in (("lot", 100.0), ("zone", "Europe/London"), ("size_name", "price"), ("tick", 0.03)):
        with pytest.raises(InvalidInput, match=name):
            snapshots_of(str(tmp_path / "lobster.csv"), 0, LevelTwoParameters(**{name: value}))


def test_a_bad_column_ends_the_command_with_one_line(table, tmp_path, capsys):
    words = [f"data={table[1]}", "columns.time=when"]
    assert main(["run", "exchange-fit", "--out", str(tmp_path / "no"), "--set", *words]) == 2
    assert "one of ts, bid_1" in capsys.readouterr().err and not (tmp_path / "no").exists()


@pytest.mark.slow
def test_the_agent_is_fitted_to_a_table_with_names(table, tmp_path):
    words = [f"data={table[1]}", "columns.time=ts", "columns.bid_size=bq_{}", "levels=2", "paths=4", "steps=200"]
    assert main(["run", "exchange-fit", "--out", str(tmp_path / "run"), "--set", *words, "draws=2000"]) == 0
    headline = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    assert headline["recorded_mean"][0] == pytest.approx(table[0].bid_size[:840, 0].mean(), rel=0.1)
