"""Bids a day ahead against the newsvendor's quantile and a search, their cost against the risk measure."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from diffgames.energy.bidding import best_bid, bid_costs
from diffgames.errors import InvalidInput
from diffgames.risk import cvar, mean_cvar

DRAW = np.random.default_rng(0)
NEED, PRICE = 1.0 + 0.2 * DRAW.standard_t(4.0, (41, 3)), np.array([30.0, 50.0, -10.0])


def test_without_risk_it_is_the_quantile_of_the_newsvendor():
    found = best_bid(NEED, PRICE, 30.0, 10.0, 0.1, 0.0)
    np.testing.assert_allclose(found, np.sort(NEED, axis=0)[int(np.floor(0.75 * 41))], atol=1e-9)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_with_risk_no_other_bid_of_one_hour_is_better(gamma):
    need, price = NEED[:, :1], PRICE[:1]

    def risk(bid):
        return float(mean_cvar(bid_costs(need, price, np.atleast_1d(bid), 30.0, 10.0), 0.1, gamma))

    searched = minimize_scalar(risk, bounds=(0.0, 3.0), method="bounded", options={"xatol": 1e-9})
    assert risk(best_bid(need, price, 30.0, 10.0, 0.1, gamma)) == pytest.approx(searched.fun, abs=1e-6)


def test_risk_aversion_lowers_the_cvar_and_costs_in_the_mean():
    costs = [bid_costs(NEED, PRICE, best_bid(NEED, PRICE, 30.0, 10.0, 0.1, gamma), 30.0, 10.0) for gamma in (0.0, 1.0)]
    assert float(cvar(costs[1], 0.1)) < float(cvar(costs[0], 0.1)) and costs[1].mean() > costs[0].mean()


@pytest.mark.parametrize("change", [{"short": -1.0}, {"gamma": 1.5}, {"tail_mass": 0.0}])
def test_what_cannot_be_is_told(change):
    with pytest.raises(InvalidInput, match="shares ≤ 1"):
        best_bid(NEED, PRICE, **({"short": 30.0, "left": 10.0, "tail_mass": 0.1, "gamma": 0.5} | change))
