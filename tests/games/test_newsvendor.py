"""The risk-averse newsvendor: printed orders, closed limits, the objective by quadrature."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from diffgames.errors import InvalidInput
from diffgames.games.newsvendor import Newsvendor


@pytest.mark.parametrize(("weight", "order"), [(0.0, 0.67449), (0.5, 0.99270), (1.0, 1.11009)])
def test_the_printed_orders(weight, order):
    assert Newsvendor().solution(0.1, weight) == pytest.approx(order, abs=5e-6)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_the_objective_is_the_integral_over_the_demand(weight):
    """Quadrature gives 2.259920 and 3.168906 at the optimal orders."""
    vendor = Newsvendor()
    q = vendor.solution(0.1, weight)

    def cost(demand: float) -> float:
        return max(3 * (demand - q), q - demand)

    assert float(vendor.cost(q, jnp.asarray(2.0))) == pytest.approx(cost(2.0))
    assert float(vendor.cost(q, jnp.asarray(-2.0))) == pytest.approx(cost(-2.0))

    def tail(z: float) -> float:
        kinks = [q, q + z / 3, q - z]
        return z + quad(lambda d: max(cost(d) - z, 0) * norm.pdf(d), -9, 9, points=kinks)[0] / 0.1

    mean = quad(lambda d: cost(d) * norm.pdf(d), -9, 9, points=[q])[0]
    least = minimize_scalar(tail, bounds=(0, 10), method="bounded", options={"xatol": 1e-6}).fun
    assert vendor.objective(q, 0.1, weight) == pytest.approx((1 - weight) * mean + weight * least, abs=1e-8)


@settings(deadline=None, max_examples=8)
@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(0.005, 1.0), st.floats(-5, 5), st.floats(0.1, 5))
def test_the_limits_in_closed_form_and_no_order_is_better(short, over, mass, mean, deviation):
    vendor = Newsvendor(short, over, mean, deviation)
    low, high = vendor.limits(mass)
    assert vendor.solution(mass, 0.0) == pytest.approx(low, abs=1e-9)
    assert vendor.solution(mass, 1.0) == pytest.approx(high, abs=1e-7)
    best = vendor.solution(mass, 0.5)
    around = [vendor.objective(best + step * deviation, mass, 0.5) for step in (-1e-2, 0.0, 1e-2)]
    assert min(around) == around[1] and np.isfinite(around).all()


@pytest.mark.parametrize("name", ["short", "over", "deviation"])
def test_numbers_that_are_not_positive_are_refused(name):
    with pytest.raises(InvalidInput, match=f"{name}: 0.0 is not valid; allowed: a positive number"):
        Newsvendor(**{name: 0.0})


@pytest.mark.parametrize(("short", "over"), [(3.0, 1e18), (1e-300, 1.0), (1e300, 1e-300)])
def test_costs_that_are_too_far_apart_are_refused(short, over):
    with pytest.raises(InvalidInput, match=r"over: .* within a factor of 1e\+12 of short"):
        Newsvendor(short, over)
    end = Newsvendor(1.0, 1e12).solution(0.1, 0.5)
    assert Newsvendor(1e12, 1.0).solution(0.1, 0.5) == pytest.approx(-end, rel=1e-6)
