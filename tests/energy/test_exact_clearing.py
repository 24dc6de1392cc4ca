"""HiGHS's routes: the binaries by hand, plans that keep them, a bound where time is up."""

import numpy as np
import pytest
from scipy.optimize import linprog

from diffgames.energy.exact_clearing import integer_optimum, linear_optimum
from diffgames.energy.market import batteries, draw_market
from diffgames.energy.plan import drawn, welfare
from diffgames.errors import RunFailed


@pytest.mark.parametrize(("price", "welfare"), [((-50.0,) * 4, 118.5), ((-40.0, -20.0, 30.0, 60.0), 138.6)])
def test_one_battery_by_hand(price, welfare):
    """At −50: charge 3 of 4 hours and discharge .63 between, 50 · 2.37; the rising prices never ask for both modes."""
    found = integer_optimum(batteries(price, capacity=2.0, charge=1.0, discharge=1.0, efficiency=(0.9, 0.9)))
    assert found.welfare == pytest.approx(welfare, abs=1e-6) and found.solved


def test_one_battery_by_brute_force():
    """All 2⁴ modes of four hours, each a linear program, are no better than the MILP."""
    market = batteries([-30.0, -50.0, -10.0, -45.0], capacity=2.0, charge=1.0, discharge=0.8, efficiency=(0.9, 0.8))
    best = -np.inf
    for modes in np.ndindex(2, 2, 2, 2):
        best = max(best, _best_of(market, np.asarray(modes, bool)))
    assert integer_optimum(market).welfare == pytest.approx(best, abs=1e-7)


def _best_of(market, charges):
    stored = np.where(charges, 0.9, -1 / 0.8)  # x: power in the hour's one mode
    below = np.tril(np.ones((4, 4))) * stored
    upper = np.where(charges, 1.0, 0.8)
    cost = np.where(charges, market.price, -market.price)
    found = linprog(cost, np.vstack([below, -below]), [2.0] * 4 + [0.0] * 4, bounds=[(0.0, most) for most in upper])
    return -found.fun


def test_the_milp_keeps_its_binaries_and_lies_below_the_relaxation():
    market = draw_market(25, seed=2)
    exact, relaxed = integer_optimum(market, gap=1e-5), linear_optimum(market)
    assert exact.welfare <= exact.bound + 1e-6 <= relaxed.welfare + 1e-3 * abs(relaxed.welfare)
    assert exact.solved and exact.welfare < relaxed.welfare - 1e-3, "negative prices make the binaries bind"
    assert welfare(market, exact.plan) == pytest.approx(exact.welfare)
    assert np.minimum(exact.plan.charge, exact.plan.discharge).max() < 1e-6
    assert np.abs(exact.plan.starts - exact.plan.starts.round()).max() < 1e-6
    assert drawn(market, exact.plan).sum(axis=1) == pytest.approx(exact.plan.imports - exact.plan.exports, abs=1e-6)


def test_where_the_nodes_are_up_the_bound_stands_beside():
    """One node and a gap that it does not reach: some plan below a bound, or the words that there is none."""
    try:
        found = integer_optimum(draw_market(30, seed=1), nodes=1, gap=1e-12)
    except RunFailed as failure:
        assert "HiGHS more nodes" in str(failure)
    else:
        assert found.welfare <= found.bound + 1e-9 * abs(found.bound)
