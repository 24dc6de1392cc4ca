"""Wasserstein distances of order one between two equally large samples: exact, by sorting or by optimal assignment.

    W₁(μ, ν) = min over permutations π of (1/N) Σ_n |x_n − y_{π(n)}|.

On the line the order-preserving permutation is optimal; else the assignment problem is solved, at a cost up to N³.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from diffgames.errors import InvalidInput


def wasserstein(x: Float[np.ndarray, "players d"], y: Float[np.ndarray, "players d"]) -> float:
    """W₁ between the empirical laws of two samples of one size, Euclidean distance.

    >>> wasserstein(np.asarray([[0.0], [1.0]]), np.asarray([[1.0], [3.0]]))
    1.5
    """
    if x.shape != y.shape:
        raise InvalidInput("y", f"shape {y.shape}", f"a sample of shape {x.shape}, like the other")
    if x.shape[1] == 1:
        return float(np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0])).mean())
    distance = cdist(np.asarray(x, float), np.asarray(y, float))
    rows, columns = linear_sum_assignment(distance)
    return float(distance[rows, columns].mean())
