"""The crowd of prosumers against closed forms, linear programs that know nothing of it, and limits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.energy.exact_clearing import linear_optimum
from diffgames.energy.market import Market, batteries, check
from diffgames.energy.prosumers import READINGS, Prosumers, solve
from diffgames.errors import InvalidInput
from diffgames.verification.prosumer_response import certify_prosumers, tangent_gains

ALPHA, BETA = np.array([10.0, 25.0]), 40.0


def two_hours(share):
    """One type with lossless batteries, free of wear, and others alike but for that."""
    types = len(share)
    has = (np.arange(types) == 0).astype(float)
    load = np.tile(np.array([[0.6], [1.2]]), (1, types))
    none = np.zeros(types)
    return Prosumers(
        np.array(share), np.arange(types), load, 0 * load, none, 9.0 * has, none, 9.0 * has, ALPHA, BETA,
        efficiency=1.0, wear=0.0,
    )  # fmt: skip


def drawn_crowd(seed, types=3, members=2, hours=8, slope=60.0):
    draw = np.random.default_rng(seed)
    agents = types * members
    capacity = draw.uniform(1.0, 4.0, agents) * (np.arange(agents) % 2)
    return Prosumers(
        share=np.full(types, 1.0 / types),
        kind=np.repeat(np.arange(types), members),
        load=draw.uniform(0.5, 1.5, (hours, agents)),
        solar=draw.uniform(0.0, 0.5, (hours, agents)),
        flexible=draw.uniform(0.0, 0.4, agents),
        capacity=capacity,
        start=draw.uniform(0.0, 1.0, agents) * capacity,
        power=0.5 * capacity,
        intercept=draw.uniform(-30.0, 60.0, hours),
        slope=slope,
        wear=1.0,
        moving=4.0,
    )


@pytest.mark.parametrize(
    ("reading", "own"),
    [("mfg", lambda a, b, s: (a + BETA * b) / (2 * BETA * s)),
     ("mftg", lambda a, b, s: (a + BETA * (1 + s) * b) / (4 * BETA * s)),
     ("team", lambda a, b, s: (a + 2 * BETA * b) / (4 * BETA * s))],
)  # fmt: skip
def test_two_hours_in_closed_form(reading, own):
    """The stored x with p₁ = p₂, plus what a type or all move the price: 2βλx = Δα + βΔload, and alike."""
    crowd = two_hours([0.3, 0.7])
    flow = crowd.drawn(solve(crowd, reading)) - crowd.load
    known = own(ALPHA[1] - ALPHA[0], 0.6, 0.3)
    np.testing.assert_allclose(flow[:, 0], [known, -known], atol=1e-7)
    np.testing.assert_allclose(flow[:, 1], 0.0, atol=1e-12)


def test_where_nobody_moves_the_price_it_is_the_linear_program_of_the_market():
    price = np.array([20.0, 5.0, 60.0, 30.0, 80.0, 10.0])
    none, one = np.zeros((6, 1)), np.ones(1)
    crowd = Prosumers(
        one, np.zeros(1, int), none, none, 0 * one, 2.0 * one, 0 * one, 0.8 * one, price, 0.0, efficiency=0.9, wear=0.0
    )
    market = batteries(price, capacity=2.0, charge=0.8, discharge=0.8, efficiency=(0.9, 0.9))
    earned = linear_optimum(market).welfare
    for reading in READINGS:
        assert crowd.costs(solve(crowd, reading))[0] == pytest.approx(-earned, abs=1e-6)
    assert tangent_gains(crowd, crowd.idle(), "mfg")[0] == pytest.approx(earned, abs=1e-9), "a planted idle day"


def test_the_price_is_that_of_a_supply_curve_in_steps():
    """Generators as blocks of a linear program (solar that could be consumed at their cost) meet the same crowd."""
    crowd = replace(drawn_crowd(1, slope=50.0), wear=0.0, flexible=np.zeros(6), start=np.zeros(6))
    crowd = replace(crowd, intercept=np.abs(crowd.intercept))
    blocks, width, hours = 400, 0.005, len(crowd.intercept)
    cost = crowd.intercept[:, None] + crowd.slope * width * (np.arange(blocks) + 0.5)
    made = np.full((hours, blocks), width)

    def both(own, generators):
        return np.concatenate([own, generators], axis=-1)

    w, agents, none = crowd.weight, len(crowd.kind), np.zeros(blocks)
    each, blank = np.ones(agents + blocks), np.zeros((hours, agents))
    market = check(
        Market(
            price=np.zeros(hours), feeder=np.zeros(hours), fee=0.0, load=both(w * crowd.load, 0 * made),
            solar=both(w * crowd.solar, made), elastic=both(blank, made), elastic_value=both(blank, cost),
            capacity=both(w * crowd.capacity, none), start=0 * each, charge=both(w * crowd.power, none),
            discharge=both(w * crowd.power, none), charge_efficiency=crowd.efficiency * each,
            discharge_efficiency=crowd.efficiency * each, appliance=0 * each,
            startable=np.zeros((1, agents + blocks)), appliance_hours=hours,
        )
    )  # fmt: skip
    found, choice = linear_optimum(market), solve(crowd, "mfg")
    assert found.prices is not None
    np.testing.assert_allclose(crowd.price(choice), found.prices, atol=crowd.slope * width)
    generated = float((cost * made).sum() - found.welfare)
    assert generated == pytest.approx(crowd.society(choice), abs=hours * crowd.slope * width**2 / 8 + 1e-6)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_no_plan_of_anybodys_gains_and_each_reading_is_best_at_what_it_minimizes(seed):
    crowd = drawn_crowd(seed)
    choices = {reading: solve(crowd, reading) for reading in READINGS}
    certificate = certify_prosumers(crowd, choices, ("a", "b", "c"))
    assert certificate.gap < 1e-6 and not certificate.significant
    assert max(value for name, value in certificate.checks.items() if "limits" in name) < 1e-7
    society = {reading: crowd.society(choice) for reading, choice in choices.items()}
    bill = {reading: crowd.weight @ crowd.costs(choice) for reading, choice in choices.items()}
    assert society["mfg"] <= min(society.values()) + 1e-6 and bill["team"] <= min(bill.values()) + 1e-6


def test_one_type_is_the_team_and_many_types_take_the_price():
    crowd = drawn_crowd(3, types=1, members=6)
    np.testing.assert_allclose(crowd.price(solve(crowd, "mftg")), crowd.price(solve(crowd, "team")), atol=1e-6)
    draw = two_hours([0.3, 0.7])
    off = []
    for parts in (1, 10, 100):
        share = np.full(parts, 0.3 / parts).tolist()
        many = two_hours([*share, 0.7])
        has = (np.arange(parts + 1) < parts).astype(float)
        many = replace(many, capacity=9.0 * has, power=9.0 * has)
        off.append(np.abs(many.price(solve(many, "mftg")) - draw.price(solve(draw, "mfg"))).max())
    assert off[0] > 5 * off[1] and off[1] > 5 * off[2]


def test_storage_takes_the_peak_down():
    crowd = drawn_crowd(5)
    bare = crowd.without_storage()
    assert crowd.price(solve(crowd, "mfg")).max() < bare.price(solve(bare, "mfg")).max() - 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"share": np.array([0.3, 0.3])}, "sum to one"),
        ({"load": np.array([[0.6, 0.6], [1.2, -0.1]])}, "load"),
        ({"start": np.array([9.5, 0.0])}, "at most the battery's capacity, 9.0 MWh"),
        ({"slope": -1.0}, "slope"),
        ({"efficiency": 1.2}, "efficiency"),
    ],
)
def test_what_cannot_be_is_told(change, words):
    with pytest.raises(InvalidInput, match=words):
        replace(two_hours([0.3, 0.7]), **change)
