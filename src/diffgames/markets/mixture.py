"""Gaussian mixtures as pytrees of arrays, cheap to sample inside a compiled simulation.

    p(x) = Σ_c w_c N(x; μ_c, L_c L_cᵀ)

A draw needs one vector of uniforms and nothing else: the first d become standard normals z = √2 erf⁻¹(u), the last
picks the component c, and x = μ_c + L_c z. L_c z is computed for every component at once and the right one selected:
under `vmap` that is one matrix product, where fetching L_c per sample would be a gather of d² numbers each.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

LOWEST = float(np.nextafter(np.float32(-1.0), np.float32(0.0)))


class GaussianMixture(eqx.Module):
    """Mixture of C Gaussians in d dimensions.

    Attributes:
        weights: w_c ≥ 0, summing to one.
        means: μ_c.
        cholesky: lower triangular L_c.
    """

    weights: Float[Array, "*batch components"]
    means: Float[Array, "*batch components dimension"]
    cholesky: Float[Array, "*batch components dimension dimension"]

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return self.means.shape[-1]

    def sample(self, key: PRNGKeyArray) -> Float[Array, " dimension"]:
        """One draw."""
        return self.from_uniforms(uniforms(key, self.dimension + 1))

    def from_uniforms(self, uniform: Float[Array, " dimension_and_one"]) -> Float[Array, " dimension"]:
        """The draw that d + 1 independent uniforms on (−1, 1) make."""
        normal = float(np.sqrt(2.0)) * jax.lax.erf_inv(uniform[:-1])
        below = jnp.cumsum(self.weights) < (uniform[-1] + 1.0) / 2.0
        chosen = jnp.sum(below[:-1], dtype=jnp.int32)  # rounding of the weights' sum cannot run past the last
        selected = (jnp.arange(self.weights.shape[0], dtype=jnp.int32) == chosen).astype(self.means.dtype)
        shifted = self.means + jnp.matmul(self.cholesky, normal, precision="highest")
        return jnp.matmul(selected, shifted, precision="highest")


def uniforms(key: PRNGKeyArray, count: int) -> Float[Array, " count"]:
    """Independent uniforms on (−1, 1), single precision; −1 itself, where erf⁻¹ is infinite, is left out."""
    return jax.random.uniform(key, (count,), jnp.float32, minval=LOWEST, maxval=1.0)


def padded(mixture: GaussianMixture, components: int) -> GaussianMixture:
    """The same law written with `components` components, those added with weight zero."""
    missing = components - mixture.weights.shape[0]

    def repeat(array):
        return jnp.concatenate([array] + [array[:1]] * missing)

    return GaussianMixture(
        weights=jnp.pad(mixture.weights, (0, missing)), means=repeat(mixture.means), cholesky=repeat(mixture.cholesky)
    )
