"""Extended transitivity: is there a skill that grows whenever somebody beats the policy that everybody plays?

A symmetric game with payoff u is *extended transitive* (Vadori et al., arXiv 2210.07184, Assumption 3.4) if a bounded Φ
has, for every ε, a δ > 0 with u(y, x) − u(x, x) > ε ⇒ Φ(y) − Φ(x) > δ. On finitely many strategies this is so if and
only if the graph of improvements x → y, u(y, x) > u(x, x), has no cycle: along a cycle Φ would grow without end, and
without one Φ may be the length of the longest path to x. So a cycle among checkpoints refutes the assumption for the
whole game, and no cycle is evidence for it, not proof.

Proposition 3.8: equivalently Φ(y) − Φ(x) ≥ φ(u(y, x) − u(x, x)) for a convex increasing φ, φ(0) = 0. u(x, y) = t(x) −
t(y) has Φ = t, φ the identity; u(x, y) = σ(t(x) − t(y)), σ increasing, has Φ = t, φ(ε) = σ⁻¹(ε + σ(0)), not always
convex. A potential alone is not enough: in anti-coordination each pure strategy beats the other.
"""

from dataclasses import dataclass

import networkx as nx
import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput

ROUNDING = 1e-10


@dataclass(frozen=True)
class Transitivity:
    """`transitive` on these strategies; if so a skill Φ of each, else the strategies of a shortest `cycle`."""

    transitive: bool
    skill: Float[np.ndarray, " m"] | None
    cycle: tuple[int, ...]


def extended_transitivity(payoff: Float[np.ndarray, "m m"], least_gain: float | None = None) -> Transitivity:
    """Whether improvements by more than `least_gain` (default: rounding) form no cycle.

    `payoff[y, x]` is earned by y where the other plays x. With a `least_gain` of ε the assumption is tested at ε alone.

    >>> extended_transitivity(np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])).cycle
    (0, 1, 2)
    """
    table = np.asarray(payoff, float)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.isfinite(table).all():
        raise InvalidInput("payoff", list(table.shape), "a square matrix of finite payoffs")
    least = ROUNDING * max(float(np.abs(table).max(initial=0.0)), 1e-300) if least_gain is None else least_gain
    gains = table - np.diagonal(table)[None, :]
    graph = nx.from_numpy_array((gains > least).T.astype(int), create_using=nx.DiGraph)
    if not nx.is_directed_acyclic_graph(graph):
        return Transitivity(False, None, _shortest_cycle(graph))
    skill = np.zeros(len(table))
    for node in nx.topological_sort(graph):
        skill[node] = max((skill[before] + 1 for before in graph.predecessors(node)), default=0.0)
    return Transitivity(True, skill, ())


def _shortest_cycle(graph: nx.DiGraph) -> tuple[int, ...]:
    """A cycle of least length, from its smallest strategy on."""
    best: list[int] = []
    for node in graph:
        lengths = nx.single_source_shortest_path_length(graph, node)
        back = [before for before in graph.predecessors(node) if before in lengths]
        if back:
            last = min(back, key=lambda before: lengths[before])
            if not best or lengths[last] + 1 < len(best):
                best = nx.shortest_path(graph, node, last)
    place = best.index(min(best))
    return tuple(best[place:] + best[:place])


def modulus(
    payoff: Float[np.ndarray, "m m"], skill: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Corners (gain, Φ) of the largest convex φ with φ(0) = 0 that holds between these strategies (Proposition 3.8).

    `InvalidInput` where a gain comes with no growth of `skill`: then no φ does.
    """
    table, heights = np.asarray(payoff, float), np.asarray(skill, float)
    gains = (table - np.diagonal(table)[None, :]).reshape(-1)
    climbs = (heights[:, None] - heights[None, :]).reshape(-1)
    least = ROUNDING * max(float(np.abs(table).max(initial=0.0)), 1e-300)
    gains, climbs = gains[gains > least], climbs[gains > least]
    if (climbs <= 0).any():
        raise InvalidInput("skill", float(climbs.min()), "a skill that grows with every improvement")
    hull = [(0.0, 0.0)]
    for point in sorted(zip(gains.tolist(), climbs.tolist(), strict=True)):
        while len(hull) > 1 and _slope(hull[-2], point) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        if point[0] > hull[-1][0]:
            hull.append(point)
    corners = np.array(hull)
    return corners[:, 0], corners[:, 1]


def _slope(one: tuple[float, float], other: tuple[float, float]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])
