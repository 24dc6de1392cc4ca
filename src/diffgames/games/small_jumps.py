"""Infinite-activity jumps by truncation: small jumps become Brownian noise, large ones finitely many per unit time.

For a Lévy measure ν on the line (symmetric or not) and a cut ε, jumps |z| < ε are replaced by a Brownian motion of
the same variance, the *modified diffusion* σ_ε² = ∫_{|z|<ε} z² ν(dz) (Asmussen & Rosiński 2001), and jumps |z| ≥ ε by
compound Poisson noise with an empirical law of equally likely marks. Two errors are reported, per unit of the test
function's size:

- weak: replacing the small jumps changes E φ(X_T) by at most ‖φ‴‖ T/6 ∫_{|z|<ε} |z|³ ν(dz) (third-order Taylor),
- strong: dropping them instead would cost σ_ε √T in L², the size of what is replaced.

The marks are the means of cells of equal mass; what their variance misses goes to the diffusion as well.
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
    """What stands for the Lévy measure: variance rate of the extra diffusion, rate and marks of the large jumps."""

    variance: float
    rate: float
    marks: Float[np.ndarray, " atoms"]
    third_moment: float
    cut: float

    def weak_error(self, horizon: float) -> float:
        """Bound of |E φ(X_T) − E φ(X^ε_T)| for ‖φ‴‖ = 1."""
        return horizon * self.third_moment / 6.0

    def strong_error(self, horizon: float) -> float:
        """Size in L² of the small jumps that were replaced."""
        return float(np.sqrt(self.variance * horizon))

    def noise(self, loading: Float[np.ndarray, "players d"]) -> tuple[Float[np.ndarray, "players d 1"], JumpNoise]:
        """(σ, jumps) of independent copies for all players: a column of `diffusion`, and own Poisson noise."""
        players = loading.shape[0]
        jumps = JumpNoise(
            rate=jnp.full((players, 1), self.rate),
            loading=jnp.asarray(loading[:, :, None]),
            atoms=jnp.asarray(self.marks)[None],
        )
        return np.sqrt(self.variance) * loading[:, :, None], jumps


def truncate(
    density: Callable[[float], float], cut: float, *, largest: float = np.inf, atoms: int = 256, two_sided: bool = True
) -> Truncated:
    """Truncate the Lévy measure ν(dz) = density(z) dz at `cut`; jumps beyond `largest` must not exist or not matter.

    `InvalidInput` where ∫ min(1, z²) ν diverges near zero, or a density is negative.
    """
    if not 0 < cut < largest:
        raise InvalidInput("cut", cut, f"a size in (0, {largest})")
    sides = (1.0, -1.0) if two_sided else (1.0,)
    variance = third = rate = 0.0
    cells, masses = [], []
    for side in sides:
        near = np.geomspace(1e-12, cut, 400)
        values = np.asarray([density(side * z) for z in near])
        if np.any(values < 0) or not np.all(np.isfinite(values)):
            raise InvalidInput("density", "negative or infinite values", "an intensity ≥ 0, finite away from zero")
        if values[0] * near[0] ** 3 > 1e-3 * max(values[-1] * cut**3, 1e-300):
            raise InvalidInput("density", "z³ ν does not vanish at zero", "a Lévy measure: z² ν integrable at zero")
        variance += quad(lambda z, s=side: z * z * density(s * z), 0.0, cut, limit=200)[0]
        third += quad(lambda z, s=side: z**3 * density(s * z), 0.0, cut, limit=200)[0]
        end = largest if np.isfinite(largest) else _end_of_tail(density, side, cut)
        edges = np.geomspace(cut, end, 4001)
        middle = np.sqrt(edges[1:] * edges[:-1])
        mass = np.asarray([density(side * z) for z in middle]) * np.diff(edges)
        rate += mass.sum()
        cells.append(side * middle)
        masses.append(mass)
    size, mass = np.concatenate(cells), np.concatenate(masses)
    if rate == 0.0:
        return Truncated(float(variance), 0.0, np.zeros(1), float(third), cut)
    order = np.argsort(size)
    size, share = size[order], np.cumsum(mass[order]) / rate
    first = np.concatenate([[0.0], np.cumsum(size * mass[order]) / rate])
    levels = np.linspace(0.0, 1.0, atoms + 1)
    marks = np.diff(np.interp(levels, np.concatenate([[0.0], share]), first)) * atoms
    missed = rate * max(np.sum(size**2 * mass[order]) / rate - np.mean(marks**2), 0.0)
    return Truncated(float(variance + missed), float(rate), marks, float(third), cut)


def _end_of_tail(density: Callable[[float], float], side: float, cut: float) -> float:
    """Where z² ν(dz) has fallen to 1e-12 of its value at the cut."""
    end, scale = 2.0 * cut, density(side * cut) * cut**3
    while density(side * end) * end**3 > 1e-12 * scale and end < 1e8 * cut:
        end *= 2.0
    return end
