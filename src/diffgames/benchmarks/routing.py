"""k = 5 cheapest simple paths: scipy's `yen` (compiled) and ours, on one ranked graph in one process.

The graph is the synthetic one of 10,000 nodes and 80,000 directions, or a file of your own through `run(graph=PATH)`.
Both get the matrix prepared for 100,000 sat; how long that takes is told beside. Queries are between drawn nodes of the
largest strong component, each side once, turn by turn.
"""

import time

import numpy as np
from scipy.sparse import csgraph, csr_matrix

from diffgames.energy.payment_graph import read_payment_graph, scale_free_graph
from diffgames.energy.routing import rank

AMOUNT, K, QUERIES = 100_000, 5, 200


def run(graph: str | None = None, queries: int = QUERIES) -> dict[str, float | int]:
    """Milliseconds a query by each side (median, 95th percentile), and the largest difference of costs."""
    channels = read_payment_graph(graph) if graph else scale_free_graph(10_000, 4, 0)
    started = time.perf_counter()
    ranked = rank(channels, AMOUNT)
    preparing = time.perf_counter() - started
    nodes, matrix = np.flatnonzero(ranked.largest_component()), csr_matrix(ranked.forward)
    random, seconds, difference = np.random.default_rng(0), [], 0.0
    for _ in range(queries):
        source, target = (int(one) for one in random.choice(nodes, 2, replace=False))
        clock = [time.perf_counter()]
        ours = ranked.paths(source, target, K)
        clock.append(time.perf_counter())
        theirs = csgraph.yen(matrix, source, target, K)
        seconds.append(np.diff([*clock, time.perf_counter()]))
        difference = max(difference, float(np.abs([path.cost for path in ours] - theirs).max()))
    (median, scipy_median), (late, scipy_late) = 1e3 * np.percentile(seconds, [50, 95], axis=0)
    return {
        "directions": len(ranked.kept),
        "preparing_ms": 1e3 * preparing,
        "median_ms": float(median),
        "p95_ms": float(late),
        "scipy_median_ms": float(scipy_median),
        "scipy_p95_ms": float(scipy_late),
        "ratio_median": float(scipy_median / median),
        "largest_difference": difference,
    }
