"""Who can trade with whom: Bernoulli connectivity between agents and exchanges, drawn once per episode.

Supertypes state the probability that a provider of supertype a and a taker of supertype b are connected, and that an
agent is connected to an exchange; edges are independent Bernoulli draws (Vadori et al., Sections 2.1 and 5.2). The
probability itself may be random: the first provider's connectivity of Section 5.2 is uniform on [0, 1] per episode.
What an agent may condition on is the *empirical* fraction of the agents of each supertype it is connected to.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from diffgames.markets.agents import TypeDistribution


class Connectivity(eqx.Module):
    """Connection probabilities per pair of supertypes."""

    provider_taker: TypeDistribution  # [provider supertypes, taker supertypes]
    provider_exchange: TypeDistribution  # [provider supertypes, exchanges]
    taker_exchange: TypeDistribution  # [taker supertypes, exchanges]


class Network(eqx.Module):
    """The connections of one episode, and the fractions the agents observe."""

    provider_taker: Bool[Array, "providers takers"]
    provider_exchange: Bool[Array, "providers exchanges"]
    taker_exchange: Bool[Array, "takers exchanges"]
    provider_fraction: Float[Array, "providers taker_supertypes"]
    taker_fraction: Float[Array, "takers provider_supertypes"]


def draw_network(
    connectivity: Connectivity,
    provider_supertype: Int[Array, " providers"],
    taker_supertype: Int[Array, " takers"],
    key: PRNGKeyArray,
) -> Network:
    """Draw one episode's connections."""
    probability_key, pair_key, provider_key, taker_key = jax.random.split(key, 4)
    probability = connectivity.provider_taker.take(provider_supertype).sample(probability_key)
    pair = _bernoulli(pair_key, probability[:, taker_supertype])
    providers = connectivity.provider_exchange.take(provider_supertype).sample(jax.random.fold_in(provider_key, 1))
    takers = connectivity.taker_exchange.take(taker_supertype).sample(jax.random.fold_in(taker_key, 1))
    return Network(
        provider_taker=pair,
        provider_exchange=_bernoulli(provider_key, providers),
        taker_exchange=_bernoulli(taker_key, takers),
        provider_fraction=group_means(pair, taker_supertype, connectivity.taker_exchange.mean.shape[0]),
        taker_fraction=group_means(pair.T, provider_supertype, connectivity.provider_exchange.mean.shape[0]),
    )


def group_means(
    values: Bool[Array, "rows members"] | Float[Array, "rows members"], group: Int[Array, " members"], groups: int
) -> Float[Array, "rows groups"]:
    """Mean of each row over the members of each group; zero for an empty group."""
    member = jax.nn.one_hot(group, groups, dtype=jnp.float32)
    return values.astype(jnp.float32) @ member / jnp.maximum(jnp.sum(member, axis=0), 1.0)[None, :]


def _bernoulli(key: PRNGKeyArray, probability: Float[Array, "rows columns"]) -> Bool[Array, "rows columns"]:
    return jax.random.uniform(key, probability.shape, jnp.float32) < probability
