"""Payments on graphs that can be followed by hand, and invariants on drawn ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffgames.energy.liquidity import draw_balances
from diffgames.energy.payment_flows import flow_delivers, least_fee
from diffgames.energy.payments import HOP_MEDIAN, HOP_SIGMA, Payer, forwarded_amounts, pay
from payment_networks import row, small, synthetic

SINGLE = Payer(in_parts=False)


def balances(graph, **given):
    """msat by direction, full elsewhere."""
    found = 1000 * graph.capacity
    for name, value in given.items():
        found[row(graph, int(name[1]), int(name[2]))] = value
    return found


def test_a_path_forwards_later_fees_too_and_the_payer_pays_itself_none():
    graph = small(ppm=np.asarray([900, 1000, 0, 0, 0, 0, 0, 0]))
    rows = np.asarray([row(graph, 0, 1), row(graph, 1, 3)])
    assert forwarded_amounts(graph, rows, 2_000_999) == (2_000_999 + 1000 + 2000, 2_000_999)


def test_a_failure_teaches_and_the_next_path_is_taken():
    graph = small()
    made = pay(graph, balances(graph, b13=1_000_000), 0, 3, 2_000_000, SINGLE, np.random.default_rng(0))
    assert made.made and made.tries == 2 and len(made.parts) == 1
    assert graph.source[made.parts[0][0]].tolist() == [0, 2] and made.fee == 40_000


def test_a_single_path_fails_where_parts_arrive():
    """6,000 sat do not fit on either side (5,000 each), 3,000 do on both."""
    graph = small()
    truth = balances(graph, b13=5_000_000, b23=5_000_000)
    random = np.random.default_rng(0)
    assert not pay(graph, truth, 0, 3, 6_000_000, SINGLE, random).made
    made = pay(graph, truth, 0, 3, 6_000_000, Payer(), random)
    assert made.made and sum(amounts[-1] for _, amounts in made.parts) == 6_000_000
    assert not pay(graph, truth, 0, 3, 10_000_001, Payer(), random).made
    assert flow_delivers(graph, truth, 0, 3, 10_000) and not flow_delivers(graph, truth, 0, 3, 10_001)


def test_a_fee_that_breaks_the_limit_of_a_direction_is_a_failure_not_a_loop():
    """The fee lifts what 0 – 1 forwards above its HTLC maximum, and the payer knows no better than to try once."""
    graph = small(htlc_max_msat=np.asarray([2_000_000, 10**7, 10, 10**7, 10**7, 10**7, 10**7, 10**7]),
                  htlc_min_msat=np.zeros(8, int))  # fmt: skip
    found = pay(graph, balances(graph), 0, 3, 2_000_000, SINGLE, np.random.default_rng(0))
    assert not found.made and found.tries == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["uniform", "bimodal"]), st.booleans())
def test_what_arrives_was_there_and_no_payer_beats_the_flow(seed, law, in_parts):
    graph, random = synthetic(seed % 7), np.random.default_rng(seed)
    truth = draw_balances(graph, random, law)
    source, target = (int(node) for node in random.choice(60, 2, replace=False))
    amount = int(10 ** random.uniform(2.0, 7.0))
    found = pay(graph, truth, source, target, 1000 * amount, Payer(in_parts=in_parts, tries=20), random)
    used = np.zeros(len(graph), np.int64)
    for rows, amounts in found.parts:
        ends = [source, *graph.target[rows].tolist()]
        assert ends[-1] == target and len(set(ends)) == len(ends) and graph.source[rows].tolist() == ends[:-1]
        assert (graph.smallest[rows] <= amounts).all() and (amounts <= graph.largest[rows]).all()
        used[rows] += np.asarray(amounts)
    assert (used <= truth).all() and found.tries <= 20
    if not found.made:
        return
    assert sum(amounts[-1] for _, amounts in found.parts) == 1000 * amount
    assert flow_delivers(graph, truth, source, target, amount)
    bound = least_fee(graph, truth, source, target, amount)
    hops = sum(len(rows) for rows, _ in found.parts)
    assert bound is not None and found.fee >= bound * (1 - 1e-7) - hops


def test_the_least_fee_by_hand():
    """7,000 sat: 5,000 at 1,000 ppm, 2,000 at 20,000 ppm; the payer's own directions are free; 10,001 do not fit."""
    graph = small()
    truth = balances(graph, b13=5_000_000, b23=5_000_000)
    assert least_fee(graph, truth, 0, 3, 7_000) == pytest.approx(5_000 + 40_000)
    assert least_fee(graph, truth, 0, 3, 10_001) is None


def test_time_is_the_assumed_law():
    """One path of two hops: four log-normal times, whose mean is 4 m exp(σ²/2)."""
    graph, random = small(), np.random.default_rng(2)
    drawn = [pay(graph, balances(graph), 0, 3, 2_000_000, SINGLE, random).milliseconds for _ in range(400)]
    expected = 4 * HOP_MEDIAN * np.exp(HOP_SIGMA**2 / 2)
    assert abs(np.mean(drawn) - expected) < 4 * stats.sem(drawn)
    quantiles = stats.lognorm(HOP_SIGMA, scale=HOP_MEDIAN).ppf([0.5, 0.9, 0.95, 0.99])
    np.testing.assert_allclose(quantiles, [47.0, 91.8, 111.0, 158.5], atol=0.1)
