"""Clearing: HiGHS's optimum to rounding, its derivatives by finite differences of HiGHS, infeasibility proved."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.energy import clearing, linear_program
from diffgames.energy.clearing import clear
from diffgames.energy.exact_clearing import linear_optimum, sparse_program
from diffgames.energy.market import batteries, draw_market
from diffgames.errors import InvalidInput, RunFailed

AGENTS = 40  # one shape for all tests: programs are compiled once


@pytest.mark.parametrize(
    ("price", "welfare"), [((-50.0, -50.0, -50.0, -50.0), 120.441989), ((-40.0, -20.0, 30.0, 60.0), 138.6)]
)
def test_one_battery_by_hand(price, welfare):
    """At −50: 2 = .9c − d/.9 with c + d = 4 over four hours, paid for c − d; rising prices: sell all that is stored."""
    market = batteries(price, capacity=2.0, charge=1.0, discharge=1.0, efficiency=(0.9, 0.9))
    found = clear(market)
    assert float(found.welfare) == pytest.approx(welfare, abs=1e-6)
    assert float(found.bound) == pytest.approx(welfare, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("feeder", [0.08, 0.12])
def test_a_day_of_many_is_that_of_highs(seed, feeder):
    market = draw_market(AGENTS, seed=seed, feeder=feeder)
    found, exact = clear(market), linear_optimum(market)
    assert float(found.welfare) == pytest.approx(exact.welfare, rel=1e-8)
    assert float(found.bound) == pytest.approx(exact.welfare, rel=1e-8)
    assert float(found.gap) <= 1e-9 and float(found.residual) < 1e-6
    assert np.asarray(found.prices) == pytest.approx(exact.prices, abs=1e-6)


def test_units_of_money_and_power_do_not_matter():
    """A thousandfold price or size is cleared in about as many steps, to the same relative gap."""
    market = draw_market(AGENTS, seed=1)
    dear = eqx.tree_at(
        lambda m: (m.price, m.fee, m.elastic_value), market, (1e3 * market.price, 5e3, 1e3 * market.elastic_value)
    )
    found, scaled = clear(market), clear(dear, tolerance=1e-8)
    assert float(scaled.welfare) == pytest.approx(1e3 * float(found.welfare), rel=1e-7)
    sizes = ("load", "solar", "elastic", "capacity", "start", "charge", "discharge", "appliance", "feeder")
    small = dataclasses.replace(market, **{name: 1e-3 * getattr(market, name) for name in sizes})
    assert float(clear(small, tolerance=1e-8).welfare) == pytest.approx(1e-3 * float(found.welfare), rel=1e-6)


def test_what_the_feeder_cannot_carry_is_proved_by_a_ray():
    market = draw_market(AGENTS, feeder=0.015)
    with pytest.raises(RunFailed, match=r"no plan is feasible: in hours .* MWh cannot pass the feeder"):
        clear(market)
    with pytest.raises(RunFailed, match="HiGHS found no clearing"):
        linear_optimum(market)
    data = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), market)
    _, found = clearing.optimum(data, 1e-9, 20_000)
    program = sparse_program(market)  # Farkas by other matrices: y·b > max y·Ax over the box and the triangles
    ray = found.ray
    capacity = np.where(market.capacity > 0, market.capacity, 1.0)
    y = np.concatenate([np.ravel(ray.stored / capacity[None]), ray.start, ray.price])
    gains = np.minimum((program.equal.T @ y) * program.upper, 0.0)
    cells = market.load.size
    gains[:cells] = np.minimum(gains[:cells], gains[cells : 2 * cells])
    gains[cells : 2 * cells] = 0.0
    missing = gains.sum() - y @ program.right
    assert missing == pytest.approx(float(found.missing), rel=1e-9) and missing > 1.0
    assert float(linear_program.bound(data, ray, costs=0.0)) > 0


def test_welfare_and_prices_are_differentiable_by_the_data():
    """Against central differences of HiGHS: the feeder's limit, a price, a capacity, what a block is worth."""
    market = draw_market(AGENTS, seed=3, feeder=0.08)
    exact = linear_optimum(market)
    marginal = np.argwhere(np.abs(market.elastic_value - exact.prices[:, None]) < 1e-9)
    assert len(marginal), "a block that sets its hour's price, or the test says nothing of prices"
    hour, agent = marginal[0]
    base = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), market)
    has = int(np.argmax(market.capacity))

    def moved(data, change):
        feeder, price, capacity, value = change
        where = (lambda m: m.feeder, lambda m: m.price, lambda m: m.capacity, lambda m: m.elastic_value)
        places = (2, 20, has, (hour, agent))
        for get, place, by in zip(where, places, (feeder, price, capacity, value), strict=True):
            data = eqx.tree_at(get, data, jnp.asarray(get(data)).at[place].add(by))
        return data

    def outcome(change):
        found = clear(moved(base, change))
        return jnp.stack([found.welfare, found.prices[hour], found.plan.stored[18, has], found.plan.imports[2]])

    ours = jax.jacobian(outcome)(jnp.zeros(4))
    step, theirs = 1e-4, []
    for direction in np.eye(4):
        ends = [linear_optimum(moved(base, sign * step * direction)) for sign in (1.0, -1.0)]
        numbers = [[e.welfare, e.prices[hour], e.plan.stored[18, has], e.plan.imports[2]] for e in ends]
        theirs.append((np.asarray(numbers[0]) - np.asarray(numbers[1])) / (2 * step))
    assert np.asarray(ours) == pytest.approx(np.stack(theirs, axis=1), abs=1e-4)
    assert abs(float(ours[1, 3])) == pytest.approx(1.0), "the block that sets the price passes its value on"


def test_what_cannot_be_is_refused_in_words():
    market = draw_market(AGENTS)
    wrong = {
        "start": 2.0 * market.capacity,
        "price": market.price[:-1],
        "charge_efficiency": 1.5 * np.ones(AGENTS),
        "load": np.full_like(market.load, np.nan),
        "elastic": -market.elastic,
    }
    for name, value in wrong.items():
        with pytest.raises(InvalidInput, match=f"^{name}: "):
            clear(dataclasses.replace(market, **{name: value}))
