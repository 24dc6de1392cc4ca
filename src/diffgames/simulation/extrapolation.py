"""Mean costs without the error of the step: Euler's scheme on the same noise in steps of two lengths.

Expected costs J_h of the scheme are of first order in its step h, so that 2 J_h − J_2h is of second (Talay & Tubaro
1990). Both are estimated on the same Brownian motion and uniforms, path by path, which leaves the standard error of the
extrapolated mean about that of the plain one; the plain interval does not hold the truth once the step's error is no
longer small against it.

The players of a crowd share its mean and are not independent: its cost has the error that independent crowds tell.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.numerics.precision import keeping_double
from diffgames.simulation.paths import Paths, simulate
from diffgames.simulation.population import Crowd, CrowdProfile, Population, simulate_population
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


@keeping_double
def simulate_crowds(
    population: Population, profile: CrowdProfile, key: PRNGKeyArray, *, crowds: int, players: int, steps: int
) -> Crowd:
    """`simulate_population` for `crowds` crowds of `players` each, on noise of their own, all but the state averaged.

    `cost` is extrapolated from `steps` steps (one more where that is odd) and half as many, of as many crowds each. Its
    `standard_error` is that of the mean of `crowds` independent numbers. Left is the bias of finite crowds, of order
    1/players. `state` is that of the last crowd.
    """
    if crowds < 2:
        raise InvalidInput("crowds", crowds, "an integer, at least 2: one crowd tells no error")
    half = max((steps + 1) // 2, 1)
    pairs = [jax.random.split(one) for one in jax.random.split(key, crowds)]
    fine = [simulate_population(population, profile, one, players=players, steps=2 * half) for one, _ in pairs]
    coarse = [simulate_population(population, profile, one, players=players, steps=half) for _, one in pairs]
    costs = jnp.stack([2 * a.cost - b.cost for a, b in zip(fine, coarse, strict=True)])
    statistic = jnp.stack([one.statistic for one in fine])
    mean = jnp.mean(statistic, axis=0)
    squares = jnp.stack([one.spread**2 for one in fine]) + (statistic - mean[None]) ** 2
    return dataclasses.replace(
        fine[-1],
        statistic=mean,
        spread=jnp.sqrt(jnp.mean(squares, axis=0)),
        cost=jnp.mean(costs),
        standard_error=jnp.std(costs, ddof=1) / math.sqrt(crowds),
    )
