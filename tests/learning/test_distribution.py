"""Action distributions against scipy and against their own samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffgames.games.markov import Continuous, Discrete
from diffgames.learning import distribution
from diffgames.learning.policy import LOG_SIGMA_BOUNDS

BOX = Continuous(("x", "y"), (-1.0, 0.0), (1.0, 2.0))
CHOICE = Discrete(("a", "b", "c"))
GAUSSIAN = jnp.asarray([[0.3, -1.0, -0.5, 0.7], [0.0, 2.0, 0.1, -1.2]], jnp.float32)
LOGITS = jnp.asarray([[0.2, -1.0, 1.5], [3.0, 0.0, 0.0]], jnp.float32)


def test_densities_and_entropies_are_scipys():
    raw = jnp.asarray([[0.1, -0.4], [1.0, 1.0]], jnp.float32)
    mean, sigma = np.asarray(GAUSSIAN[:, :2], float), np.exp(np.asarray(GAUSSIAN[:, 2:], float))
    expected = stats.norm.logpdf(np.asarray(raw, float), mean, sigma).sum(axis=1)
    np.testing.assert_allclose(distribution.log_probability(BOX, GAUSSIAN, raw), expected, rtol=1e-5)
    np.testing.assert_allclose(
        distribution.entropy(BOX, GAUSSIAN), stats.norm.entropy(mean, sigma).sum(axis=1), rtol=1e-5
    )
    weights = np.exp(np.asarray(LOGITS, float))
    weights /= weights.sum(axis=1, keepdims=True)
    chosen = jnp.asarray([2, 0], jnp.int32)
    np.testing.assert_allclose(
        distribution.log_probability(CHOICE, LOGITS, chosen), np.log(weights[[0, 1], [2, 0]]), rtol=1e-5
    )
    np.testing.assert_allclose(distribution.entropy(CHOICE, LOGITS), stats.entropy(weights, axis=1), rtol=1e-5)


@pytest.mark.parametrize(("space", "head"), [(BOX, GAUSSIAN), (CHOICE, LOGITS)])
def test_divergence_is_the_mean_log_ratio_of_samples(space, head):
    """KL(p‖p') by Monte Carlo within four standard errors; zero of a law against itself."""
    old, new = jnp.broadcast_to(head[:1], (40_000, head.shape[1])), jnp.broadcast_to(head[1:], (40_000, head.shape[1]))
    drawn = distribution.sample(space, old, jax.random.key(0))
    ratio = distribution.log_probability(space, old, drawn) - distribution.log_probability(space, new, drawn)
    error = float(jnp.std(ratio)) / 200
    assert float(distribution.divergence(space, old, new)[0]) == pytest.approx(float(jnp.mean(ratio)), abs=4 * error)
    np.testing.assert_allclose(distribution.divergence(space, head, head), 0.0, atol=1e-6)


def test_samples_have_the_stated_law():
    heads = jnp.broadcast_to(LOGITS[:1], (30_000, 3))
    share = np.bincount(np.asarray(distribution.sample(CHOICE, heads, jax.random.key(1))), minlength=3) / 30_000
    weights = np.exp(np.asarray(LOGITS[0], float))
    weights /= weights.sum()
    assert (np.abs(share - weights) < 4 * np.sqrt(weights * (1 - weights) / 30_000)).all()
    raw = distribution.sample(BOX, jnp.broadcast_to(GAUSSIAN[:1], (30_000, 4)), jax.random.key(2))
    np.testing.assert_allclose(raw.std(axis=0), np.exp(np.asarray(GAUSSIAN[0, 2:])), rtol=0.03)
    np.testing.assert_array_equal(distribution.mode(CHOICE, LOGITS), [2, 0])


def test_a_forbidden_choice_is_never_taken_and_has_finite_entropy():
    """A probability of zero (a logit of −∞), as fixed takers have."""
    heads = jnp.broadcast_to(jnp.asarray([[-jnp.inf, 0.0, 0.0]], jnp.float32), (1000, 3))
    assert not (np.asarray(distribution.sample(CHOICE, heads, jax.random.key(3))) == 0).any()
    np.testing.assert_allclose(distribution.entropy(CHOICE, heads[:1]), np.log(2), rtol=1e-6)


def test_deviations_are_kept_within_bounds():
    wild = jnp.asarray([[0.0, 0.0, -100.0, 100.0]], jnp.float32)
    expected = sum(LOG_SIGMA_BOUNDS) + 2 * 0.5 * (1 + np.log(2 * np.pi))
    assert float(distribution.entropy(BOX, wild)[0]) == pytest.approx(expected, rel=1e-5)
