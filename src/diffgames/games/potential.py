"""The α-potential function of a distributed game, built from any smooth costs by automatic differentiation.

With Y the sensitivity of the states to their own controls (`games.distributed`), the function of equations 3.5–3.6 of
Guo, Li & Zhang (arXiv 2508.01929) is Φ(u) = E[∫₀ᵀ F(t, X, Y, u) dt + G(X_T, Y_T)],

    F(t, x, y, u) = Σ_i ∫₀¹ [ y_i·∂_{x_i} f_i + u_i·∂_{u_i} f_i ](t, x − (1−r) y, r u) dr,
    G(x, y)       = Σ_i ∫₀¹ y_i·∂_{x_i} g_i(x − (1−r) y) dr,

the integral over r by Gauss–Legendre. Where the symmetry condition 3.14 holds (for all i ≠ j the mixed second
derivatives of f_i − f_j and g_i − g_j in the blocks of i and j vanish) it does not need Y: equation 3.15,

    F̂(t, x, u) = Σ_i ∫₀¹ [ x_i·∂_{x_i} f_i + u_i·∂_{u_i} f_i ](t, r x, r u) dr,  Ĝ(x) = Σ_i ∫₀¹ x_i·∂_{x_i} g_i(r x)
    dr,

and Φ = Φ̂ − Φ̂(0) (equation 3.16). The condition is tested numerically by `asymmetry`, not assumed.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.distributed import AbstractCosts, Controls, DistributedGame, States


def gauss_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1], exact for polynomials of degree 2·nodes − 1."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (points + 1.0), 0.5 * weights


def potential_density(
    costs: AbstractCosts, t: Float[Array, ""], x: States, y: States, u: Controls, nodes: int = 8
) -> Float[Array, " paths"]:
    """F of equation 3.6."""
    return _integral(nodes, lambda r: _running_slope(costs, t, (x - (1.0 - r) * y, r * u), (y, u)), x.dtype)


def potential_end(costs: AbstractCosts, x: States, y: States, nodes: int = 8) -> Float[Array, " paths"]:
    """G of equation 3.6."""
    return _integral(nodes, lambda r: _terminal_slope(costs, x - (1.0 - r) * y, y), x.dtype)


def closed_density(
    costs: AbstractCosts, t: Float[Array, ""], x: States, u: Controls, nodes: int = 8
) -> Float[Array, " paths"]:
    """F̂ of equation 3.15; a potential only under the symmetry condition 3.14."""
    return _integral(nodes, lambda r: _running_slope(costs, t, (r * x, r * u), (x, u)), x.dtype)


def closed_end(costs: AbstractCosts, x: States, nodes: int = 8) -> Float[Array, " paths"]:
    """Ĝ of equation 3.15."""
    return _integral(nodes, lambda r: _terminal_slope(costs, r * x, x), x.dtype)


def _integral(nodes: int, integrand: Callable[[Array], Array], dtype: np.dtype) -> Array:
    """∫₀¹ integrand(r) dr; the nodes are one more batch axis, so that a cost is compiled once, not once per node."""
    points, weights = (jnp.asarray(values, dtype) for values in gauss_legendre(nodes))
    return jnp.einsum("r,r...->...", weights, jax.vmap(integrand)(points))


def _running_slope(
    costs: AbstractCosts, t: Float[Array, ""], point: tuple[States, Controls], direction: tuple[States, Controls]
) -> Float[Array, " paths"]:
    """Σ_i of the derivative of f_i in its own block, along `direction`."""
    _, change = jax.jvp(lambda own_x, own_u: costs.own_running(t, own_x, own_u, *point), point, direction)
    return jnp.sum(change, axis=0)


def _terminal_slope(costs: AbstractCosts, point: States, direction: States) -> Float[Array, " paths"]:
    _, change = jax.jvp(lambda own_x: costs.own_terminal(own_x, point), (point,), (direction,))
    return jnp.sum(change, axis=0)


class JointCosts(AbstractCosts):
    """Arbitrary joint smooth costs: `running(t, x, u) -> [players]`, `terminal(x) -> [players]`, x [players, d].

    The potential is built by automatic differentiation with `nodes` Gauss–Legendre nodes; every evaluation costs N
    evaluations of `running`, one per replaced block.
    """

    running: Callable[..., Float[Array, " players"]]
    terminal: Callable[..., Float[Array, " players"]]
    nodes: int = eqx.field(static=True, default=8)

    def own_running(
        self, t: Float[Array, ""], own_x: States, own_u: Controls, x: States, u: Controls
    ) -> Float[Array, "players paths"]:
        """f_i with the own block replaced."""
        return _replaced(lambda x, u: self.running(t, x, u), (own_x, own_u), (x, u))

    def own_terminal(self, own_x: States, x: States) -> Float[Array, "players paths"]:
        """g_i with the own block replaced."""
        return _replaced(self.terminal, (own_x,), (x,))

    def potential_running(self, t: Float[Array, ""], x: States, y: States, u: Controls) -> Float[Array, " paths"]:
        """F of equation 3.6."""
        return potential_density(self, t, x, y, u, self.nodes)

    def potential_terminal(self, x: States, y: States) -> Float[Array, " paths"]:
        """G of equation 3.6."""
        return potential_end(self, x, y, self.nodes)


def _replaced(function: Callable, own: tuple[Array, ...], shared: tuple[Array, ...]) -> Array:
    """Component i of `function` with row i of `shared` replaced by that of `own`, for every i and path."""
    players = jnp.arange(shared[0].shape[1], dtype=jnp.int32)

    def one(own, shared):  # [d, players] each
        def component(i):
            rows = tuple(s.T.at[i].set(o.T[i]) for o, s in zip(own, shared, strict=True))
            return function(*rows)[i]

        return jax.vmap(component)(players)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(own, shared)


def asymmetry(
    game: DistributedGame, key: PRNGKeyArray, *, samples: int = 32, spread: float = 1.0
) -> Float[Array, "players players"]:
    """The largest entry of ∂²(f_i − f_j), ∂²(g_i − g_j) in the blocks of i ≠ j found at sampled points, [i, j].

    Zero (to rounding) everywhere is what the symmetry condition 3.14 asks for. Points are drawn from a normal law of
    deviation `spread` around the initial states, controls likewise around zero, times uniformly.
    """
    n, d, k = game.player_count, game.state_size, game.control_size
    dtype = game.initial.dtype
    costs = game.costs

    def rate(t, flat):
        x, u = flat[: n * d].reshape(d, n, 1), flat[n * d :].reshape(k, n, 1)
        return costs.own_running(t, x, u, x, u)[:, 0]

    def end(flat):
        x = flat.reshape(d, n, 1)
        return costs.own_terminal(x, x)[:, 0]

    def worst(second, owner):
        difference = second[:, None] - second[None]  # [i, j, p, q]: Δ_ij
        rows = owner[None, :] == jnp.arange(n, dtype=jnp.int32)[:, None]
        mask = rows[:, None, :, None] & rows[None, :, None, :]
        return jnp.max(jnp.where(mask, jnp.abs(difference), 0.0), axis=(2, 3))

    def at_point(key):
        t_key, x_key, u_key = jax.random.split(key, 3)
        t = jax.random.uniform(t_key, (), dtype) * jnp.asarray(game.horizon, dtype)
        x = (game.initial.T + spread * jax.random.normal(x_key, (d, n), dtype)).reshape(-1)
        u = spread * jax.random.normal(u_key, (k * n,), dtype)
        states = jnp.tile(jnp.arange(n, dtype=jnp.int32), d)
        controls = jnp.tile(jnp.arange(n, dtype=jnp.int32), k)
        running = worst(jax.hessian(lambda z: rate(t, z))(jnp.concatenate([x, u])), jnp.concatenate([states, controls]))
        return jnp.maximum(running, worst(jax.hessian(end)(x), states))

    found = jax.lax.map(at_point, jax.random.split(key, samples))
    off_diagonal = 1.0 - jnp.eye(n, dtype=dtype)
    return jnp.max(found, axis=0) * off_diagonal
