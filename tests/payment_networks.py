"""Small payment-channel graphs for the tests of routing."""

import numpy as np

from diffgames.energy.payment_graph import PaymentGraph, graph_of, scale_free_graph


def small(**changed) -> PaymentGraph:
    """0 – 1 – 3 and 0 – 2 – 3, four channels of 10,000 sat; node numbers of the file are ten times the positions."""
    ends = np.asarray([[0, 10], [10, 30], [0, 20], [20, 30]])
    columns = {
        "chan": np.tile(np.arange(4), 2),
        "src": np.concatenate([ends[:, 0], ends[:, 1]]),
        "dst": np.concatenate([ends[:, 1], ends[:, 0]]),
        "capacity_sat": np.full(8, 10_000),
        "base_msat": np.asarray([0, 1000, 0, 0, 0, 0, 0, 0]),
        "ppm": np.asarray([500, 1000, 0, 20_000, 0, 0, 0, 0]),
        "cltv_delta": np.asarray([10, 20, 30, 40, 10, 20, 30, 40]),
        "htlc_min_msat": np.full(8, 1000),
        "htlc_max_msat": np.full(8, 10_000_000),
        "disabled": np.zeros(8, int),
    }
    return graph_of(**(columns | changed))


def row(graph: PaymentGraph, source: int, target: int) -> int:
    """The direction between two positions of nodes."""
    return int(np.flatnonzero((graph.source == source) & (graph.target == target))[0])


def synthetic(seed: int = 0, nodes: int = 60) -> PaymentGraph:
    """A small scale-free graph."""
    return scale_free_graph(nodes, 3, seed)
