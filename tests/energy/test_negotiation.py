"""Negotiation reaches the clearing, with losses too; plans are carried out within limits; payments add up to zero."""

import math

import jax
import numpy as np
import pytest

from diffgames.energy.baselines import baseline_welfare, efficiency
from diffgames.energy.exact_clearing import integer_optimum, linear_optimum
from diffgames.energy.linear_program import quantities
from diffgames.energy.market import draw_market, unit_warnings
from diffgames.energy.negotiation import MEDIAN, P95, SIGMA, latency_quantiles, negotiate
from diffgames.energy.plan import carried_out, drawn, worth
from diffgames.energy.settlement import best_responses, settle


@pytest.fixture(scope="module")
def market():
    return draw_market(40, seed=3, feeder=0.08)


@pytest.mark.parametrize(("loss", "deadline"), [(0.0, math.inf), (0.1, math.inf), (0.0, 150.0)])
def test_quotes_tend_to_the_prices_that_clear(market, loss, deadline):
    talk, first = negotiate(market, jax.random.key(0), 400, loss=loss, deadline=deadline)
    for seed in range(1, 8):
        talk, last = negotiate(market, jax.random.key(seed), 400, talk, loss=loss, deadline=deadline)
    assert np.abs(np.asarray(talk.y.price) - linear_optimum(market).prices).max() < 0.5
    assert float(last.residual[-1]) < 1e-2 * float(first.residual[0])
    sent = np.asarray(last.messages)
    assert (sent <= 2 * market.agents).all() and (sent == 2 * market.agents).all() == (
        loss == 0 and deadline == math.inf
    )
    assert deadline == math.inf or np.asarray(last.milliseconds).max() <= deadline


def test_what_is_carried_out_keeps_every_limit(market):
    for seed in range(5):
        draw = np.random.default_rng(seed)
        wild = jax.tree.map(lambda part: draw.normal(0.0, 0.3, part.shape), linear_optimum(market).plan)
        plan = carried_out(market, wild)
        assert np.minimum(plan.charge, plan.discharge).max() == 0.0
        for part, most in (
            (plan.charge, market.charge),
            (plan.stored, market.capacity),
            (plan.elastic, market.elastic),
        ):
            assert part.min() >= -1e-12 and (part <= most + 1e-12).all()
        before = np.concatenate([market.start[None], plan.stored[:-1]])
        change = market.charge_efficiency * plan.charge - plan.discharge / market.discharge_efficiency
        assert plan.stored == pytest.approx(before + change, abs=1e-12)
        assert plan.starts.sum(axis=0) == pytest.approx(market.has_appliance)
        needed = (market.load + market.running @ plan.starts * market.appliance).sum(axis=1)
        flow = drawn(market, plan).sum(axis=1)
        assert (flow <= np.maximum(market.feeder, needed) + 1e-9).all() and (flow >= -market.feeder - 1e-9).all()


def test_better_informed_is_better_off(market):
    """Netting the same plans saves fees, and no way of acting beats the MILP's bound."""
    found, exact = baseline_welfare(market), integer_optimum(market, gap=1e-5)
    assert found["pooled"] >= found["autarky"] and max(found.values()) < exact.bound
    talk, _ = negotiate(market, jax.random.key(0), 400)
    with jax.enable_x64(True):
        plan = jax.tree.map(np.asarray, quantities(market, talk.x))
    won = worth(market, carried_out(market, plan))
    assert won <= exact.bound and efficiency(won, found["none"], exact.welfare) > 0.9


def test_payments_add_up_and_the_uplift_is_at_most_what_binaries_cost(market):
    relaxed, exact = linear_optimum(market), integer_optimum(market, gap=1e-6)
    settled = settle(market, exact.plan, relaxed.prices)
    assert settled.payments_sum == pytest.approx(0.0, abs=1e-9)
    assert settled.rent == pytest.approx(float(settled.energy.sum()) - settled.grid)
    assert settled.uplift.min() >= -1e-9
    assert settled.uplift.sum() <= relaxed.welfare - exact.welfare + 1e-4 * abs(relaxed.welfare)


def test_a_best_response_beats_every_plan_that_can_be_carried_out(market):
    prices = linear_optimum(market).prices
    best = best_responses(market, prices)
    for seed in range(5):
        draw = np.random.default_rng(seed)
        wild = jax.tree.map(lambda part: draw.normal(0.0, 0.3, part.shape), linear_optimum(market).plan)
        plan = carried_out(market, wild)
        earned = (market.elastic_value * plan.elastic).sum(axis=0) - prices @ drawn(market, plan)
        assert (earned <= best + 1e-9).all()


def test_latencies_are_the_stated_law():
    assert pytest.approx(0.5225, abs=5e-5) == SIGMA
    quantiles = latency_quantiles(np.asarray([0.5, 0.9, 0.95, 0.99]))
    assert quantiles == pytest.approx([MEDIAN, 91.8, P95, 158.5], abs=0.05)


def test_prices_per_kilowatt_hour_are_noticed():
    assert unit_warnings([0.3, -0.05]) and not unit_warnings([30.0, -5.0]) and not unit_warnings([0.0])
