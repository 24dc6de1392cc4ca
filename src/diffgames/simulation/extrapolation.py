"""Mean costs without the error of the step: Euler's scheme on the same noise in steps of two lengths.

Expected costs J_h of the scheme are of first order in its step h, so that 2 J_h − J_2h is of second (Talay & Tubaro
1990). Both are estimated on the same Brownian motion and uniforms, path by path, which leaves the standard error of the
extrapolated mean about that of the plain one; the plain interval does not hold the truth once the step's error is no
longer small against it.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from diffgames.numerics.precision import keeping_double
from diffgames.simulation.paths import Paths, simulate
from diffgames.simulation.rollout import Profile, Scheme


@keeping_double
def simulate_extrapolated(
    game: Any, profile: Profile, key: PRNGKeyArray, *, paths: int, steps: int, keep: int = 0
) -> Paths:
    """`simulate` in `steps` steps (one more where that is odd), costs extrapolated to steps of no length.

    `costs`, `cost` and `standard_error` are those of 2 J_h − J_2h; states and their moments are those of the scheme.
    """
    coarse = max((steps + 1) // 2, 1)
    fine = simulate(game, profile, key, paths=paths, steps=2 * coarse, keep=keep)
    half = simulate(game, profile, key, paths=paths, steps=coarse, keep=0, scheme=Scheme(refine=2))
    costs = 2 * fine.costs - half.costs
    error = jnp.std(costs, axis=0) / math.sqrt(max(paths - 1, 1))
    return dataclasses.replace(fine, costs=costs, cost=jnp.mean(costs, axis=0), standard_error=error)
