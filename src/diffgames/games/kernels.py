"""Interaction kernels K(z) of crowds, z = x_i − x_j, and the bounds of their curvature (Section 6, Example 6.1).

All kernels are even. `curvature()` is ‖∇²K‖_∞, the supremum of the spectral norm, which the α of a crowd game grows
with (equation 6.6); a kernel that has none says so.

- Gaussian (6.4):            K = h exp(−c |z|²),                    ‖∇²K‖ = 2 h c, at z = 0
- smoothed indicator (6.5):  K = h φ_ε ∗ 1_{B(0, R)} with a mollifier φ_ε of radius ε < R
- quadratic:                 K = ½ s |z|²,                           ‖∇²K‖ = s
- Cucker–Smale on z = (z_x, z_v):  K = s |z_v|² / (1 + |z_x|²)^β, bounded curvature only for |z_v| ≤ V:
                             ‖∇²K‖ ≤ s (2 + 4 β V m + 2 β V²),  m = max_r r (1 + r²)^{−β−1}
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline

from diffgames.errors import InvalidInput


class AbstractKernel(eqx.Module):
    """An even interaction kernel on differences of states, components first."""

    @abc.abstractmethod
    def __call__(self, z: Float[Array, "d *shape"]) -> Float[Array, "*shape"]:
        """K(z)."""

    @abc.abstractmethod
    def curvature(self) -> float:
        """‖∇²K‖_∞; `InvalidInput` where it is infinite."""

    def gradient(self, z: Float[Array, "d *shape"]) -> Float[Array, "d *shape"]:
        """∇K(z), by automatic differentiation."""
        value, pull = jax.vjp(self, z)
        return pull(jnp.ones_like(value))[0]


class Gaussian(AbstractKernel):
    """K = height · exp(−rate |z|²)."""

    rate: float | Float[Array, ""] = 1.0
    height: float | Float[Array, ""] = 1.0

    def __call__(self, z: Float[Array, "d *shape"]) -> Float[Array, "*shape"]:
        """K(z)."""
        return self.height * jnp.exp(-self.rate * _square(z))

    def curvature(self) -> float:
        """2 · |height| · rate."""
        return float(2.0 * abs(self.height) * self.rate)


class Quadratic(AbstractKernel):
    """K = ½ · scale · |z|²."""

    scale: float | Float[Array, ""] = 1.0

    def __call__(self, z: Float[Array, "d *shape"]) -> Float[Array, "*shape"]:
        """K(z)."""
        return 0.5 * self.scale * _square(z)

    def curvature(self) -> float:
        """|scale|."""
        return float(abs(self.scale))


class CuckerSmale(AbstractKernel):
    """K = scale · |z_v|² / (1 + |z_x|²)^exponent on z = (z_x, z_v), positions first.

    `speed` bounds |z_v| where the curvature is asked for; infinite says that velocities are not bounded.
    """

    exponent: float | Float[Array, ""] = 0.5
    scale: float | Float[Array, ""] = 1.0
    speed: float = float("inf")

    def __call__(self, z: Float[Array, "d *shape"]) -> Float[Array, "*shape"]:
        """K(z)."""
        half = z.shape[0] // 2
        return self.scale * _square(z[half:]) / (1.0 + _square(z[:half])) ** self.exponent

    def curvature(self) -> float:
        """The bound of the module's docstring, for |z_v| ≤ speed."""
        if not np.isfinite(self.speed):
            raise InvalidInput(
                "kernel",
                "Cucker-Smale",
                "a kernel of bounded curvature; give a bound on the velocities' difference, speed",
            )
        beta, v = float(self.exponent), float(self.speed)
        r = (2.0 * beta + 1.0) ** -0.5
        most = r * (1.0 + r * r) ** (-beta - 1.0)
        return float(abs(self.scale)) * (2.0 + 4.0 * beta * v * most + 2.0 * beta * v * v)


