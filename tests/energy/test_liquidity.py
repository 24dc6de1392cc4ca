"""Drawn balances and what a payer may conclude about them."""

import numpy as np
import pytest
from scipy import stats

from diffgames.energy.liquidity import BIMODAL_SCALE, LearnedBounds, draw_balances
from payment_networks import row, small, synthetic


@pytest.mark.parametrize("law", ["uniform", "bimodal"])
def test_the_two_sides_share_the_capacity_and_the_law_is_the_one_named(law):
    graph = synthetic(nodes=1500)
    balance = draw_balances(graph, np.random.default_rng(1), law)
    assert (balance >= 0).all() and (balance + balance[graph.twin] == 1000 * graph.capacity).all()
    share = (balance / (1000 * graph.capacity))[graph.source < graph.target]
    low = stats.truncexpon(b=1 / BIMODAL_SCALE, scale=BIMODAL_SCALE)
    cdf = stats.uniform.cdf if law == "uniform" else lambda x: (low.cdf(x) + 1 - low.cdf(1 - np.asarray(x))) / 2
    assert stats.kstest(share, cdf).pvalue > 1e-3


def test_bounds_hold_the_balance_and_give_its_conditional_law():
    """P is the share of the balances that the bounds allow: counted one by one on a channel of 3 sat."""
    graph = small(capacity_sat=np.full(8, 3), htlc_min_msat=np.zeros(8, int), htlc_max_msat=np.full(8, 3000))
    known = LearnedBounds(graph, np.full(8, 1500), 0)
    one = row(graph, 1, 3)
    known.forwarded(one, 700)
    known.locked[one] = 700
    known.forwarded(one, 300)
    known.refused(one, 1500)
    possible = [b for b in range(3001) if 1000 <= b < 2200]
    for amount in (1, 250, 300, 301, 900, 1499, 1500):
        expected = np.mean([b >= 700 + amount for b in possible])
        assert known.success(amount, np.asarray([one]))[0] == pytest.approx(expected, abs=1e-15)


def test_a_payer_knows_its_own_channels():
    graph = small()
    balance = np.full(8, 4_000_000)
    known = LearnedBounds(graph, balance, 0)
    rows = np.asarray([row(graph, 0, 1), row(graph, 1, 3)])
    assert known.success(4_000_000, rows)[0] == 1.0 and known.success(4_000_001, rows)[0] == 0.0
    assert 0.59 < known.success(4_000_000, rows)[1] < 0.61
