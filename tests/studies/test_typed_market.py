"""The study of a day at one power market: theorems it must keep, a planted profile that is caught, slips."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.progress import Progress
from diffgames.studies.context import CheckpointStore, RunContext
from diffgames.studies.typed_market import TypedMarketConfig, verify

SMALL = ["points=12", "steps=24", "deviator_updates=0"]


@pytest.mark.slow
def test_price_takers_waste_least_and_one_buyer_pays_least(tmp_path):
    """Price takers minimize resources, exactly on the grid; one buyer minimizes what all pay."""
    assert main(["run", "typed-market", "--out", str(tmp_path / "run"), "--set", *SMALL]) == 0
    headline = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    resources, cost = headline["resources"], headline["mean_cost"]
    assert resources["game"] < min(resources["control"], resources["typed"]) < headline["resources_unstored"]
    assert cost["control"] < min(cost["game"], cost["typed"])
    assert headline["clearing_error"] < 1e-9 and headline["mass_error"] < 1e-13
    assert headline["price_low"]["game"] < headline["price_low"]["control"]
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.slow
def test_storage_that_stands_still_is_caught(tmp_path):
    """Nobody trades: an owner of storage who buys at noon and sells in the evening gains, and the size is known."""
    config = TypedMarketConfig(points=12, steps=96, sigma=(0.0, 0.0), k=(0.0, 0.0), deviator_updates=0)
    x = (np.arange(12) + 0.5) / 12
    start = np.stack([np.exp(-0.5 * ((x - m) / 0.12) ** 2) for m in config.mean0])
    mass = np.repeat((start / start.sum(axis=1, keepdims=True))[None], 97, axis=0)
    store = CheckpointStore(tmp_path)
    context = RunContext(seed=0, folder=tmp_path, progress=Progress(quiet=True), checkpoint=store, log=print)
    found = verify(config, {"mass": mass, "control": np.zeros((96, 2, 1, 12))}, context).exact
    assert found is not None and found["type 1"].lower > 5.0
    load = np.asarray(config.base)[:, None] + np.zeros(2401)
    t = np.linspace(0.0, 24.0, 2401)
    load = load + np.asarray(config.evening)[:, None] * np.exp(-0.5 * ((t - 19.0) / 2.0) ** 2)
    load = load - np.asarray(config.pv)[:, None] * np.maximum(np.cos(np.pi * (t - 13.0) / 12.0), 0.0) ** 2
    price = config.p0 * np.exp(np.asarray(config.share) @ load / config.w)
    still = np.trapezoid(price * load, t)
    level = np.asarray(config.level)
    spread = mass[0] @ x**2 - 2.0 * level * (mass[0] @ x) + level**2
    still = still + np.asarray(config.final) * np.asarray(config.capacity) * spread
    for k in range(2):
        assert -found[f"type {k}"].value == pytest.approx(still[k], abs=0.5)


def test_types_of_another_number_and_shares_are_named(tmp_path, capsys):
    assert main(["run", "typed-market", "--out", str(tmp_path / "slip"), "--set", "share=[1.0]"]) == 2
    assert "capacity 2" in capsys.readouterr().err and not (tmp_path / "slip").exists()
    assert main(["run", "typed-market", "--out", str(tmp_path / "slip"), "--set", "share=[0.5,0.6]"]) == 2
    assert "share" in capsys.readouterr().err
