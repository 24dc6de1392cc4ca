"""Pairwise interaction of many players: Σ_{j≠i} w_ij K(x_i − x_j), exactly or approximately.

Split the weights into s = (w + wᵀ)/2 and a = (w − wᵀ)/2. The symmetric part of the interaction is an exact potential
and needs neither the sensitivity Y nor quadrature; the antisymmetric part of equation 3.6 is, K being even,

    Σ_{i<j} s_ij K(x_i − x_j)   and   Σ_{i<j} a_ij ∫₀¹ (y_i + y_j)·∇K((x_i − x_j) − (1−r)(y_i − y_j)) dr,

by Gauss–Legendre in r (two nodes are exact for a quadratic kernel). Three ways to sum over pairs:

- `Pairs`: exact, O(N²) per path; a list i < j for few players, blocks of rows for many, so that memory is O(N)
- `RandomBatches`: players in random groups of p at every step, sums scaled by (N−1)/(p−1); unbiased, O(N p)
- `FourierFeatures`: K(x − y) ≈ h/D Σ_k cos ω_k·(x − y), ω_k ~ N(0, 2c), for a Gaussian kernel and weights that are
  the same for all pairs; O(N D), relative to h of error O(D^{−1/2})
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.distributed import States
from diffgames.games.kernels import AbstractKernel, Gaussian
from diffgames.games.potential import gauss_legendre

PAIR_LIST = 48
"""Up to this many players all pairs are formed at once."""


class AbstractInteraction(eqx.Module):
    """Sums over pairs of players at positions x [d, players, paths]; t labels the randomness of approximate ones."""

    @abc.abstractmethod
    def felt(self, t: Float[Array, ""], own: States, x: States) -> Float[Array, "players paths"]:
        """Σ_{j≠i} w_ij K(own_i − x_j) for every i."""

    @abc.abstractmethod
    def potential(self, t: Float[Array, ""], x: States, y: States) -> Float[Array, " paths"]:
        """Symmetric part at x plus antisymmetric part at (x, y); see the module's docstring."""

    def renewed(self, key: PRNGKeyArray) -> "AbstractInteraction":
        """The interaction with fresh randomness, where it has any."""
        return self


class Pairs(AbstractInteraction):
    """All pairs; `antisymmetric` says whether the antisymmetric part is there at all."""

    kernel: AbstractKernel
    weights: Float[Array, "players players"]
    antisymmetric: bool = eqx.field(static=True)
    nodes: int = eqx.field(static=True, default=8)

    def felt(self, t: Float[Array, ""], own: States, x: States) -> Float[Array, "players paths"]:
        """Σ_{j≠i} w_ij K(own_i − x_j)."""
        weights = jnp.asarray(self.weights, x.dtype)

        def row(own_i, weights_i):
            return jnp.einsum("j,jb->b", weights_i, self.kernel(own_i[:, None] - x))

        if x.shape[1] <= PAIR_LIST:
            return jnp.einsum("ij,ijb->ib", weights, self.kernel(own[:, :, None] - x[:, None]))
        rows = (jnp.moveaxis(own, 1, 0), weights)
        return jax.lax.map(lambda pair: jax.checkpoint(row)(*pair), rows, batch_size=8)

    def potential(self, t: Float[Array, ""], x: States, y: States) -> Float[Array, " paths"]:
        """Symmetric and antisymmetric part."""
        if x.shape[1] <= PAIR_LIST:
            return self._listed(x, y)
        weights = jnp.asarray(self.weights, x.dtype)
        s, a = 0.5 * (weights + weights.T), 0.5 * (weights - weights.T)

        @jax.checkpoint
        def row(row):
            x_i, y_i, s_i, a_i = row
            z = x_i[:, None] - x
            value = jnp.einsum("j,jb->b", s_i, self.kernel(z))
            if self.antisymmetric:
                value += jnp.einsum(
                    "j,jb->b", a_i, _mean_slope(self.kernel, z, y_i[:, None] - y, y_i[:, None] + y, self.nodes)
                )
            return 0.5 * value

        rows = (jnp.moveaxis(x, 1, 0), jnp.moveaxis(y, 1, 0), s, a)
        return jnp.sum(jax.lax.map(row, rows, batch_size=8), axis=0)

    def _listed(self, x: States, y: States) -> Float[Array, " paths"]:
        first, second = np.triu_indices(x.shape[1], 1)
        w = jnp.asarray(self.weights, x.dtype)
        forward, backward = w[first, second], w[second, first]
        z = x[:, first] - x[:, second]
        value = jnp.einsum("p,pb->b", 0.5 * (forward + backward), self.kernel(z))
        if self.antisymmetric:
            slope = _mean_slope(self.kernel, z, y[:, first] - y[:, second], y[:, first] + y[:, second], self.nodes)
            value += jnp.einsum("p,pb->b", 0.5 * (forward - backward), slope)
        return value


def _mean_slope(kernel: AbstractKernel, z: Array, difference: Array, total: Array, nodes: int) -> Array:
    """∫₀¹ total·∇K(z − (1−r) difference) dr."""
    points, weights = gauss_legendre(nodes)
    parts = [
        float(w) * jnp.sum(total * kernel.gradient(z - float(1.0 - r) * difference), axis=0)
        for r, w in zip(points, weights, strict=True)
    ]
    return jnp.sum(jnp.stack(parts), axis=0)


