"""Action distributions as pure functions of a head (see `policy`): sample, log-density, entropy, divergence.

For a `Continuous` space, head = (μ, log σ), log σ cut to `LOG_SIGMA_BOUNDS`: log p(a) = Σ −½((a − μ)/σ)² − log σ − ½
log 2π, H(p) = Σ log σ + ½ (1 + log 2π), KL(p‖p') = Σ log σ'/σ + (σ² + (μ − μ')²)/(2σ'²) − ½. For a `Discrete` space,
head = logits. All are in nats and per agent; the raw continuous action is what is sampled and scored, before it is
clipped.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.markov import Continuous, Discrete
from diffgames.learning.policy import LOG_SIGMA_BOUNDS

Space = Continuous | Discrete
LOG_TWO_PI = math.log(2 * math.pi)


def sample(space: Space, head: Float[Array, "batch head"], key: PRNGKeyArray) -> Array:
    """One raw action per row: Float[batch, components] or Int[batch]."""
    if isinstance(space, Continuous):
        mean, log_sigma = _gaussian(head)
        return mean + jnp.exp(log_sigma) * jax.random.normal(key, mean.shape, mean.dtype)
    # Inverse distribution function: one uniform number per row, where Gumbel noise takes one per action.
    weight = jnp.exp(head - jnp.max(head, axis=-1, keepdims=True))
    cumulative = jnp.cumsum(weight, axis=-1)
    threshold = jax.random.uniform(key, head.shape[:-1], head.dtype) * cumulative[..., -1]
    passed = threshold[..., None] >= cumulative[..., :-1]
    return jnp.sum(passed.astype(jnp.int32), axis=-1, dtype=jnp.int32)


def mode(space: Space, head: Float[Array, "batch head"]) -> Array:
    """The most likely raw action."""
    return _gaussian(head)[0] if isinstance(space, Continuous) else jnp.argmax(head, axis=-1).astype(jnp.int32)


def log_probability(space: Space, head: Float[Array, "batch head"], action: Array) -> Float[Array, " batch"]:
    """Log-density (or log-probability) of a raw action."""
    if isinstance(space, Continuous):
        mean, log_sigma = _gaussian(head)
        standard = (action - mean) * jnp.exp(-log_sigma)
        return jnp.sum(-0.5 * (standard**2 + LOG_TWO_PI) - log_sigma, axis=-1)
    chosen = jax.nn.one_hot(action, head.shape[-1], dtype=head.dtype)
    return jnp.sum(jnp.where(chosen > 0, jax.nn.log_softmax(head), 0.0), axis=-1)


def entropy(space: Space, head: Float[Array, "batch head"]) -> Float[Array, " batch"]:
    """Entropy of the raw action."""
    if isinstance(space, Continuous):
        return jnp.sum(_gaussian(head)[1] + 0.5 * (LOG_TWO_PI + 1.0), axis=-1)
    log_p = jax.nn.log_softmax(head)
    return -jnp.sum(jnp.where(jnp.isfinite(log_p), jnp.exp(log_p) * log_p, 0.0), axis=-1)


def lowest_entropy(space: Space) -> float:
    """Entropy below which a policy hardly explores: every log σ within 0.03 of its lower bound, or 0.001 nats."""
    if isinstance(space, Continuous):
        return space.size * (LOG_SIGMA_BOUNDS[0] + 0.5 * (LOG_TWO_PI + 1.0) + 0.03)
    return 1e-3


def divergence(
    space: Space, old: Float[Array, "batch head"], new: Float[Array, "batch head"]
) -> Float[Array, " batch"]:
    """KL(old ‖ new)."""
    if isinstance(space, Continuous):
        mean, log_sigma = _gaussian(old)
        new_mean, new_log_sigma = _gaussian(new)
        ratio = jnp.exp(2 * (log_sigma - new_log_sigma))
        shift = (mean - new_mean) * jnp.exp(-new_log_sigma)
        return jnp.sum(new_log_sigma - log_sigma + 0.5 * (ratio + shift**2 - 1.0), axis=-1)
    old_log, new_log = jax.nn.log_softmax(old), jax.nn.log_softmax(new)
    return jnp.sum(jnp.exp(old_log) * (old_log - new_log), axis=-1)


def _gaussian(head: Float[Array, "batch head"]) -> tuple[Array, Array]:
    components = head.shape[-1] // 2
    return head[..., :components], jnp.clip(head[..., components:], *LOG_SIGMA_BOUNDS)
