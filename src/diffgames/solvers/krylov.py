"""GMRES for a preconditioned linear operator on NumPy arrays of any shape.

With V_k an orthonormal basis of span{r, Mr, …, M^{k−1}r} and M V_k = V_{k+1} H, y = argmin ‖‖r‖e₁ − Hy‖ gives the
vector V_k y of least residual (Saad & Schultz 1986). Orthogonalization is classical, done twice: few long products
instead of many short ones.
"""

from collections.abc import Callable

import numpy as np


def krylov(product: Callable[[np.ndarray], np.ndarray], right: np.ndarray, accuracy: float, most: int = 80):
    """x with ‖right − product(x)‖ ≤ accuracy ‖right‖, or the best after `most` products."""
    size = np.linalg.norm(right)
    if size == 0.0:
        return np.zeros_like(right)
    basis = np.empty((most + 1, right.size))
    hessenberg = np.zeros((most + 1, most))
    basis[0] = right.reshape(-1) / size
    for k in range(most):
        new = product(basis[k].reshape(right.shape)).reshape(-1).copy()
        for _ in range(2):
            along = basis[: k + 1] @ new
            new -= along @ basis[: k + 1]
            hessenberg[: k + 1, k] += along
        hessenberg[k + 1, k] = np.linalg.norm(new)
        target = np.zeros(k + 2)
        target[0] = size
        weights = np.linalg.lstsq(hessenberg[: k + 2, : k + 1], target, rcond=None)[0]
        left = np.linalg.norm(target - hessenberg[: k + 2, : k + 1] @ weights)
        if left <= accuracy * size or hessenberg[k + 1, k] <= 1e-14 * size:
            break
        basis[k + 1] = new / hessenberg[k + 1, k]
    return (weights @ basis[: k + 1]).reshape(right.shape)
