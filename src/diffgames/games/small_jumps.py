"""Infinite-activity jumps by truncation: small jumps become Brownian noise, large ones finitely many per unit time.

For a Lévy measure ν on the line (symmetric or not) and a cut ε, jumps |z| < ε are replaced by a Brownian motion of
the same variance, the *modified diffusion* σ_ε² = ∫_{|z|<ε} z² ν(dz) (Asmussen & Rosiński 2001), and jumps |z| ≥ ε by
compound Poisson noise with finitely many marks: the means m_c of cells of geometric size, of rates λ_c = ν(cell c);
what the marks' variance misses, Σ λ_c v_c with v_c the variance in a cell, goes to the diffusion as well. Two errors
are reported, per unit of the test function's size:

- weak: the generators differ by third-order Taylor terms, so that E φ(X_T) changes by at most ‖φ‴‖ T/6 times

      ∫_{|z|<ε} |z|³ ν(dz)  +  Σ_c λ_c (E_c |z − m_c|³ + 3 |m_c| v_c),

- strong: dropping the small jumps instead would cost σ_ε √T in L², the size of what is replaced.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.integrate import quad

from diffgames.errors import InvalidInput
from diffgames.games.distributed import JumpNoise


class Truncated(eqx.Module):
    """What stands for the Lévy measure: the extra diffusion's variance rate; rate, marks and weights of large jumps.

    `third_moment` is ∫_{|z|<ε} |z|³ ν of the small jumps, `mark_error` the sum over cells of the module's docstring.
    """

    variance: float
    rate: float
    marks: Float[np.ndarray, " marks"]
    weights: Float[np.ndarray, " marks"]
    third_moment: float
    mark_error: float
    cut: float

    def weak_error(self, horizon: float) -> float:
        """Bound of |E φ(X_T) − E φ(X^ε_T)| for ‖φ‴‖ = 1."""
        return horizon * (self.third_moment + self.mark_error) / 6.0

    def strong_error(self, horizon: float) -> float:
        """Size in L² of what the extra diffusion replaces."""
        return float(np.sqrt(self.variance * horizon))

    def noise(self, loading: Float[np.ndarray, "players d"]) -> tuple[Float[np.ndarray, "players d 1"], JumpNoise]:
        """(σ, jumps) of independent copies for all players: a column of `diffusion`, and own Poisson noise."""
        players = loading.shape[0]
        jumps = JumpNoise(
            rate=jnp.full((players, 1), self.rate),
            loading=jnp.asarray(loading[:, :, None]),
            atoms=jnp.asarray(self.marks)[None],
            weights=jnp.asarray(self.weights)[None],
        )
        return np.sqrt(self.variance) * loading[:, :, None], jumps


def truncate(
    density: Callable[[float], float], cut: float, *, largest: float = np.inf, cells: int = 128, two_sided: bool = True
) -> Truncated:
    """Truncate the Lévy measure ν(dz) = density(z) dz at `cut`; jumps beyond `largest` must not exist or not matter.

    `cells` on each side of zero. `InvalidInput` where ∫ min(1, z²) ν diverges near zero, or a density is negative.
    """
    if not 0 < cut < largest:
        raise InvalidInput("cut", cut, f"a size in (0, {largest})")
    if cells < 1:
        raise InvalidInput("cells", cells, "at least 1")
    variance = third = wrong = 0.0
    marks, rates = [], []
    for side in (1.0, -1.0) if two_sided else (1.0,):
        _check_density(density, side, cut)
        variance += quad(lambda z, s=side: z * z * density(s * z), 0.0, cut, limit=200)[0]
        third += quad(lambda z, s=side: z**3 * density(s * z), 0.0, cut, limit=200)[0]
        end = largest if np.isfinite(largest) else _end_of_tail(density, side, cut)
        rate, mean, spread, cubed = _cells(density, side, np.geomspace(cut, end, cells + 1))
        variance += np.sum(rate * spread)
        wrong += np.sum(rate * (cubed + 3.0 * mean * spread))
        marks.append(side * mean)
        rates.append(rate)
    mark, rate = np.concatenate(marks), np.concatenate(rates)
    total = float(rate.sum())
    if total == 0.0:
        return Truncated(float(variance), 0.0, np.zeros(1), np.ones(1), float(third), 0.0, cut)
    return Truncated(float(variance), total, mark, rate / total, float(third), float(wrong), cut)


def _check_density(density: Callable[[float], float], side: float, cut: float) -> None:
    near = np.geomspace(1e-12, cut, 400)
    values = np.asarray([density(side * z) for z in near])
    if np.any(values < 0) or not np.all(np.isfinite(values)):
        raise InvalidInput("density", "negative or infinite values", "an intensity ≥ 0, finite away from zero")
    if values[0] * near[0] ** 3 > 1e-3 * max(values[-1] * cut**3, 1e-300):
        raise InvalidInput("density", "z³ ν does not vanish at zero", "a Lévy measure: z² ν integrable at zero")


def _cells(density: Callable[[float], float], side: float, edges: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rate, mean size, variance of the size and E |z − mean|³ of every cell, by Gauss–Legendre in log z."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    low, high = np.log(edges[:-1, None]), np.log(edges[1:, None])
    z = np.exp(low + 0.5 * (high - low) * (nodes + 1.0))
    mass = 0.5 * (high - low) * weights * z * np.vectorize(lambda one: density(side * one), otypes=[float])(z)
    if np.any(mass < 0):
        raise InvalidInput("density", "negative values", "an intensity ≥ 0")
    rate = mass.sum(axis=1)
    share = np.divide(mass, rate[:, None], out=np.full_like(mass, 1.0 / len(nodes)), where=rate[:, None] > 0)
    mean = np.sum(share * z, axis=1)
    apart = np.abs(z - mean[:, None])
    return rate, mean, np.sum(share * apart**2, axis=1), np.sum(share * apart**3, axis=1)


def _end_of_tail(density: Callable[[float], float], side: float, cut: float) -> float:
    """Where z² ν(dz) has fallen to 1e-12 of its value at the cut."""
    end, scale = 2.0 * cut, density(side * cut) * cut**3
    while density(side * end) * end**3 > 1e-12 * scale and end < 1e8 * cut:
        end *= 2.0
    return end
