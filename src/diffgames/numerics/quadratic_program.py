"""Convex quadratic programs with a diagonal curvature, by a primal–dual interior-point method (Mehrotra 1992).

    min c·x + ½ Σ h_j x_j²    over A x = b,  0 ≤ x ≤ u  (u may be infinite; `free` entries have no bounds),

h ≥ 0, and positive where x is free. With z, v the multipliers of the bounds and s = u − x, a Newton step of the
conditions c + h x − Aᵀy − z + v = 0, x z = s v = µ is (A Θ⁻¹ Aᵀ) Δy = …, Θ = h + z/x + v/s, one sparse factor for the
predictor (µ = 0) and the corrector. Steps keep all of x, s, z, v positive.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float
from scipy.sparse.linalg import splu

from diffgames.errors import RunFailed

MOST, KEEP, RIDGE = 100, 0.995, 1e-13
SMALLEST = 1e-13  # of the data's size, µ: below, the factor's rounding grows faster than the gap falls


def quadratic_optimum(
    c: Float[np.ndarray, " n"],
    h: Float[np.ndarray, " n"],
    A: Any,  # scipy.sparse, [m, n]
    b: Float[np.ndarray, " m"],
    upper: Float[np.ndarray, " n"],
    free: Bool[np.ndarray, " n"],
    tolerance: float = 1e-9,
) -> Float[np.ndarray, " n"]:
    """The minimizer: residuals at most `tolerance` of the data's size, x z and s v a thousandth of it in the mean.

    `RunFailed` where there is none.
    """
    A, count = sp.csr_array(A), len(c)
    low, high = np.flatnonzero(~free), np.flatnonzero(~free & np.isfinite(upper))
    scale, x = 1.0 + np.abs(c).max(), np.ones(count)
    x[high] = 0.5 * upper[high]
    x[free] = 0.0
    s, z, v, y = upper[high] - x[high], np.full(len(low), scale), np.full(len(high), scale), np.zeros(len(b))
    for _ in range(MOST):
        off = _spread(count, (low, -z), (high, v)) + c + h * x - A.T @ y
        short, over = b - A @ x, upper[high] - x[high] - s
        gap = (x[low] @ z + s @ v) / max(len(low) + len(high), 1)
        missed = max(np.abs(off).max() / scale, np.abs(short).max(initial=0.0) / (1.0 + np.abs(b).max(initial=0.0)))
        if missed <= tolerance and gap <= 1e-3 * tolerance * scale:
            return x
        theta = h + _spread(count, (low, z / x[low]), (high, v / s))
        factor = splu(sp.csc_array((A / theta) @ A.T + RIDGE * sp.identity(len(b))))
        mu_low, mu_high = np.zeros(len(low)), np.zeros(len(high))
        for corrects in (False, True):
            pull = _spread(count, (low, mu_low / x[low] - z), (high, v - mu_high / s + v / s * over)) - off
            dy = factor.solve(short - A @ (pull / theta))
            dx = (pull + A.T @ dy) / theta
            ds, dz = over - dx[high], (mu_low - z * dx[low]) / x[low] - z
            dv = (mu_high - v * ds) / s - v
            first, second = (KEEP * _longest(*pairs) for pairs in (((x[low], dx[low]), (s, ds)), ((z, dz), (v, dv))))
            if not corrects:
                ahead = (x[low] + first * dx[low]) @ (z + second * dz) + (s + first * ds) @ (v + second * dv)
                mu = max(gap * (ahead / max(gap * (len(low) + len(high)), 1e-300)) ** 3, SMALLEST * scale)
                mu_low, mu_high = mu - dx[low] * dz, mu - ds * dv
        x, s, y, z, v = x + first * dx, s + first * ds, y + second * dy, z + second * dz, v + second * dv
        if not np.isfinite(x).all() or np.abs(y).max(initial=0.0) > 1e12 * scale:
            break
    raise RunFailed("the quadratic program was not solved", "look for bounds and rows that leave nothing feasible")


def _spread(count: int, *parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A vector that is the sum of values put at places."""
    found = np.zeros(count)
    for places, values in parts:
        found[places] += values
    return found


def _longest(*pairs: tuple[np.ndarray, np.ndarray]) -> float:
    """The longest step ≤ 1/KEEP along which all values stay ≥ 0, at most one once KEEP has cut it."""
    limits = [-value[change < 0] / change[change < 0] for value, change in pairs]
    return min(1.0 / KEEP, *(float(limit.min(initial=np.inf)) for limit in limits))
