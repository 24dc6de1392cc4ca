"""Poisson counts by inverting the distribution function at given uniforms, however many there are.

    count(U; m) = #{k ≥ 1 : U ≥ F(k − 1; m)},   F(k; m) = Σ_{l ≤ k} e^{−m} m^l / l!.

The first counts are unrolled, since most steps see none or few; a loop goes on while any uniform lies beyond, so that
nothing is cut off where intensities are high or steps are long.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

UNROLLED = 8
"""So many counts are told apart without a loop."""


def poisson_counts(uniform: Float[Array, "*shape"], mean: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """Counts of laws with `mean` (an array of the same rank, broadcast), to the resolution of the uniforms.

    As steps of the mean they have derivative zero, which is what they are given; NaN counts none.
    """
    uniform, mean = jax.lax.stop_gradient(uniform), jax.lax.stop_gradient(mean)
    counts, probability = jnp.zeros_like(uniform), jnp.exp(-mean)
    below = probability
    for k in range(1, UNROLLED + 1):
        counts = counts + (uniform >= below).astype(uniform.dtype)
        probability = probability * mean / k
        below = below + probability

    # beyond: probabilities by their logarithms, since e^{−m} may be no number of this precision
    safe = jnp.maximum(mean, jnp.finfo(mean.dtype).tiny)

    def unfinished(carry):
        k, below, probability, _ = carry
        running = (k < mean) | (probability > jnp.finfo(mean.dtype).eps)  # F rounds to 1 beyond
        return jnp.any((uniform >= below) & running)

    def count(carry):
        k, below, _, counts = carry
        k = k + 1.0
        probability = jnp.exp(k * jnp.log(safe) - mean - gammaln(k + 1.0))
        return k, below + probability, probability, counts + (uniform >= below).astype(uniform.dtype)

    start = (jnp.asarray(float(UNROLLED), mean.dtype), below, probability, counts)
    return jax.lax.while_loop(unfinished, count, start)[3]
