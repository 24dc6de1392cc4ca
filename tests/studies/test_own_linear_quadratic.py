"""A linear-quadratic or differential game of the user's own runs from its file alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from diffgames.cli import main

GAMES = Path(__file__).parents[1] / "own_games.py"


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ran(name, *settings, code=0):
    words = ["run", f"{GAMES}:{name}", "--out", name] + (["--set", *settings] if settings else [])
    assert main(words) == code
    return json.loads(Path(name, "result.json").read_text())


def test_the_regulator_costs_what_its_closed_form_says(capsys):
    """S = tanh(T − t), u = −S x, cost x² tanh T + 0.09 ∫ tanh = x² tanh T + 0.09 ln cosh T."""
    result = ran("REGULATOR", "x0=[2]", "paths=2000", "steps=200")
    exact = 4.0 * math.tanh(2.0) + 0.09 * math.log(math.cosh(2.0))
    headline = result["headline"]
    assert headline["cost"]["controller"] == pytest.approx(exact, abs=1e-8)
    np.testing.assert_allclose(headline["gain0"]["controller"], [[[-math.tanh(2.0), 0.0]]], atol=1e-9)
    error = headline["simulated_cost_error"]["controller"]
    assert (
        abs(headline["simulated_cost"]["controller"] - exact) < 4.0 * error + 1e-3
    )  # left of the step, to second order
    assert result["certificate"]["gap"] < 1e-9
    assert {path.name for path in Path("REGULATOR/figures").iterdir()} == {"gains.png", "states.png"}
    assert (
        main(["verify", "REGULATOR", "--study", f"{GAMES}:REGULATOR"]) == 0 and "bit for bit" in capsys.readouterr().out
    )


def test_a_game_in_steps_is_followed_exactly():
    """The recursion for the moments gives the mean that the gains imply, and the certificate is exact."""
    import xarray

    result = ran("DUEL", "x0=[1,-1]", "deviation=0.5")
    assert result["certificate"]["gap"] < 1e-12 and "simulated_cost" not in result["headline"]
    gains = xarray.open_dataset("DUEL/arrays/gains.nc", engine="h5netcdf")["gain"].values[:, 0]
    states = xarray.open_dataset("DUEL/arrays/states.nc", engine="h5netcdf")
    drift, inputs = np.array([[0.9, 0.4], [-0.3, 0.8]]), np.hstack([np.eye(2), 0.5 * np.eye(2)])
    mean, covariance = np.array([1.0, -1.0]), 0.25 * np.eye(2)
    for t in range(6):
        closed = drift + inputs @ gains[t][:, :2]
        mean, covariance = closed @ mean, closed @ covariance @ closed.T + 0.09 * np.eye(2)
    np.testing.assert_allclose(states["mean"].values[-1], mean, atol=1e-10)
    np.testing.assert_allclose(states["deviation"].values[-1] ** 2, np.diag(covariance), atol=1e-10)


def test_a_game_without_end_is_certified_up_to_a_horizon():
    """0 = 1 + 0.2 S − 2 S², and σ² S per unit of time where nothing is discounted."""
    result = ran("ENDLESS", "horizon=4", "paths=500", "steps=100")
    s = (0.2 + math.sqrt(0.04 + 8.0)) / 4.0
    assert result["headline"]["cost"]["controller"] == pytest.approx(s, abs=1e-9)
    assert result["headline"]["average_cost"]["controller"] == pytest.approx(0.09 * s, abs=1e-9)
    (entry,) = result["certificate"]["entries"].values()
    assert entry["gap"] < 1e-9 and entry["value"] == pytest.approx(-s - 4.0 * 0.09 * s, abs=1e-7)


def test_rates_that_values_modulate_are_those_of_the_solution():
    result = ran("MODULATED", "regime=1")
    assert result["certificate"]["gap"] < 1e-9
    assert result["headline"]["cost"]["controller"] == pytest.approx(math.sqrt(3.0) * math.tanh(2.0 * math.sqrt(3.0)))


def test_a_game_past_its_escape_ends_with_the_time(capsys):
    result = ran("ESCAPING", code=1)
    assert result["status"] == "failed" and set(result["headline"]) == {"escape_time"}
    assert result["headline"]["escape_time"] == pytest.approx(math.pi / (2.0 * math.sqrt(3.0)), abs=1e-8)
    assert Path("ESCAPING/figures/gains.png").exists() and "0.9069" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [("DUEL", "x0=[1]", "2 numbers: x[2]"), ("REGULATOR", "regime=1", "below 1"), ("PAIR", "decisions=4", "bound")],
)
def test_slips_are_told_in_one_line(name, setting, said, capsys):
    assert main(["run", f"{GAMES}:{name}", "--out", "slip", "--set", setting]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert setting.partition("=")[0] in error or said in error
    assert said in error and not Path("slip").exists()


@pytest.mark.slow
def test_a_differential_game_is_learned():
    tiny = ["updates=30", "episodes=64", "width=16", "passes=4", "minibatch=256", "deviator_updates=2"]
    tiny += ["evaluation_episodes=64", "decisions=5", "learning_rate=0.005"]
    result = ran("PAIR", "bound=3", *tiny)
    first, last = result["headline"]["reward_first"], result["headline"]["reward_last"]
    assert all(last[player] > first[player] + 0.2 for player in ("left", "right"))
    assert set(result["certificate"]["entries"]) == {"left 0", "right 0"}
