"""The k cheapest simple paths from s to t: Yen's partition with the distances to t as potentials.

Let h(v) be the distance from v to t, by one reverse Dijkstra. Yen (1971) splits the simple paths that are left, after
one is taken, by where they leave it: each part has a prefix (s, …, v) and next nodes that are forbidden. No path of a
part is cheaper than

    cost(prefix) + min over the allowed u of w(v, u) + h(u),

so a part waits in the queue at this bound, and only one that comes up is searched. There A* from v, whose heuristic h
is consistent, is over at the first node whose own shortest path to t touches neither the prefix nor what was searched:
most parts need one step. Weights are at least 0; of parallel edges a graph has the cheapest.
"""

import heapq
import itertools
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csgraph, csr_array


@dataclass(frozen=True)
class Path:
    """Positions of the nodes in order, and the sum of the weights between them."""

    nodes: tuple[int, ...]
    cost: float


def k_shortest_paths(forward: csr_array, backward: csr_array, source: int, target: int, k: int) -> list[Path]:
    """At most k simple paths of least cost, cheapest first; none where the target is out of reach.

    `forward` holds the weights [nodes, nodes] in rows with sorted columns, `backward` its transpose.
    """
    search = _Search(forward, backward, target)
    order = itertools.count()
    queue: list[tuple[float, int, tuple[int, ...], frozenset[int], tuple[int, ...]]] = []

    def wait(bound: float, prefix: tuple[int, ...], forbidden: frozenset[int], path: tuple[int, ...] = ()) -> None:
        if bound < np.inf:
            heapq.heappush(queue, (bound, next(order), prefix, forbidden, path))

    found: list[Path] = []
    if source != target:
        wait(float(search.potential[source]), (source,), frozenset())
    while queue and len(found) < k:
        _, _, prefix, forbidden, path = heapq.heappop(queue)
        if not path:
            wait(*search.completion(prefix, forbidden))
            continue
        costs = search.costs(path)
        found.append(Path(path, float(costs[-1])))
        for place in range(len(prefix) - 1, len(path) - 1):
            branch = path[: place + 1]
            barred = (forbidden if place == len(prefix) - 1 else frozenset()) | {path[place + 1]}
            wait(search.bound(branch, float(costs[place]), barred), branch, barred)
    return sorted(found, key=lambda path: path.cost)


class _Search:
    """One target: its potentials, the tree of shortest paths to it, and the graph's rows."""

    def __init__(self, forward: csr_array, backward: csr_array, target: int):
        self.rows, self.columns, self.weights = forward.indptr, forward.indices, forward.data
        self.target = target
        self.potential, towards = csgraph.dijkstra(backward, indices=target, return_predecessors=True)
        self.towards: list[int] = towards.tolist()

    def row(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """The nodes that a node reaches in one step, and the weights."""
        inside = slice(self.rows[node], self.rows[node + 1])
        return self.columns[inside], self.weights[inside]

    def costs(self, path: tuple[int, ...]) -> np.ndarray:
        """The cost of every beginning of a path."""
        steps = [0.0]
        for node, after in itertools.pairwise(path):
            nodes, weights = self.row(node)
            steps.append(weights[np.searchsorted(nodes, after)])
        return np.cumsum(steps)

    def bound(self, prefix: tuple[int, ...], cost: float, forbidden: frozenset[int]) -> float:
        """What no simple path that goes on from the prefix undercuts; ∞ where there is none."""
        nodes, weights = self.row(prefix[-1])
        onward, shut = weights + self.potential[nodes], forbidden.union(prefix)
        allowed = (place for place in np.argsort(onward) if int(nodes[place]) not in shut)
        return next((cost + float(onward[place]) for place in allowed), np.inf)

    def completion(self, prefix: tuple[int, ...], forbidden: frozenset[int]):
        """(cost, prefix, forbidden, path) of the cheapest simple path of a part; cost ∞ where there is none."""
        spur = prefix[-1]
        closed = set(prefix[:-1])
        shut = closed | forbidden
        reached = {spur: float(self.costs(prefix)[-1])}
        before: dict[int, int] = {}
        queue = [(0.0, spur)]
        while queue:
            bound, node = heapq.heappop(queue)
            if node in closed:
                continue
            closed.add(node)
            tail = self._tail(node, closed) if node != spur else None
            if tail is not None:
                while node != spur:
                    node = before[node]
                    tail.append(node)
                return bound, prefix, forbidden, prefix[:-1] + tuple(reversed(tail))
            nodes, weights = self.row(node)
            length = reached[node] + weights
            ahead = length + self.potential[nodes]
            for after, far, rank in zip(nodes.tolist(), length.tolist(), ahead.tolist(), strict=True):
                barred = shut if node == spur else closed
                if rank < np.inf and after not in barred and far < reached.get(after, np.inf):
                    reached[after], before[after] = far, node
                    heapq.heappush(queue, (rank, after))
        return np.inf, prefix, forbidden, ()

    def _tail(self, node: int, closed: set[int]) -> list[int] | None:
        """The nodes from the target back to `node` along its shortest path, unless a closed one lies on it."""
        tail = [node]
        while node != self.target:
            node = self.towards[node]
            if node in closed:
                return None
            tail.append(node)
        return tail[::-1]
