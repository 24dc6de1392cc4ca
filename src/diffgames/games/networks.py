"""Interaction networks: weights q_ij of how much player i cares for player j, from graphs and decay laws (Section 6.1).

Undirected graphs are adjacency matrices; `distances` are shortest-path lengths. The asymmetric weights of equations 6.8
and 6.9, for distinct bounded positive w_i:

    exponential:  q_ij = w_i ρ^{dist(i, j)},     |q_ij − q_ji| ≤ C ρ^{dist(i, j)},
    polynomial:   q_ij = w_i dist(i, j)^{−β},    |q_ij − q_ji| ≤ C dist(i, j)^{−β}.
"""

import networkx as nx
import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from diffgames.errors import InvalidInput

Adjacency = Bool[np.ndarray, "players players"]
Weights = Float[np.ndarray, "players players"]


def complete(players: int) -> Weights:
    """Everybody cares for everybody else alike: q_ij = 1."""
    return 1.0 - np.eye(players)


def groups(members: tuple[tuple[int, ...], ...], players: int) -> Weights:
    """q_ij = 1 inside a group, 0 between groups; players are counted from 1 and each is in one group."""
    if sorted(sum(map(tuple, members), ())) != list(range(1, players + 1)):
        raise InvalidInput("groups", members, f"every player 1..{players} in exactly one group")
    label = np.empty(players, int)
    for index, group in enumerate(members):
        label[np.asarray(group) - 1] = index
    return (label[:, None] == label[None]).astype(float) - np.eye(players)


def lattice(players: int, dimension: int = 2, *, periodic: bool = True) -> Adjacency:
    """A square lattice of side players^(1/dimension); each player has 2·dimension neighbours (less at a free edge)."""
    side = round(players ** (1.0 / dimension))
    if side**dimension != players:
        raise InvalidInput("players", players, f"a whole number to the power {dimension}, for a lattice")
    return _adjacency(nx.grid_graph([side] * dimension, periodic=periodic and side > 2))


def tree(players: int, arity: int = 2) -> Adjacency:
    """A balanced tree filled level by level: player j > 0 hangs on (j − 1) // arity."""
    if arity < 1:
        raise InvalidInput("arity", arity, "at least 1 child")
    found = np.zeros((players, players), bool)
    child = np.arange(1, players)
    parent = (child - 1) // arity
    found[child, parent] = found[parent, child] = True
    return found


def random_regular(players: int, degree: int, seed: int = 0) -> Adjacency:
    """A connected random graph in which everybody has `degree` neighbours."""
    if degree < 2 or degree >= players or (degree * players) % 2:
        raise InvalidInput("degree", degree, f"2 to {players - 1}, with degree x players even")
    for attempt in range(100):
        graph = nx.random_regular_graph(degree, players, seed=seed + 7919 * attempt)
        if nx.is_connected(graph):
            return _adjacency(graph)
    raise InvalidInput("degree", degree, "a degree for which connected graphs are found (3 and more)")


def distances(adjacency: Adjacency) -> Float[np.ndarray, "players players"]:
    """Shortest-path lengths; infinite between components."""
    return shortest_path(csr_array(adjacency.astype(np.int8)), method="D", unweighted=True, directed=False)


def exponential_decay(distance: np.ndarray, scales: np.ndarray, rate: float) -> Weights:
    """q_ij = w_i ρ^{dist(i, j)}, with w = `scales` and ρ = `rate`."""
    if not 0 < rate < 1:
        raise InvalidInput("rate", rate, "a decay rate in (0, 1)")
    return _off_diagonal(scales[:, None] * rate**distance)


def polynomial_decay(distance: np.ndarray, scales: np.ndarray, exponent: float) -> Weights:
    """q_ij = w_i dist(i, j)^{−β}, with w = `scales` and β = `exponent`."""
    if exponent <= 0:
        raise InvalidInput("exponent", exponent, "a positive exponent")
    with np.errstate(divide="ignore"):
        return _off_diagonal(scales[:, None] * distance**-exponent)


def imbalance(weights: Weights | Float[np.ndarray, ""]) -> float:
    """max_i Σ_{j≠i} |q_ij − q_ji|, the asymmetry that α grows with (equation 6.6); of one weight for all pairs, 0."""
    return 0.0 if weights.ndim == 0 else float(np.abs(weights - weights.T).sum(axis=1).max())


def checked_weights(weights: object, players: int, *, symmetric: bool = False, key: str = "weights") -> Weights:
    """`weights` as a matrix with a zero diagonal; `InvalidInput` where shape, finiteness or symmetry is wrong."""
    matrix = np.asarray(weights, float)
    if matrix.shape != (players, players):
        raise InvalidInput(key, f"shape {matrix.shape}", f"a {players} x {players} matrix")
    if not np.all(np.isfinite(matrix)):
        raise InvalidInput(key, weights, "finite numbers")
    if symmetric and not np.array_equal(matrix, matrix.T):
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise InvalidInput(
            key, f"q[{i}][{j}] = {matrix[i, j]:g}, q[{j}][{i}] = {matrix[j, i]:g}", "a symmetric matrix, as was said"
        )
    return _off_diagonal(matrix)


def _off_diagonal(matrix: np.ndarray) -> Weights:
    return np.where(np.eye(len(matrix), dtype=bool), 0.0, matrix)


def _adjacency(graph: nx.Graph) -> Adjacency:
    return nx.to_numpy_array(graph) > 0
