"""The study `energy-market`: money and energy add up, an attack costs what it must, wrong input is told early."""

import json

import numpy as np
import pytest

from diffgames.cli import main
from diffgames.energy.hours import synthetic_hours
from diffgames.energy.prosumer_profiles import Supply, day_of
from diffgames.studies.energy_market_steps import EnergyMarketConfig, attacked_day, graph_of, neighborhood, paid_week
from diffgames.studies.prosumers import crowd_from

SMALL = ["members=2", "trees=4", "updates=20", "scenarios=10", "rounds=60", "nodes=60"]


@pytest.fixture(scope="module")
def crowd():
    config = EnergyMarketConfig(members=2)
    return crowd_from(config, day_of(synthetic_hours("Europe/Madrid", 0, 60)), Supply(0.0, 100.0), 0)


@pytest.mark.slow
def test_a_small_week_adds_up_and_is_verified(tmp_path, capsys):
    assert main(["run", "energy-market", "--out", str(tmp_path / "run"), "--set", *SMALL]) == 0
    found = json.loads((tmp_path / "run" / "result.json").read_text())["headline"]
    assert abs(found["payments_sum"]) < 1e-6 and 0 <= found["exploitability"] < 1e-4
    assert found["efficiencies"]["autarky"] < found["efficiencies"]["pooled"] < found["efficiency"] <= 1.0 + 1e-6
    assert found["price_of_anarchy"] >= 1.0 and found["cvar"] < found["cvar_median"]
    assert found["messages"] == 120.0 and sum(found["gain"].values()) > 0
    costs = found["malicious_costs"]
    assert costs[0] == 0.0 and costs[1] < costs[2] and 0.9 < found["success"] <= found["feasible"]
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert "the certificate is reproduced bit for bit" in capsys.readouterr().out


def test_the_neighborhood_is_the_crowd_to_scale(crowd):
    config = EnergyMarketConfig(members=2, size=3.0)
    market = neighborhood(config, crowd, np.full(24, 40.0))
    np.testing.assert_allclose(market.load.sum(1), 3.0 * crowd.load @ crowd.weight)
    np.testing.assert_allclose(market.solar.sum(1), 3.0 * crowd.solar @ crowd.weight)
    assert market.capacity.sum() == pytest.approx(3.0 * 0.2 * 6.0)


def test_attackers_cost_twice_the_fee_where_the_price_stays(crowd):
    """Without sun the neighborhood imports at π + φ whatever is reported, and sells what was invented at π − φ."""
    config = EnergyMarketConfig(members=2, pv=0.0, malicious=0.25, overstatement=0.4)
    dark = crowd_from(config, day_of(synthetic_hours("Europe/Madrid", 0, 60)), Supply(0.0, 100.0), 0)
    price = 40.0 + 20.0 * np.sin(np.arange(24))
    market = neighborhood(config, dark, price)
    found = attacked_day(config, market, price + 5.0, 0)
    liars = np.random.default_rng([0, 2]).permutation(8)[:2]
    invented, load = 0.4 * market.load[:, liars].sum(), market.load.sum(0)
    others = 1.0 - load[liars].sum() / load.sum()
    assert found["attack"][0] == pytest.approx(2 * 5.0 * invented * others, rel=1e-6)
    assert found["attack"][1] == pytest.approx(-2 * 5.0 * invented * (1 - others), rel=1e-6)


def test_payments_are_those_owed_in_satoshi():
    config = EnergyMarketConfig(nodes=60, sat_per_euro=1000.0)
    graph = graph_of(config, 3, 0)
    payments = paid_week(config, graph, np.array([[2.0, -3.0, 0.5]]), 0)
    assert [amount for _, amount, _ in payments] == [2_000_000, 3_000_000, 500_000]
    for made, amount, delivers in payments:
        assert not made.made or (delivers and sum(amounts[-1] for _, amounts in made.parts) == amount)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["share=[0.5,0.2,0.2,0.2]"], "sum to one"),
        (["malicious=0.4"], "malicious"),
        (["start=[0,9]"], "battery's capacity"),
        (["members=20", "nodes=50"], "one for each agent and the operator"),
        (["supply=[0.03,-0.1]"], "slope"),
        (["tail_mass=0"], "tail_mass"),
    ],
)
def test_bad_input_is_told_before_the_forecast(tmp_path, capsys, settings, words):
    assert main(["run", "energy-market", "--out", str(tmp_path / "run"), "--set", *settings]) == 2
    told = capsys.readouterr().err
    assert words in told and told.splitlines()[-1].startswith("diffgames: ")
