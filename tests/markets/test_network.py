"""Connections: Bernoulli with the stated probabilities, random probabilities drawn per provider and episode."""

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.markets.agents import constant, uniform
from diffgames.markets.network import Connectivity, draw_network, group_means

PROVIDERS, TAKERS = jnp.asarray([0, 1, 1], jnp.int32), jnp.asarray([0, 0, 0, 1, 1], jnp.int32)


TO_EXCHANGE = constant([[0.75], [0.75]])


def _networks(pair, count=4000, exchange=TO_EXCHANGE):
    connectivity = Connectivity(pair, constant([[0.25], [0.25]]), exchange)
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: draw_network(connectivity, PROVIDERS, TAKERS, key))(keys)


def test_edges_have_their_probability_and_are_independent():
    networks = _networks(constant([[0.2, 0.9], [0.5, 0.0]]))
    edges = np.asarray(networks.provider_taker, float)
    expected = np.array([[0.2] * 3 + [0.9] * 2, [0.5] * 3 + [0.0] * 2, [0.5] * 3 + [0.0] * 2])
    error = np.sqrt(expected * (1 - expected) / len(edges))
    assert (np.abs(edges.mean(axis=0) - expected) <= 4.5 * error).all()
    assert abs(np.corrcoef(edges[:, 0, 0], edges[:, 0, 1])[0, 1]) < 4 / np.sqrt(len(edges))
    assert abs(float(jnp.mean(networks.provider_exchange)) - 0.25) < 0.02
    assert abs(float(jnp.mean(networks.taker_exchange)) - 0.75) < 0.02


def test_a_random_probability_is_shared_by_the_edges_of_a_provider():
    """U[0, 1] per provider and taker supertype: two edges agree with probability E[p² + (1−p)²] = 2/3."""
    edges = np.asarray(_networks(uniform([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]])).provider_taker)
    agree = np.mean(edges[:, 0, 0] == edges[:, 0, 1])
    assert abs(agree - 2 / 3) < 4.5 * np.sqrt(2 / 9 / len(edges))
    assert abs(np.mean(edges[:, 0, 0] == edges[:, 0, 3]) - 0.5) < 4.5 * np.sqrt(0.25 / len(edges))


def test_a_connection_to_an_exchange_may_have_a_random_probability():
    """U[0, 1] per taker and episode: the mean is a half, and takers of one supertype draw their own."""
    edges = np.asarray(_networks(constant([[0.5] * 2] * 2), exchange=uniform([[0.0]] * 2, [[1.0]] * 2)).taker_exchange)
    error = np.sqrt(0.25 / len(edges))
    assert abs(edges.mean() - 0.5) < 4.5 * error
    assert abs(np.corrcoef(edges[:, 0, 0], edges[:, 1, 0])[0, 1]) < 4.5 / np.sqrt(len(edges))


def test_observed_fractions_are_empirical():
    network = jax.tree.map(lambda leaf: leaf[7], _networks(constant([[0.5, 0.5], [0.5, 0.5]])))
    edges = np.asarray(network.provider_taker, float)
    np.testing.assert_allclose(network.provider_fraction[:, 0], edges[:, :3].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(network.taker_fraction[:, 1], edges[1:].mean(axis=0), rtol=1e-6)


def test_empty_group_has_mean_zero():
    assert float(group_means(jnp.ones((1, 2), bool), jnp.asarray([0, 0], jnp.int32), 2)[0, 1]) == 0.0
