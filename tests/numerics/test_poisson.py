"""Poisson counts by inversion against SciPy's quantiles, in both precisions, few and many per step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from diffgames.numerics.poisson import poisson_counts


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_counts_are_the_quantiles_also_where_there_are_many(dtype):
    """Means up to 300: e^{-300} is no float32."""
    means = jnp.asarray([[0.0], [1e-3], [0.7], [9.0], [60.0], [300.0]], dtype)
    uniform = jax.random.uniform(jax.random.key(0), (6, 4000), dtype)
    found = np.asarray(jax.jit(poisson_counts)(uniform, means))
    wanted = poisson.ppf(np.asarray(uniform, float), np.asarray(means, float))
    slack = 0.0 if dtype == jnp.float64 else 1.0  # a uniform next to a step of F
    assert np.abs(found - wanted).max() <= slack
    assert np.mean(found != wanted) < 1e-3
    assert np.all(found[0] == 0)


def test_the_largest_uniform_ends_the_search():
    largest = jnp.full((1, 1), np.nextafter(np.float32(1.0), np.float32(0.0)), jnp.float32)
    found = float(poisson_counts(largest, jnp.full((1, 1), 20.0, jnp.float32))[0, 0])
    assert found == pytest.approx(float(poisson.isf(6e-8, 20.0)), abs=5)
