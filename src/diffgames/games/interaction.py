"""Pairwise interaction of many players: Σ_{j≠i} w_ij K(x_i − x_j), exactly or approximately.

Split the weights into s = (w + wᵀ)/2 and a = (w − wᵀ)/2. The symmetric part of the interaction is an exact potential
and needs neither the sensitivity Y nor quadrature; the antisymmetric part of equation 3.6 is, K being even,

    Σ_{i<j} s_ij K(x_i − x_j)   and   Σ_{i<j} a_ij ∫₀¹ (y_i + y_j)·∇K((x_i − x_j) − (1−r)(y_i − y_j)) dr,

by Gauss–Legendre in r (two nodes are exact for a quadratic kernel). Three ways to sum over pairs:

- `Pairs`: exact, O(N²) per path; a list i < j for few players, blocks of rows for many, so that memory is O(N)
- `RandomBatches`: players in random groups of p at every step, sums scaled by (N−1)/(p−1); unbiased, O(N p)
- `FourierFeatures`: K(x − y) ≈ h/D Σ_k cos ω_k·(x − y), ω_k ~ N(0, 2c), for a Gaussian kernel and weights that are
  the same for all pairs; O(N D), relative to h of error O(D^{−1/2})

Weights are a matrix, or one number for all pairs, so that a large crowd holds no N × N matrix. What a few players feel
costs O(N) each and can always be summed exactly (`rows`): certificates do, however the profile was learned.
`interaction_error` measures what an approximation does to the crowd at hand.
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

    @abc.abstractmethod
    def rows(self, players: np.ndarray, count: int) -> "Rows":
        """What `players` of `count` feel, summed over everybody else exactly."""

    def renewed(self, key: PRNGKeyArray) -> "AbstractInteraction":
        """The interaction with fresh randomness, where it has any."""
        return self


class Rows(eqx.Module):
    """Exact sums for some of the players: one row of weights for each."""

    kernel: AbstractKernel
    weights: Float[Array, "some players"]

    def felt(self, t: Float[Array, ""], own: Float[Array, "d some paths"], x: States) -> Float[Array, "some paths"]:
        """Σ_j w_ij K(own_i − x_j) for the chosen players i."""
        return _felt(self.kernel, self.weights, own, x)


def _felt(kernel: AbstractKernel, weights: Array, own: Array, x: States) -> Array:
    """Σ_j weights[i, j] K(own_i − x_j): all at once for few players, in blocks of rows for many."""
    weights = jnp.asarray(weights, x.dtype)

    @jax.checkpoint
    def row(own_i, weights_i):
        return jnp.einsum("j,jb->b", weights_i, kernel(own_i[:, None] - x))

    if x.shape[1] <= PAIR_LIST:
        return jnp.einsum("ij,ijb->ib", weights, kernel(own[:, :, None] - x[:, None]))
    return jax.lax.map(lambda pair: row(*pair), (jnp.moveaxis(own, 1, 0), weights), batch_size=8)


def weight_rows(
    weights: Float[Array, "players players"] | Float[Array, ""] | float, players: Array | np.ndarray, count: int
) -> Float[Array, "some players"]:
    """The rows of `players`; of one number for all pairs, that number off the diagonal."""
    weights, players = jnp.asarray(weights), jnp.asarray(players, jnp.int32)
    if weights.ndim:
        return weights[players]
    return jnp.where(
        players[:, None] == jnp.arange(count, dtype=jnp.int32)[None], jnp.zeros((), weights.dtype), weights
    )


class Pairs(AbstractInteraction):
    """All pairs; `antisymmetric` says whether the antisymmetric part is there at all."""

    kernel: AbstractKernel
    weights: Float[Array, "players players"] | Float[Array, ""]
    antisymmetric: bool = eqx.field(static=True)
    nodes: int = eqx.field(static=True, default=8)

    def felt(self, t: Float[Array, ""], own: States, x: States) -> Float[Array, "players paths"]:
        """Σ_{j≠i} w_ij K(own_i − x_j)."""
        if self.weights.ndim or x.shape[1] <= PAIR_LIST:
            everybody = np.arange(x.shape[1])
            return _felt(self.kernel, weight_rows(self.weights, everybody, x.shape[1]), own, x)

        # one weight for all pairs: rows of weights would be the N × N matrix that nobody wants to hold
        @jax.checkpoint
        def row(pair):
            own_i, x_i = pair
            others = jnp.sum(self.kernel(own_i[:, None] - x), axis=0) - self.kernel(own_i - x_i)
            return jnp.asarray(self.weights, x.dtype) * others

        return jax.lax.map(row, (jnp.moveaxis(own, 1, 0), jnp.moveaxis(x, 1, 0)), batch_size=8)

    def rows(self, players: np.ndarray, count: int) -> Rows:
        """The rows of `players`."""
        return Rows(self.kernel, weight_rows(self.weights, players, count))

    def potential(self, t: Float[Array, ""], x: States, y: States) -> Float[Array, " paths"]:
        """Symmetric and antisymmetric part."""
        if x.shape[1] <= PAIR_LIST:
            return self._listed(x, y)
        weights = jnp.asarray(self.weights, x.dtype)
        if not weights.ndim:
            return 0.5 * jnp.sum(self.felt(t, x, x), axis=0)
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
        w = jnp.broadcast_to(jnp.asarray(self.weights, x.dtype), (x.shape[1], x.shape[1]))
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

    def rows(self, players: np.ndarray, count: int) -> Rows:
        """The rows of `players`, of all pairs rather than of groups."""
        return Rows(self.kernel, weight_rows(self.weights, players, count))

    def _groups(self, t: Float[Array, ""], x: States) -> tuple[Array, Array]:
        n = x.shape[1]
        if self.size < 2 or n % self.size:
            raise InvalidInput("size", self.size, f"groups of at least two players that {n} players divide into")
        moment = jax.lax.bitcast_convert_type(t.astype(jnp.float32), jnp.uint32)
        order = jax.random.permutation(jax.random.fold_in(self.key, moment), n).reshape(-1, self.size)
        scale = (n - 1) / (self.size - 1)
        weights = jnp.asarray(self.weights, x.dtype)
        if weights.ndim:
            return order, scale * weights[order[:, :, None], order[:, None, :]]
        off = 1.0 - jnp.eye(self.size, dtype=x.dtype)
        return order, jnp.broadcast_to(scale * weights * off, (order.shape[0], self.size, self.size))


class FourierFeatures(AbstractInteraction):
    """A Gaussian kernel by random Fourier features, all pairs with the same weight.

    The mean over frequencies is the kernel itself, so that learning, which renews them at every step, is unbiased.
    """

    kernel: Gaussian
    frequencies: Float[Array, "features d"]
    weight: float | Float[Array, ""]

    def renewed(self, key: PRNGKeyArray) -> "FourierFeatures":
        """With fresh frequencies, as many."""
        features, dimension = self.frequencies.shape
        return fourier_features(self.kernel, self.weight, features, dimension, key)

    def felt(self, t: Float[Array, ""], own: States, x: States) -> Float[Array, "players paths"]:
        """Σ_{j≠i} by the features of the crowd; the pair (i, i) is taken out exactly."""
        cos, sin = self._features(x)
        own_cos, own_sin = self._features(own)
        others_cos = jnp.sum(cos, axis=1, keepdims=True) - cos
        others_sin = jnp.sum(sin, axis=1, keepdims=True) - sin
        return self.weight * self.kernel.height * jnp.mean(own_cos * others_cos + own_sin * others_sin, axis=0)

    def potential(self, t: Float[Array, ""], x: States, y: States) -> Float[Array, " paths"]:
        """½ (|Σ features|² − N)."""
        cos, sin = self._features(x)
        square = jnp.mean(jnp.sum(cos, axis=1) ** 2 + jnp.sum(sin, axis=1) ** 2, axis=0)
        return 0.5 * self.weight * self.kernel.height * (square - x.shape[1])

    def rows(self, players: np.ndarray, count: int) -> Rows:
        """The rows of `players`, with the kernel itself."""
        return Rows(self.kernel, weight_rows(self.weight, players, count))

    def _features(self, x: States) -> tuple[Array, Array]:
        phase = jnp.einsum("fd,dnb->fnb", jnp.asarray(self.frequencies, x.dtype), x)
        return jnp.cos(phase), jnp.sin(phase)


def fourier_features(
    kernel: AbstractKernel, weight: float | Float[Array, ""], features: int, dimension: int, key: PRNGKeyArray
) -> FourierFeatures:
    """Features of a Gaussian kernel h exp(−c|z|²): frequencies from N(0, 2c), in orthogonal blocks (less variance)."""
    if not isinstance(kernel, Gaussian):
        raise InvalidInput("interaction", "fourier", f"a Gaussian kernel, not {type(kernel).__name__}")
    return FourierFeatures(kernel, _frequencies(kernel, features, dimension, key), weight)


def _frequencies(kernel: Gaussian, features: int, dimension: int, key: PRNGKeyArray) -> Float[Array, "features d"]:
    blocks = -(-features // dimension)
    direction_key, length_key = jax.random.split(key)
    directions, _ = jnp.linalg.qr(jax.random.normal(direction_key, (blocks, dimension, dimension), jnp.float32))
    lengths = jnp.linalg.norm(jax.random.normal(length_key, (blocks, dimension, dimension), jnp.float32), axis=-1)
    rows = (directions * lengths[..., None]).reshape(-1, dimension)[:features]
    return rows * jnp.sqrt(jnp.asarray(2.0 * kernel.rate, jnp.float32))


class InteractionError(eqx.Module):
    """Relative errors of an approximate interaction: of what players feel, of the force on them (both root mean
    square over players, paths and draws), and of the sum over all pairs (root mean square over paths and draws)."""

    felt: Float[Array, ""]
    force: Float[Array, ""]
    potential: Float[Array, ""]


@eqx.filter_jit
def interaction_error(
    approximate: AbstractInteraction,
    exact: AbstractInteraction,
    t: Float[Array, ""],
    x: States,
    key: PRNGKeyArray,
    draws: int = 8,
) -> InteractionError:
    """How far `approximate` is from `exact` in the crowd x, over `draws` of its randomness (symmetric weights)."""

    def values(interaction: AbstractInteraction) -> tuple[Array, Array, Array]:
        felt, pull = jax.vjp(lambda own: interaction.felt(t, own, x), x)
        return felt, pull(jnp.ones_like(felt))[0], interaction.potential(t, x, jnp.zeros_like(x))

    wanted = values(exact)

    def squares(one: PRNGKeyArray) -> tuple[Array, ...]:
        found = values(approximate.renewed(one))
        return tuple(jnp.mean((f - w) ** 2) / jnp.mean(w**2) for f, w in zip(found, wanted, strict=True))

    return InteractionError(*(jnp.sqrt(jnp.mean(part)) for part in jax.lax.map(squares, jax.random.split(key, draws))))
