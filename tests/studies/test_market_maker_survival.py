"""The survival table: exact values, intervals that hold them, the insurance, and limits that make no sense refused."""

import dataclasses

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.execution import run_study
from diffgames.simulation.market_maker_exact import inventory_survival
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of
from diffgames.studies.market_maker_strategies import STRATEGIES, WORLDS, middles, starts, strategies, worlds
from diffgames.studies.market_maker_survival import interval


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    settings = {"paths": 2000, "steps": 40, "rate_factors": [1.0, 4.0], "predator_factors": [1.0], "seed": 3}
    seed = settings.pop("seed")
    return run_study("market-maker-survival", settings=settings, seed=seed, out=str(tmp_path_factory.mktemp("s") / "o"))


def test_survival_is_that_of_the_chain():
    """Naive 36.0%, classical 89.7, robust 94.4, regime-aware 94.7, hyper-alert 95.3 in the calm world at 200 steps."""
    game = game_of(MarketMakingParameters(), "strategic")
    quotes, equilibrium = strategies(game_of(MarketMakingParameters(), "exogenous"), game, 200)
    around = worlds(game, equilibrium, "equilibrium")

    def survival(world, rows):
        one = dataclasses.replace(around[world], rates=rows(around[world].rates))
        tables = [inventory_survival(game, rows(quotes[s][0]), rows(quotes[s][1]), one) for s in STRATEGIES]
        return [float(table[0, 10]) for table in tables]

    assert survival("calm", starts) == pytest.approx([0.360, 0.897, 0.944, 0.947, 0.954], abs=1e-3)
    for world in ("exogenous", "controller"):
        _, classical, robust, aware, alert = survival(world, middles)
        assert classical < aware < robust < alert, "knowing more is not surviving longer in every world"


def test_the_simulation_is_held_to_the_exact_part(finished):
    headline = {name: np.asarray(value, float) for name, value in finished.headline.items()}
    assert headline["survival"].shape == (len(STRATEGIES), len(WORLDS))
    pairs = (("survival", "survival_simulated", "survival_error"), ("pnl", "pnl_simulated", "pnl_error"))
    for exact, simulated, error in pairs:
        distance = np.abs(headline[exact] - headline[simulated]) / headline[error]
        assert np.mean(distance < 1) > 0.7 and distance.max() < 2.5, "pairs share their random numbers"
    step = np.abs(headline["survival"] - headline["survival_continuous"])
    assert np.all(headline["survival_error"] > step) and np.all(step < 0.02)


def test_the_equilibrium_is_worth_theta_and_is_certified(finished):
    equivalent = np.asarray(finished.headline["certainty_equivalent"])
    assert equivalent[4, 4] == pytest.approx(finished.headline["theta"], abs=0.2)
    assert np.all(equivalent[:4, 4] < equivalent[4, 4]), "nobody does better in the world it is made for"
    assert finished.result["certificate"]["gap"] < 1e-3


def test_attacks_hurt_and_insurance_has_a_price(finished):
    headline = {name: np.asarray(value, float) for name, value in finished.headline.items()}
    ruin, half = headline["ruin"], headline["ruin_error"]
    assert np.all(ruin[:, 5] - half[:, 5] > ruin[:, 0] + half[:, 0]) and ruin[0, 5] > 0.5
    assert np.all(headline["pnl_ended"][:, 5] < headline["pnl_ended"][:, 0])
    for attacked, quiet in ((2, 0), (3, 1)):
        assert np.all(headline["pnl"][:, attacked] < headline["pnl"][:, quiet])
    assert headline["worst_case"].argmax() == 4 and np.all(headline["worst_case"] == headline["threatened"].min(axis=1))
    assert headline["insurance"].argmin() == 3 and headline["insurance"][4] > 0
    assert np.allclose(headline["certainty_equivalent"][:, 5], headline["threatened"][:, -1], atol=1e-6)


def test_figures_are_written(finished):
    written = {path.stem for path in (finished.folder / "figures").glob("*.png")}
    assert written == {"survival", "ruin", "insurance", "distributions"}


def test_limits_outside_the_grid_are_named(tmp_path, capsys):
    for words, key in (
        (["inventory_limit=11"], "inventory_limit"),
        (["start_inventory=10"], "start_inventory"),
        (["rate_factors=[]"], "rate_factors"),
    ):
        assert main(["run", "market-maker-survival", "--out", str(tmp_path / "no"), "--set", *words]) == 2
        assert f"{key}:" in capsys.readouterr().err


def test_intervals_of_shares_cover_as_they_say():
    held = np.random.default_rng(0).random((2000, 200)) < 0.97
    mean, half = interval(held.astype(float), share=True)
    assert 0.93 < np.mean(np.abs(mean - 0.97) <= half) < 0.995
