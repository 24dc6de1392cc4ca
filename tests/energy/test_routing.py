"""Weights of (7.1), what is pruned, and the recorded queries on the mainnet graph."""

import numpy as np
import pytest

from diffgames.energy.payment_graph import read_payment_graph
from diffgames.energy.routing import EdgeWeights, rank
from diffgames.errors import InvalidInput
from payment_networks import row, small, synthetic

MAINNET = {
    (0, 2134): (2.9388672, 4.32321697, 5.60068384, 5.71353909, 5.76094909),
    (107, 9066): (6.7974, 6.80514, 6.859, 7.0428989, 7.1675),
    (582, 7906): (7.19, 7.6299, 7.6409, 7.87933, 7.88233),
}


def test_weights_by_hand():
    graph = small(capacity_sat=np.asarray([10_000, 5_000, 10_000, 10_000] * 2), htlc_max_msat=np.full(8, 5_000_000))
    found = EdgeWeights(fee=1000.0, capacity=2.0, delay=0.1).of(graph, 2000, np.arange(8))
    assert found[row(graph, 1, 3)] == pytest.approx(1000 * (1 + 2000 * 0.001) / 2000 + 2 * 0.5 + 0.1 * 20)
    assert found[row(graph, 2, 3)] == pytest.approx(1000 * 0.02 + 0.1 * 40)


def test_what_does_not_carry_the_amount_is_pruned():
    disabled = np.asarray([1, 0, 0, 0, 0, 0, 0, 0])
    smallest = np.asarray([1000, 1000, 2_000_001, 1000, 1000, 1000, 1000, 1000])
    largest = np.asarray([10_000_000, 10_000_000, 10_000_000, 1_999_999, 10_000_000, 10_000_000, 10_000_000, 10**7])
    graph = small(disabled=disabled, htlc_min_msat=smallest, htlc_max_msat=largest)
    pruned = {(int(s), int(t)) for s, t in zip(graph.source, graph.target, strict=True)}
    usable = EdgeWeights().usable(graph, 2000)
    left = {(int(s), int(t)) for s, t in zip(graph.source[usable], graph.target[usable], strict=True)}
    assert pruned - left == {(0, 1), (0, 2), (2, 3)}
    assert not EdgeWeights(prune=6.0).usable(graph, 2000).any()
    with pytest.raises(InvalidInput, match="amount: 99999 is not valid"):
        rank(graph, 99_999)


def test_the_cheapest_of_parallel_channels_is_kept_and_told_by_its_row():
    graph = synthetic()
    doubled = small(dst=np.asarray([10, 30, 10, 30, 0, 10, 0, 20]), src=np.asarray([0, 10, 0, 20, 10, 30, 10, 30]))
    ranked = rank(doubled, 1000)
    (path,) = ranked.paths(0, 1, 5)
    rows = ranked.rows(path)
    assert doubled.delay[rows].tolist() == [30]  # no fee, where the other takes 500 ppm
    for path in rank(graph, 5000).paths(0, 40, 6):
        ranked = rank(graph, 5000)
        rows = ranked.rows(path)
        assert graph.source[rows].tolist() == list(path.nodes[:-1])
        assert graph.target[rows].tolist() == list(path.nodes[1:])
        assert EdgeWeights().of(graph, 5000, rows).sum() == pytest.approx(path.cost, rel=1e-13)


def test_the_mainnet_queries(shared_data):
    graph = read_payment_graph(shared_data / "lightning" / "ln_mainnet_2026-02-03_directed.csv.gz")
    ranked = rank(graph, 100_000)
    assert int(EdgeWeights().usable(graph, 100_000).sum()) == 58_812
    assert len(ranked.kept) == 54_747
    component = ranked.largest_component()
    assert (int(component.sum()), ranked.within(component)) == (4_521, 53_739)
    for (source, target), costs in MAINNET.items():
        assert tuple(float(f"{path.cost:.9g}") for path in ranked.paths(source, target, 5)) == costs
