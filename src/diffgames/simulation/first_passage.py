"""Which simulated paths reach a level, also between the times at which they are known.

Given the values x, y ≥ D of a diffusion of volatility s at two times h apart, the path in between is nearly a Brownian
bridge (exactly one for a Brownian motion with drift) and goes below D with probability exp(−2 (x−D)(y−D) / (s²h)).
Without this the level is reached too rarely, by order √h.
"""

import numpy as np
from jaxtyping import Bool, Float


def first_passage(
    state: Float[np.ndarray, "paths times *components"],
    level: float,
    deviation: float,
    step: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "paths *components"]:
    """Which paths reach `level` from above, [paths, *components], given their values at times `step` apart.

    `deviation` is the volatility. The indicator of every path is drawn, given its values.
    """
    above = np.maximum(state - level, 0.0)
    chance = np.exp(-2.0 * above[:, :-1] * above[:, 1:] / max(deviation**2 * step, 1e-300))
    return np.asarray(np.any(rng.random(chance.shape) < chance, axis=1))
