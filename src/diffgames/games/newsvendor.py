"""The newsvendor who minds the tail: order q before the demand D is known, D ~ N(m, d²).

Costs C(q, D) = s (D − q)⁺ + o (q − D)⁺, s per unit short, o per unit over. At tail mass α and weight γ

    minimize over q, z:  (1 − γ) E C + γ {z + E(C − z)⁺/α},   E(C − z)⁺ = s E(D − q − z/s)⁺ + o E(q − z/o − D)⁺ (z ≥ 0),

convex in (q, z) together. With E(D − k)⁺ = φ(k) − k (1 − Φ(k)) in units of d, both first-order conditions are in closed
form; z solves one and q the other. At γ = 0 the solution is the quantile Φ⁻¹(s/(s + o)), at γ = 1 that of Gotoh and
Takano (2007): (s u + o v)/(s + o) with u = Φ⁻¹(1 − αo/(s + o)), v = Φ⁻¹(αs/(s + o)), which `limits` states.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import root_scalar
from scipy.stats import norm

from diffgames.errors import InvalidInput

RATIO = 1e12  # of the two unit costs: beyond, their quantile cannot be told from an end


@dataclass(frozen=True)
class Newsvendor:
    """Unit costs s and o, and the normal demand.

    `InvalidInput` where a unit cost or the deviation is not positive, or the costs are too far apart.
    """

    short: float = 3.0
    over: float = 1.0
    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self):
        for name in ("short", "over", "deviation"):
            if not 0 < getattr(self, name) < np.inf:
                raise InvalidInput(name, getattr(self, name), "a positive number")
        if not 1 / RATIO <= self.over / self.short <= RATIO:
            raise InvalidInput("over", self.over, f"a number within a factor of {RATIO:g} of short, {self.short:g}")

    def cost(self, quantity: Float[Array, ""] | float, demand: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """C(q, D) of one order at any demands."""
        return jnp.maximum(self.short * (demand - quantity), self.over * (quantity - demand))

    def objective(self, quantity: float, tail_mass: float, weight: float) -> float:
        """(1 − γ) E C + γ CVaR_α(C), exactly."""
        q = (quantity - self.mean) / self.deviation
        z = self._quantile(q, tail_mass)
        tail = z + self._excess(q, z) / tail_mass
        return self.deviation * float((1 - weight) * self._excess(q, 0.0) + weight * tail)

    def solution(self, tail_mass: float, weight: float) -> float:
        """The quantity that minimizes the objective."""

        def slope(q: float) -> float:
            z = self._quantile(q, tail_mass)
            tail = self._slope(q, z) / tail_mass
            return (1 - weight) * self._slope(q, 0.0) + weight * tail

        ends = [norm.ppf(min(1.0, share) / 2) for share in (tail_mass, self.short / (self.short + self.over))]
        reach = 10 - min(ends) + max(self.short / self.over, self.over / self.short)
        return self.mean + self.deviation * _root(slope, -float(reach), float(reach))

    def limits(self, tail_mass: float) -> tuple[float, float]:
        """The solutions in closed form at weights 0 and 1."""
        s, o = self.short, self.over
        u, v = norm.isf(tail_mass * o / (s + o)), norm.ppf(tail_mass * s / (s + o))
        both = (norm.ppf(s / (s + o)), (s * u + o * v) / (s + o))
        return self.mean + self.deviation * float(both[0]), self.mean + self.deviation * float(both[1])

    def _quantile(self, q: float, tail_mass: float) -> float:
        """z ≥ 0 with P(C > z) = α, in units of d."""

        def excess_mass(z: float) -> float:
            return float(norm.sf(q + z / self.short) + norm.cdf(q - z / self.over)) - tail_mass

        if excess_mass(0.0) <= 0:
            return 0.0
        most = (self.short + self.over) * (abs(q) - norm.ppf(tail_mass / 2) + 1.0)
        return _root(excess_mass, 0.0, float(most))

    def _excess(self, q: float, z: float) -> float:
        """E(C − z)⁺ in units of d."""
        above, below = q + z / self.short, q - z / self.over
        lacking = norm.pdf(above) - above * norm.sf(above)
        return float(self.short * lacking + self.over * (norm.pdf(below) + below * norm.cdf(below)))

    def _slope(self, q: float, z: float) -> float:
        """Its derivative in q."""
        return float(self.over * norm.cdf(q - z / self.over) - self.short * norm.sf(q + z / self.short))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return root_scalar(function, bracket=(low, high), method="brentq", xtol=1e-14).root
