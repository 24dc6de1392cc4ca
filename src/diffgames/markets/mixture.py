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
        dimension = self.means.shape[-1]
        dtype = self.means.dtype
        lowest = float(np.nextafter(np.float32(-1.0), np.float32(0.0)))  # erf⁻¹(−1) is −∞
        uniform = jax.random.uniform(key, (dimension + 1,), dtype, minval=lowest, maxval=1.0)
        normal = float(np.sqrt(2.0)) * jax.lax.erf_inv(uniform[:dimension])
        below = jnp.cumsum(self.weights) < (uniform[dimension] + 1.0) / 2.0
        chosen = jnp.sum(below[:-1], dtype=jnp.int32)  # rounding of the weights' sum cannot run past the last
        selected = (jnp.arange(self.weights.shape[0], dtype=jnp.int32) == chosen).astype(dtype)
        shifted = self.means + jnp.matmul(self.cholesky, normal, precision="highest")
        return jnp.matmul(selected, shifted, precision="highest")

    def log_density(self, points: Float[Array, "samples dimension"]) -> Float[Array, " samples"]:
        """ln p(x) of every point."""

        def component(weight, mean, cholesky):
            residual = jax.scipy.linalg.solve_triangular(cholesky, (points - mean[None, :]).T, lower=True)
            half_log_det = jnp.sum(jnp.log(jnp.diagonal(cholesky)))
            constant = 0.5 * self.dimension * float(np.log(2 * np.pi))
            return jnp.log(weight) - 0.5 * jnp.sum(residual**2, axis=0) - half_log_det - constant

        terms = jax.vmap(component)(self.weights, self.means, self.cholesky)
        return jax.scipy.special.logsumexp(terms, axis=0)


def padded(mixture: GaussianMixture, components: int) -> GaussianMixture:
    """The same law written with `components` components, those added with weight zero."""
    missing = components - mixture.weights.shape[0]
    repeat = lambda array: jnp.concatenate([array] + [array[:1]] * missing)  # noqa: E731 - used twice below
    return GaussianMixture(
        weights=jnp.pad(mixture.weights, (0, missing)), means=repeat(mixture.means), cholesky=repeat(mixture.cholesky)
    )
