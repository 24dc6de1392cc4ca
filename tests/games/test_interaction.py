"""Interaction of many players: blocks of rows against the list of pairs, random batches and Fourier features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games import interaction as module
from diffgames.games.interaction import Pairs, RandomBatches, fourier_features
from diffgames.games.kernels import Gaussian, Quadratic

T = jnp.zeros(())


def points(n, paths=3):
    keys = jax.random.split(jax.random.key(n), 3)
    return [0.5 * jax.random.normal(key, (2, n, paths)) for key in keys]


def test_rows_in_blocks_agree_with_all_pairs_at_once(monkeypatch):
    x, y, own = points(12)
    weights = jax.random.uniform(jax.random.key(1), (12, 12)) * (1.0 - jnp.eye(12))
    pairs = Pairs(Gaussian(2.0), weights, True)
    at_once = pairs.felt(T, own, x), pairs.potential(T, x, y), jax.grad(lambda x: pairs.potential(T, x, y).sum())(x)
    monkeypatch.setattr(module, "PAIR_LIST", 4)
    blocks = pairs.felt(T, own, x), pairs.potential(T, x, y), jax.grad(lambda x: pairs.potential(T, x, y).sum())(x)
    for one, other in zip(at_once, blocks, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("antisymmetric", [False, True])
def test_random_batches_are_unbiased(antisymmetric):
    x, y, own = points(12, paths=1)
    weights = jax.random.uniform(jax.random.key(1), (12, 12)) * (1.0 - jnp.eye(12))
    weights = weights if antisymmetric else weights + weights.T
    exact = Pairs(Gaussian(2.0), weights, antisymmetric)
    batches = RandomBatches(Gaussian(2.0), weights, 4, antisymmetric, jax.random.key(0))
    keys = jax.random.split(jax.random.key(2), 3000)
    potential, felt = jax.vmap(
        lambda key: (batches.renewed(key).potential(T, x, y), batches.renewed(key).felt(T, own, x))
    )(keys)
    for drawn, wanted in ((potential, exact.potential(T, x, y)), (felt, exact.felt(T, own, x))):
        error = jnp.std(drawn, axis=0) / np.sqrt(len(keys))
        assert np.all(np.abs(drawn.mean(axis=0) - wanted) < 4.5 * error)


def test_fourier_features_err_as_one_over_the_root_of_their_number():
    n = 40
    x, y, own = points(n)
    kernel, weight = Gaussian(3.0, 0.7), 0.25
    exact = Pairs(kernel, weight * (1.0 - jnp.eye(n)), False)

    def error(features):
        @jax.vmap
        def squares(key):
            fast = fourier_features(kernel, weight, features, 2, key)
            felt, potential = fast.felt(T, own, x) / wanted[0] - 1.0, fast.potential(T, x, y) / wanted[1] - 1.0
            return jnp.mean(felt**2), jnp.mean(potential**2)

        return [float(jnp.sqrt(jnp.mean(part))) for part in squares(jax.random.split(jax.random.key(3), 200))]

    wanted = exact.felt(T, own, x), exact.potential(T, x, y)
    for few, many in zip(error(64), error(1024), strict=True):
        assert 3.0 < few / many < 5.3  # 4 for sixteen times as many


def test_features_need_a_gaussian():
    with pytest.raises(InvalidInput, match="Gaussian"):
        fourier_features(Quadratic(), 1.0, 8, 2, jax.random.key(0))
