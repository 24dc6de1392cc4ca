"""Advantages against the double sum of their definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.learning.advantage import advantages


@pytest.mark.parametrize(("discount", "gae_lambda"), [(1.0, 1.0), (0.9, 0.7), (0.95, 0.0)])
def test_advantages_are_the_discounted_sum_of_errors(discount, gae_lambda):
    """A_t = Σ_k (γλ)^k δ_{t+k}, δ_t = r_t + γ v_{t+1} − v_t, v after the end zero; targets A + v."""
    generator = np.random.default_rng(0)
    reward, value = generator.normal(size=(2, 7, 3)).astype(np.float32)
    following = np.concatenate([value[1:], np.zeros((1, 3))])
    error = reward + discount * following - value
    expected = np.zeros((7, 3))
    for t in range(7):
        for k in range(7 - t):
            expected[t] += (discount * gae_lambda) ** k * error[t + k]
    estimate, target = advantages(jnp.asarray(reward), jnp.asarray(value), discount, gae_lambda)
    np.testing.assert_allclose(estimate, expected, atol=1e-5)
    np.testing.assert_allclose(target, expected + value, atol=1e-5)