class SmoothedIndicator(AbstractKernel):
    """K = height · (φ_ε ∗ 1_{B(0, radius)})(z) in two or three dimensions: a personal space with a soft edge.

    φ_ε is the normalised bump exp(−1/(1 − |z/ε|²)) on |z| < ε = `smoothing`. K depends on |z| alone; its profile on
    [radius − ε, radius + ε] is tabulated once (a twice differentiable spline), and is 1 inside and 0 outside.
    """

    radius: float
    smoothing: float
    height: float | Float[Array, ""]
    table: Float[np.ndarray, "4 cells"]

    def __init__(self, radius: float = 0.3, smoothing: float = 0.1, height: float = 1.0, dimension: int = 2):
        if not 0 < smoothing < radius:
            raise InvalidInput("smoothing", smoothing, f"a length in (0, {radius}), less than the radius")
        if dimension not in (2, 3):
            raise InvalidInput("dimension", dimension, "2 or 3")
        self.radius, self.smoothing, self.height = radius, smoothing, height
        self.table = _indicator_table(radius, smoothing, dimension)

    def __call__(self, z: Float[Array, "d *shape"]) -> Float[Array, "*shape"]:
        """K(z)."""
        low, cells = self.radius - self.smoothing, self.table.shape[1]
        width = 2.0 * self.smoothing / cells
        square = _square(z)
        distance = jnp.sqrt(jnp.maximum(square, low * low))
        place = jnp.clip((distance - low) / width, 0.0, float(cells))
        cell = jnp.minimum(place.astype(jnp.int32), cells - 1)
        step = (place - cell.astype(place.dtype)) * width
        a, b, c, d = (jnp.asarray(row, z.dtype)[cell] for row in self.table)
        return self.height * (((a * step + b) * step + c) * step + d)

    def curvature(self) -> float:
        """A bound of |k″| and |k′|/|z| over the tabulated profile k(|z|), the eigenvalues of ∇²K.

        On a cell k″ is linear and k′ quadratic: largest at the cell's ends, or k′ where k″ crosses zero between them.
        """
        cells = self.table.shape[1]
        width = 2.0 * self.smoothing / cells
        a, b, c, _ = self.table
        radii = self.radius - self.smoothing + width * np.arange(cells)
        ends = np.array([[0.0], [width]])
        second = 6 * a * ends + 2 * b
        crossing = np.divide(-b, 3 * a, out=np.zeros(cells), where=np.prod(second, axis=0) < 0)
        steps = np.concatenate([ends * np.ones(cells), crossing[None]])
        first = (3 * a * steps + 2 * b) * steps + c
        worst = max(np.abs(second).max(), (np.abs(first).max(axis=0) / radii).max())
        return float(abs(self.height)) * float(worst)


def _square(z: Float[Array, "d *shape"]) -> Float[Array, "*shape"]:
    return sum((z[c] * z[c] for c in range(1, z.shape[0])), z[0] * z[0])


def _indicator_table(radius: float, smoothing: float, dimension: int, cells: int = 128) -> np.ndarray:
    """Cubic coefficients, highest power first, of the share of the mollifier's ball that lies in the indicator's.

    With the mollifier centred at distance ρ, its shell of radius s has the share of directions inside B(0, R) whose
    cosine with the inward direction is at least c(s) = (ρ² + s² − R²)/(2 ρ s): arccos(c)/π in two dimensions,
    (1 − c)/2 in three.
    """
    nodes, weights = np.polynomial.legendre.leggauss(400)
    s = 0.5 * smoothing * (nodes + 1.0)
    mass = np.exp(-1.0 / np.maximum(1.0 - (s / smoothing) ** 2, 1e-12)) * s ** (dimension - 1) * weights
    rho = radius + smoothing * np.linspace(-1.0, 1.0, cells + 1)
    cosine = np.clip((rho[:, None] ** 2 + s**2 - radius**2) / (2 * rho[:, None] * s), -1.0, 1.0)
    share = np.arccos(cosine) / np.pi if dimension == 2 else 0.5 * (1.0 - cosine)
    profile = share @ mass / mass.sum()
    spline = CubicSpline(rho, profile, bc_type="clamped")
    return np.asarray(spline.c)
