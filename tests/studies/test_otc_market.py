"""The main job from the command line, tiny: every headline value, the certificate, reuse of a profile, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.records import load_profile

TINY = ["updates=2", "episodes=4", "steps=20", "width=16", "passes=2", "evaluation_episodes=8", "taker_counts=[5,2]"]
TINY += ["deviator_updates=2", "deviator_passes=1", "validation_episodes=4", "certificate_episodes=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run folder of a tiny run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["run", "otc-market", "--seed", "3", "--out", str(folder), "--set", *TINY]) == 0
    return folder


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_the_run_folder_holds_what_was_promised(folder):
    result = result_of(folder)
    headline = result["headline"]
    supertypes = {"provider_0", "provider_1", "taker_0", "taker_1"}
    assert set(headline["reward_first"]) == set(headline["reward_last"]) == supertypes
    assert len(headline["market_share"]) == 3 and 0 < sum(headline["market_share"]) <= 1
    assert headline["updates"] == 2 and headline["imbalance"] < 1e-2
    assert headline["skew_standard_error"] > 0 and headline["agent_steps_per_second"] > 0
    entries = result["certificate"]["entries"]
    assert len(entries) == 4
    for entry in entries.values():
        assert entry["interval"][0] <= entry["gain"] <= entry["interval"][1]
        assert entry["budget"]["updates"] == 2 and entry["curves"]["fresh"]["updates"][-1] == 2
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures == {"learning", "market_day", "skew", "shares", "connectivity", "deviators"}


def test_a_profile_plays_another_market_without_learning(folder, tmp_path):
    """Other counts, types, connections: same policies, no updates, other numbers."""
    changed = [
        f"profile={folder}",
        "taker_counts=[3,4]",
        "provider_risk_aversion=[1.5,0.1]",
        "connectivity=[[0.5,0.5],[1,1]]",
    ]
    reused = tmp_path / "reused"
    assert main(["run", "otc-market", "--seed", "4", "--out", str(reused), "--set", *TINY, *changed]) == 0
    headline = result_of(reused)["headline"]
    assert headline["updates"] == 0 and "reward_first" not in headline
    old, new = load_profile(folder), load_profile(reused)
    assert set(old) == set(new) == {"provider", "taker"}
    np.testing.assert_array_equal(old["provider"].first, new["provider"].first)
    assert headline["market_share"] != result_of(folder)["headline"]["market_share"]


def test_a_profile_of_another_shape_is_refused(folder, tmp_path, capsys):
    words = ["run", "otc-market", "--out", str(tmp_path / "other"), "--set", *TINY, f"profile={folder}", "levels=3"]
    assert main(words) == 2
    assert "profile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("taker_counts=[5]", "taker_quantity"),
        ("connectivity=[[1,1]]", "connectivity"),
        ("provider_pnl_weight=[2,1]", "provider_pnl_weight"),
        ("spread_bounds=[-2,1]", "spread_bounds"),
        ("data=nowhere.csv", "nowhere.csv"),
        ("exchanges=0", "exchanges"),
        ("profile=nowhere", "nowhere"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_2(setting, key, tmp_path, capsys):
    assert main(["run", "otc-market", "--out", str(tmp_path / "bad"), "--set", "updates=1", setting]) == 2
    error = capsys.readouterr().err.strip()
    assert key in error and "Traceback" not in error and len(error.splitlines()) == 1


@pytest.mark.slow
def test_quick_learning_raises_rewards_and_skews(tmp_path):
    """The quick preset's learning over seeds: providers' reward rises, the skew slope is negative by over two s.e."""
    quick = ["deviator_updates=1", "validation_episodes=4", "certificate_episodes=8"]
    for seed in ("0", "1"):
        folder = tmp_path / seed
        assert main(["run", "otc-market", "--seed", seed, "--out", str(folder), "--set", *quick]) == 0
        headline = result_of(folder)["headline"]
        first, last = headline["reward_first"], headline["reward_last"]
        assert all(last[name] > first[name] for name in ("provider_0", "provider_1", "taker_0"))
        assert headline["skew_intensity"] + 2 * headline["skew_standard_error"] < 0
