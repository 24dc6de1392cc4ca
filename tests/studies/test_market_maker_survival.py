"""The survival table: it is ordered as it should be, reproducible, and refuses limits that make no sense."""

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.execution import run_study
from diffgames.studies.market_maker_survival import wilson


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    settings = {"paths": 4000, "steps": 100}
    return run_study("market-maker-survival", settings=settings, out=str(tmp_path_factory.mktemp("run") / "out"))


def test_knowing_more_survives_longer(finished):
    low, high = np.asarray(finished.headline["survival_low"]), np.asarray(finished.headline["survival_high"])
    assert low.shape == (5, 5) and np.all(low <= high)
    assert np.all(high[0] < low[4]), "naive quotes hit a limit more often than the equilibrium's in every world"
    assert np.all(high[1, [0, 2]] < low[4, [0, 2]]), "so do Avellaneda and Stoikov's in the calm market"


def test_the_attack_costs_and_a_predator_costs(finished):
    pnl, half = np.asarray(finished.headline["pnl"]), np.asarray(finished.headline["pnl_half_width"])
    assert np.all(pnl[:, 3] + half[:, 3] < pnl[:, 1] - half[:, 1]), "a hostile controller against chance"
    assert np.all(pnl[:, 2] <= pnl[:, 0]), "the same paths, pushed against the inventory"


def test_figures_are_written(finished):
    assert {path.stem for path in (finished.folder / "figures").glob("*.png")} == {
        "survival",
        "sharpe",
        "distributions",
    }


def test_limits_outside_the_grid_are_named(tmp_path, capsys):
    for words, key in ((["inventory_limit=11"], "inventory_limit"), (["start_inventory=10"], "start_inventory")):
        assert main(["run", "market-maker-survival", "--out", str(tmp_path / "no"), "--set", *words]) == 2
        assert f"{key}:" in capsys.readouterr().err


def test_wilson_covers_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.binomial(200, 0.97, 2000)
    ends = np.array([wilson(int(count), 200) for count in draws])
    covered = np.mean((ends[:, 0] <= 0.97) & (ends[:, 1] >= 0.97))
    assert 0.93 < covered < 0.98
