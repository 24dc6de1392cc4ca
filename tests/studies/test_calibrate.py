"""One's own market from the command line, tiny; and what is refused before anything is fitted."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.calibration.amortized import SHARES
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.cli import main
from diffgames.errors import InvalidInput
from diffgames.studies import find_study
from diffgames.studies.calibrate import EXAMPLE, cautions

TINY = ["updates=4", "episodes=16", "steps=4", "takers_of_each_size=4", "width=8", "passes=1", "calibrator_passes=2"]
TINY += ["learning_updates=4", "trainings=2", "training_updates=2", "evaluation_episodes=8", "sizes=[1.0,3.0]"]
TINY += ["simulations=200", "fit_steps=40", "fit_width=8"]
FILE = "statistic,at,value,kind,weight\nshare,,0.2,,\ntotal_share,,0.7,at least,\npercentile,50,3,,\n"


@pytest.mark.slow
def test_a_market_is_calibrated_to_a_file(tmp_path):
    path, folder = tmp_path / "targets.csv", tmp_path / "run"
    path.write_text(FILE + "flow,-0.5,9,,\nflow,0.5,4,,\n")
    assert main(["run", "calibrate", "--out", str(folder), "--set", f"targets={path}", *TINY]) == 0
    headline = json.loads((folder / "result.json").read_text())["headline"]
    baselines = {
        "baseline_nothing",
        "baseline_random",
        "baseline_closed",
    }  # a flow response is of prices: there are none
    assert set(headline) == set(find_study("calibrate").headline) - baselines
    assert headline["wanted"]["flow of supertype 1"] == [9.0, 4.0]
    for name in ("achieved", "achieved_posterior", "achieved_retrained", "achieved_retrained_error"):
        assert {key: len(value) for key, value in headline[name].items()} == {
            key: len(value) for key, value in headline["wanted"].items()
        }
    assert (
        0 <= headline["achieved"]["share of supertype 1"][0] <= headline["achieved"]["share of all providers"][0] <= 1
    )
    assert all(0 <= low <= middle <= high <= 1 for low, middle, high in headline["posterior"].values())
    assert headline["answer_seconds"] > 0 and 0 <= headline["coverage"] <= 1
    assert (folder / "figures" / "calibrate.png").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE.replace("0.2", "1.2"), "line 2"),
        (FILE.replace("50,3", "50,11"), "largest trade size"),
        (FILE.replace("total_share", "totalshare"), "did you mean 'total_share'?"),
        ("", "at least one row"),
    ],
)
def test_a_file_of_no_targets_is_told_in_one_line(tmp_path, capsys, text, said):
    path = tmp_path / "targets.csv"
    path.write_text(text)
    assert main(["run", "calibrate", "--out", str(tmp_path / "run"), "--set", f"targets={path}"]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_sizes_that_do_not_rise_are_refused(tmp_path, capsys):
    assert main(["run", "calibrate", "--out", str(tmp_path / "run"), "--set", "sizes=[2.0,1.0]"]) == 2
    assert "sizes" in capsys.readouterr().err


def test_the_example_asks_for_both_shares_and_trade_sizes():
    assert [one.kind in SHARES for one in EXAMPLE] == [True, True, False]


@pytest.mark.parametrize(("share", "total"), [(0.2, 0.7), (0.0, 0.5), (0.6, 0.6), (0.25, 0.994)])
def test_two_shares_are_met_in_closed_form_where_connectivity_alone_decides(share, total):
    market = ConnectivityMarket((1, 4), sizes=(1.0, 5.0), takers=(3, 2))
    profile = market.meeting(share, total)
    assert profile is not None
    np.testing.assert_allclose(market.exact(profile).share, [share, total - share], atol=1e-9)
    assert market.meeting(0.5, 0.4) is None


def test_where_risk_aversion_alone_moves_everyone_is_connected():
    space = SupertypeProfile(3, risk=True, linked=True)
    assert space.names == ("risk_aversion_1", "risk_aversion_2_mean", "risk_aversion_2_deviation")
    assert len(space.high) == len(space.start(0.5)) == 3
    half = np.asarray(space.from_normal(jnp.zeros((2, 3), jnp.float32)))
    np.testing.assert_allclose(half, [[2.5, 2.5, 1.0]] * 2)
    with pytest.raises(InvalidInput, match="linked"):
        SupertypeProfile(3, linked=True)


@pytest.mark.parametrize(("guessed", "told"), [(None, False), (0.8, False), (0.9, True)])
def test_a_calibration_that_guessing_would_beat_is_told(guessed, told):
    notes = cautions({"share": 1, "total": 0}, 0.79, 0.04, guessed)
    assert notes[0] == "new agents miss the target total"
    assert [("random guesses" in note) for note in notes[1:]] == [True] * told
