"""Prune, rank, route: the directions that carry an amount, weighed, and the cheapest simple paths among them.

Mean-field-type games tutorial, equation 7.1, with fees as a share of the amount and CLTV blocks for latency:

    w_ij = α fee_ij / amount + β (1 − capacity_ij / max capacity) + γ CLTV_ij,    fee_ij = base_ij + rate_ij amount.

Directions below θ · amount in capacity are pruned, and so are disabled ones and those whose HTLC limits the amount
breaks. The largest capacity is that of the whole graph. Of parallel directions the cheapest is kept. (7.1) adds up the
fees of all directions on the amount delivered; a payment pays none to the first and more to earlier ones, which forward
the later fees too (`payments`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csgraph, csr_array

from diffgames.energy.payment_graph import PaymentGraph
from diffgames.energy.shortest_paths import Path, k_shortest_paths
from diffgames.errors import InvalidInput


@dataclass(frozen=True)
class EdgeWeights:
    """α of fees, β of capacities and γ of delays in (7.1), and the θ below which a direction is pruned."""

    fee: float = 1000.0
    capacity: float = 1.0
    delay: float = 0.01
    prune: float = 1.0

    def of(self, graph: PaymentGraph, amount: int | float, rows: np.ndarray) -> np.ndarray:
        """w of the rows for an amount in sat, [rows]."""
        fee = graph.base_fee[rows] / 1000 + graph.rate[rows] * (amount / 1e6)
        scarce = 1 - graph.capacity[rows] / graph.capacity.max()
        return self.fee * fee / amount + self.capacity * scarce + self.delay * graph.delay[rows]

    def usable(self, graph: PaymentGraph, amount: int | float) -> np.ndarray:
        """Which directions are left for an amount in sat, [directions]."""
        limits = (graph.smallest <= 1000 * amount) & (1000 * amount <= graph.largest)
        return ~graph.disabled & (graph.capacity >= self.prune * amount) & limits


@dataclass(frozen=True)
class RankedGraph:
    """The graph as one amount sees it: weights [nodes, nodes] of the rows `kept`, in the order of the matrix."""

    graph: PaymentGraph
    amount: int | float
    kept: np.ndarray
    forward: csr_array
    backward: csr_array

    def paths(self, source: int, target: int, k: int) -> list[Path]:
        """The k cheapest simple paths between positions of nodes, fewer where there are no more."""
        return k_shortest_paths(self.forward, self.backward, source, target, k)

    def rows(self, path: Path) -> np.ndarray:
        """The directions that a path takes."""
        return self.kept[edges_of(self.forward, path.nodes)]

    def largest_component(self) -> np.ndarray:
        """Which nodes are in the largest strongly connected component, [nodes]."""
        _, label = csgraph.connected_components(self.forward, connection="strong")
        return label == np.argmax(np.bincount(label))

    def within(self, nodes: np.ndarray) -> int:
        """Directions kept between the nodes of a mask."""
        return int(np.sum(nodes[self.graph.source[self.kept]] & nodes[self.graph.target[self.kept]]))


def rank(graph: PaymentGraph, amount: int | float, weights: EdgeWeights | None = None) -> RankedGraph:
    """Prune and weigh the graph for an amount in sat; `InvalidInput` where nothing carries it."""
    weights = weights or EdgeWeights()
    usable = np.flatnonzero(weights.usable(graph, amount))
    if not usable.size:
        raise InvalidInput("amount", amount, "an amount that at least one direction of the graph carries")
    kept, forward = cheapest_parallel(graph, usable, weights.of(graph, amount, usable))
    return RankedGraph(graph, amount, kept, forward, csr_array(forward.T))


def cheapest_parallel(graph: PaymentGraph, rows: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, csr_array]:
    """Of the rows (rising) the cheapest between each pair of nodes, and the matrix of their weights."""
    source, target = graph.source[rows], graph.target[rows]
    begins = np.flatnonzero(np.r_[True, (source[1:] != source[:-1]) | (target[1:] != target[:-1])])
    pair = np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, len(rows)]))
    cheapest = np.flatnonzero(weight == np.minimum.reduceat(weight, begins)[pair])
    chosen = cheapest[np.unique(pair[cheapest], return_index=True)[1]]
    ends = np.searchsorted(source[chosen], np.arange(len(graph.nodes) + 1)).astype(np.int32)
    shape = (len(graph.nodes), len(graph.nodes))
    return rows[chosen], csr_array((weight[chosen], target[chosen].astype(np.int32), ends), shape=shape)


def edges_of(forward: csr_array, nodes: Sequence[int]) -> np.ndarray:
    """Where the entries of a path stand in the matrix's data, whose columns are sorted."""
    rows = [slice(*forward.indptr[node : node + 2]) for node in nodes[:-1]]
    steps = zip(rows, nodes[1:], strict=True)
    return np.asarray([row.start + np.searchsorted(forward.indices[row], after) for row, after in steps], int)
