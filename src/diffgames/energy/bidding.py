"""What to buy a day ahead of an uncertain need, for who minimizes (1 − γ) mean + γ CVaR of the day's cost.

Need q_st of scenario s in hour t, bid b_t at the price λ_t; what is short costs λ_t + k⁺, what is left earns λ_t − k⁻:

    L_s(b) = Σ_t λ_t q_st + k⁺ (q_st − b_t)⁺ + k⁻ (b_t − q_st)⁺      €.

With the worst share α of scenarios (Rockafellar & Uryasev 2000) that is one linear program over b, z, the excesses
ξ_s ≥ L_s − z and both parts of q − b. Where γ = 0 the hours part, and b_t is the k⁺/(k⁺ + k⁻)-quantile (newsvendor).
"""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.optimize import linprog

from diffgames.errors import InvalidInput, RunFailed

Scenarios = Float[np.ndarray, "scenarios hours"]
Day = Float[np.ndarray, " hours"]


def bid_costs(need: Scenarios, price: Day, bid: Day, short: float, left: float) -> Float[np.ndarray, " scenarios"]:
    """L in €."""
    return need @ price + (short * np.maximum(need - bid, 0.0) + left * np.maximum(bid - need, 0.0)).sum(1)


def best_bid(need: Scenarios, price: Day, short: float, left: float, tail_mass: float, gamma: float) -> Day:
    """b in MW; k⁺ = `short` and k⁻ = `left` in €/MWh. `InvalidInput` where one is negative, or γ or α no share."""
    if min(short, left) < 0 or not 0 <= gamma <= 1 or not 0 < tail_mass <= 1:
        raise InvalidInput("short, left, gamma, tail_mass", [short, left, gamma, tail_mass], "costs ≥ 0, shares ≤ 1")
    scenarios, hours = need.shape
    cells, excess = scenarios * hours, gamma / (tail_mass * scenarios)
    sums = sp.kron(sp.identity(scenarios), np.ones((1, hours)))
    mean = (1.0 - gamma) / scenarios
    cost = [
        np.zeros(hours),
        [gamma],
        np.full(scenarios, excess),
        np.full(cells, mean * short),
        np.full(cells, mean * left),
    ]
    over = sp.hstack(
        [sp.csr_array((scenarios, hours)), -np.ones((scenarios, 1)), -sp.identity(scenarios), short * sums, left * sums]
    )
    parts = sp.hstack(
        [
            sp.kron(np.ones((scenarios, 1)), sp.identity(hours)),
            sp.csr_array((cells, 1 + scenarios)),
            sp.identity(cells),
            -sp.identity(cells),
        ]
    )
    bounds = [(None, None)] * (hours + 1) + [(0.0, None)] * (scenarios + 2 * cells)
    found = linprog(np.concatenate(cost), over, -need @ price, parts, need.ravel(), bounds, method="highs")
    if found.x is None:
        raise RunFailed(f"the bids were not found: {found.message}", "look at the scenarios and the prices")
    return found.x[:hours]