class RandomBatches(AbstractInteraction):
    """Players in fresh random groups of `size` at every time; the same for all paths of a step.

    With weights of any network; `size` divides the number of players.
    """

    kernel: AbstractKernel
    weights: Float[Array, "players players"] | Float[Array, ""]
    size: int = eqx.field(static=True)
    antisymmetric: bool = eqx.field(static=True)
    key: PRNGKeyArray
    nodes: int = eqx.field(static=True, default=8)

    def renewed(self, key: PRNGKeyArray) -> "RandomBatches":
        """With other groups from now on."""
        return eqx.tree_at(lambda interaction: interaction.key, self, key)

    def felt(self, t: Float[Array, ""], own: States, x: States) -> Float[Array, "players paths"]:
        """(N−1)/(p−1) Σ over the own group."""
        order, weights = self._groups(t, x)
        own_g, x_g = own[:, order], x[:, order]  # [d, groups, size, paths]
        found = jnp.einsum("gij,gijb->gib", weights, self.kernel(own_g[:, :, :, None] - x_g[:, :, None]))
        return jnp.zeros(x.shape[1:], x.dtype).at[order.reshape(-1)].set(found.reshape(-1, x.shape[2]))

    def potential(self, t: Float[Array, ""], x: States, y: States) -> Float[Array, " paths"]:
        """Symmetric and antisymmetric part within the groups, scaled."""
        order, w = self._groups(t, x)
        first, second = np.triu_indices(self.size, 1)
        forward, backward = w[:, first, second], w[:, second, first]
        x_g, y_g = x[:, order], y[:, order]
        z = x_g[:, :, first] - x_g[:, :, second]
        value = jnp.einsum("gp,gpb->b", 0.5 * (forward + backward), self.kernel(z))
        if self.antisymmetric:
            y_1, y_2 = y_g[:, :, first], y_g[:, :, second]
            slope = _mean_slope(self.kernel, z, y_1 - y_2, y_1 + y_2, self.nodes)
            value += jnp.einsum("gp,gpb->b", 0.5 * (forward - backward), slope)
        return value

    def _groups(self, t: Float[Array, ""], x: States) -> tuple[Array, Array]:
        n = x.shape[1]
        moment = jax.lax.bitcast_convert_type(t.astype(jnp.float32), jnp.uint32)
        order = jax.random.permutation(jax.random.fold_in(self.key, moment), n).reshape(-1, self.size)
        scale = (n - 1) / (self.size - 1)
        weights = jnp.asarray(self.weights, x.dtype)
        if weights.ndim:
            return order, scale * weights[order[:, :, None], order[:, None, :]]
        off = 1.0 - jnp.eye(self.size, dtype=x.dtype)
        return order, jnp.broadcast_to(scale * weights * off, (order.shape[0], self.size, self.size))


class FourierFeatures(AbstractInteraction):
    """A Gaussian kernel by random Fourier features, all pairs with the same weight."""

    height: float | Float[Array, ""]
    frequencies: Float[Array, "features d"]
    weight: float | Float[Array, ""]

    def felt(self, t: Float[Array, ""], own: States, x: States) -> Float[Array, "players paths"]:
        """Σ_{j≠i} by the features of the crowd; the pair (i, i) is taken out exactly."""
        cos, sin = self._features(x)
        own_cos, own_sin = self._features(own)
        others_cos = jnp.sum(cos, axis=1, keepdims=True) - cos
        others_sin = jnp.sum(sin, axis=1, keepdims=True) - sin
        return self.weight * self.height * jnp.mean(own_cos * others_cos + own_sin * others_sin, axis=0)

    def potential(self, t: Float[Array, ""], x: States, y: States) -> Float[Array, " paths"]:
        """½ (|Σ features|² − N)."""
        cos, sin = self._features(x)
        square = jnp.mean(jnp.sum(cos, axis=1) ** 2 + jnp.sum(sin, axis=1) ** 2, axis=0)
        return 0.5 * self.weight * self.height * (square - x.shape[1])

    def _features(self, x: States) -> tuple[Array, Array]:
        phase = jnp.einsum("fd,dnb->fnb", jnp.asarray(self.frequencies, x.dtype), x)
        return jnp.cos(phase), jnp.sin(phase)


def fourier_features(
    kernel: AbstractKernel, weight: float, features: int, dimension: int, key: PRNGKeyArray
) -> FourierFeatures:
    """Features of a Gaussian kernel h exp(−c|z|²): frequencies from N(0, 2c), in orthogonal blocks (less variance)."""
    if not isinstance(kernel, Gaussian):
        raise InvalidInput("interaction", "fourier", f"a Gaussian kernel, not {type(kernel).__name__}")
    blocks = -(-features // dimension)
    direction_key, length_key = jax.random.split(key)
    directions, _ = jnp.linalg.qr(jax.random.normal(direction_key, (blocks, dimension, dimension), jnp.float32))
    lengths = jnp.linalg.norm(jax.random.normal(length_key, (blocks, dimension, dimension), jnp.float32), axis=-1)
    rows = (directions * lengths[..., None]).reshape(-1, dimension)[:features]
    return FourierFeatures(
        height=kernel.height, frequencies=rows * np.float32(np.sqrt(2.0 * float(kernel.rate))), weight=weight
    )
