"""k cheapest simple paths against scipy's Yen and networkx, on graphs that make searches detour."""

import itertools

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csgraph, csr_array, csr_matrix

from diffgames.energy.shortest_paths import k_shortest_paths


def matrices(weights: np.ndarray) -> tuple[csr_array, csr_array]:
    forward = csr_array(weights)
    forward.indices, forward.indptr = forward.indices.astype(np.int32), forward.indptr.astype(np.int32)
    return forward, csr_array(forward.T)


def random_weights(seed: int, nodes: int, density: float, levels: int) -> np.ndarray:
    """Few levels make ties; the diagonal is empty."""
    random = np.random.default_rng(seed)
    weights = np.where(random.random((nodes, nodes)) < density, random.integers(1, levels + 1, (nodes, nodes)), 0)
    np.fill_diagonal(weights, 0)
    return weights / levels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 14), st.floats(0.1, 0.9), st.sampled_from([1, 3, 1000]))
def test_costs_are_scipys_and_paths_are_simple_and_different(seed, nodes, density, levels):
    weights = random_weights(seed, nodes, density, levels)
    forward, backward = matrices(weights)
    found = k_shortest_paths(forward, backward, 0, nodes - 1, 12)
    expected = csgraph.yen(csr_matrix(forward), 0, nodes - 1, 12)
    np.testing.assert_allclose([path.cost for path in found], expected, rtol=1e-12)
    assert len({path.nodes for path in found}) == len(found)
    for path in found:
        assert len(set(path.nodes)) == len(path.nodes) and path.nodes[0] == 0 and path.nodes[-1] == nodes - 1
        steps = [weights[a, b] for a, b in itertools.pairwise(path.nodes)]
        assert min(steps) > 0 and np.isclose(sum(steps), path.cost)


def test_all_simple_paths_of_a_complete_graph_in_order():
    weights = random_weights(3, 6, 1.0, 10**6)
    found = k_shortest_paths(*matrices(weights), 0, 5, 10**4)
    every = networkx.all_simple_paths(networkx.from_numpy_array(weights, create_using=networkx.DiGraph), 0, 5)
    costs = sorted(sum(weights[a, b] for a, b in itertools.pairwise(path)) for path in every)
    assert len(found) == 65
    np.testing.assert_allclose([path.cost for path in found], costs, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_free_steps_are_steps(seed):
    """Weights of zero, stored, make ties and cycles that cost nothing."""
    random = np.random.default_rng(seed)
    linked = (random.random((7, 7)) < 0.5) & ~np.eye(7, dtype=bool)
    source, target = (ends.astype(np.int32) for ends in np.nonzero(linked))
    weights = random.integers(0, 3, len(source)).astype(float)
    begins = np.searchsorted(source, np.arange(8)).astype(np.int32)
    forward = csr_array((weights, target, begins), shape=(7, 7))
    graph = networkx.DiGraph(zip(source.tolist(), target.tolist(), strict=True))
    graph.add_nodes_from(range(7))
    cost = dict(zip(zip(source.tolist(), target.tolist(), strict=True), weights.tolist(), strict=True))
    every = [sum(cost[step] for step in itertools.pairwise(path)) for path in networkx.all_simple_paths(graph, 0, 6)]
    found = k_shortest_paths(forward, csr_array(forward.T), 0, 6, 10)
    assert [path.cost for path in found] == sorted(every)[:10]


def test_a_detour_leaves_the_tree_of_shortest_paths():
    """From the spur 1 every shortest way on leads back through the prefix (0, 1): only a search finds 1 – 3 – 4."""
    weights = np.zeros((5, 5))
    weights[0, 1], weights[1, 2], weights[2, 0], weights[0, 4] = 1, 1, 1, 1
    weights[1, 3], weights[3, 0], weights[3, 4] = 1, 1, 50
    found = k_shortest_paths(*matrices(weights), 0, 4, 3)
    assert [path.nodes for path in found] == [(0, 4), (0, 1, 3, 4)]
    assert [path.cost for path in found] == [1.0, 52.0]


@pytest.mark.parametrize("target", [0, 2])
def test_no_path_to_oneself_or_out_of_reach(target):
    weights = np.zeros((3, 3))
    weights[0, 1], weights[2, 1] = 1, 1
    assert k_shortest_paths(*matrices(weights), 0, target, 3) == []
