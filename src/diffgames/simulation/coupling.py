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
from diffgames.simulation.jumps import first_fault, report_fault
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
    found, fault = _couple(population, profile, limit, keys, (players, steps))
    report_fault(fault)
    return found


@eqx.filter_jit
def _couple(
    population: Population,
    profile: CrowdProfile,
    limit: Callable,
    keys: Key[Array, " replications"],
    sizes: tuple[int, int],
) -> tuple[Coupled, Array]:
    players, steps = sizes

    def crowd_of(x: Array) -> Array:
        return jnp.mean(jax.vmap(population.statistic, in_axes=-1, out_axes=-1)(x), axis=-1)

    def one(key: PRNGKeyArray) -> tuple[Array, ...]:
        start_key, noise_key = jax.random.split(key)
        x = jax.vmap(population.initial, out_axes=-1)(jax.random.split(start_key, players))
        h = jnp.asarray(population.horizon, x.dtype) / steps

        def step(carry: tuple[Array, ...], k: Array) -> tuple[tuple[Array, ...], None]:
            x, y, largest, fault = carry
            t, own = k.astype(x.dtype) * h, jax.random.fold_in(noise_key, k)
            x, _, wrong = advance(population, profile, t, h, x, crowd_of(x), None, own)
            y, _, other = advance(population, profile, t, h, y, limit(t).astype(y.dtype), None, own)
            fault = first_fault(jnp.stack([fault, wrong, other], axis=-1))
            return (x, y, jnp.maximum(largest, _distance(x, y)), fault), None

        first = (x, x, jnp.zeros((), x.dtype), jnp.zeros(len(population.jumps) + 1, x.dtype))
        (x, y, largest, fault), _ = jax.lax.scan(step, first, jnp.arange(steps, dtype=jnp.int32))
        off = crowd_of(x) - limit(jnp.asarray(population.horizon, x.dtype)).astype(x.dtype)
        return _distance(x, y), largest, jnp.sum(off**2), off, x, y, fault

    coupling, largest, crowd, mean, x, y, fault = jax.lax.map(one, keys)
    found = Coupled(coupling=coupling, largest=largest, crowd=crowd, mean=mean, state=x, limit_state=y)
    return found, first_fault(fault.T)


def _distance(x: Array, y: Array) -> Array:
    return jnp.mean(jnp.sum((x - y) ** 2, axis=0))
