"""Propagation of chaos by synchronous coupling: N players against N independent copies of the limit on the same noise.

X^n follows the population with its own crowd M^N; Y^n starts where X^n does, is driven by the same Brownian motions and
jumps, but meets the limit's crowd m(t) in place of M^N. The Y^n are independent with the limit's law, so that

    coupling error  E[ (1/N) Σ_n |X^n_T − Y^n_T|² ]^{1/2}

bounds the distance of the law of any k players from independence, and the law of one player from the limit's.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.numerics.precision import keeping_double
from diffgames.simulation.population import CrowdProfile, Population, advance


class Coupled(eqx.Module):
    """Squared errors of independent replications, and the players of each at the end.

    - `coupling`: (1/N) Σ |X_T − Y_T|², `largest`: its largest value over the times
    - `crowd`: |M_T − m(T)|²; `mean`: M_T − m(T)
    - `state`: X_T, `limit_state`: Y_T
    """

    coupling: Float[Array, " replications"]
    largest: Float[Array, " replications"]
    crowd: Float[Array, " replications"]
    mean: Float[Array, "replications s"]
    state: Float[Array, "replications d players"]
    limit_state: Float[Array, "replications d players"]


@keeping_double
def couple(
    population: Population,
    profile: CrowdProfile,
    limit: Callable[[Float[Array, ""]], Float[Array, " s"]],
    key: PRNGKeyArray,
    *,
    players: int,
    steps: int,
    replications: int,
    max_jumps: int = 4,
) -> Coupled:
    """Simulate `replications` populations of `players` players next to their copies; `limit(t)` is m(t).

    There is no common noise here: the limit's crowd is a function of time.
    """
    for name, value in (("players", players), ("steps", steps), ("replications", replications)):
        if value < 1:
            raise InvalidInput(name, value, "an integer, at least 1")
    if population.common is not None:
        raise InvalidInput("common", "a common noise", "None: the crowd of the limit is a function of time here")
    keys = jax.random.split(key, replications)
    return _couple(population, profile, limit, keys, (players, steps, max_jumps))


@eqx.filter_jit
def _couple(
    population: Population,
    profile: CrowdProfile,
    limit: Callable,
    keys: Key[Array, " replications"],
    sizes: tuple[int, int, int],
) -> Coupled:
    players, steps, max_jumps = sizes

    def crowd_of(x: Array) -> Array:
        return jnp.mean(jax.vmap(population.statistic, in_axes=-1, out_axes=-1)(x), axis=-1)

    def one(key: PRNGKeyArray) -> tuple[Array, ...]:
        start_key, noise_key = jax.random.split(key)
        x = jax.vmap(population.initial, out_axes=-1)(jax.random.split(start_key, players))
        h = jnp.asarray(population.horizon, x.dtype) / steps

        def step(carry: tuple[Array, Array, Array], k: Array) -> tuple[tuple[Array, Array, Array], None]:
            x, y, largest = carry
            t, own = k.astype(x.dtype) * h, jax.random.fold_in(noise_key, k)
            x, _ = advance(population, profile, t, h, x, crowd_of(x), None, own, max_jumps)
            y, _ = advance(population, profile, t, h, y, limit(t).astype(y.dtype), None, own, max_jumps)
            return (x, y, jnp.maximum(largest, _distance(x, y))), None

        first = (x, x, jnp.zeros((), x.dtype))
        (x, y, largest), _ = jax.lax.scan(step, first, jnp.arange(steps, dtype=jnp.int32))
        off = crowd_of(x) - limit(jnp.asarray(population.horizon, x.dtype)).astype(x.dtype)
        return _distance(x, y), largest, jnp.sum(off**2), off, x, y

    coupling, largest, crowd, mean, x, y = jax.lax.map(one, keys)
    return Coupled(coupling=coupling, largest=largest, crowd=crowd, mean=mean, state=x, limit_state=y)


def _distance(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.sum((x - y) ** 2, axis=0))
