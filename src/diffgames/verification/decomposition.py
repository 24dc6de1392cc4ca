"""What in a game is common interest and what is conflict: potential and Hamiltonian weights of a differentiable game.

Player i of n has the parameters θ_i and the value V_i(θ), which it maximizes. The game gradient and the game Jacobian
are (Letcher et al. 2019; Vadori et al., arXiv 2210.07184, equations 15 and 16)

    G = (∇_{θ_i} V_i)_i,        J_ij = ∇_{θ_j} G_i = ∂²V_i/∂θ_i ∂θ_jᵀ.

For a subset of players J and G are restricted to their parameters, the others' held. Interactions are what is left once
each player's own Hessian is removed, J = D + S + A: D block diagonal, S symmetric, A antisymmetric. The weights of
Definition 3.17 are

    ω_A = ‖AᵀG‖ / (‖AᵀG‖ + ‖SG‖),        ω_S = 1 − ω_A;

ω_A = 0 in potential games, 1 in zero-sum games. Definition 3.16 prints D as a diagonal matrix, which leaves a player's
interaction with itself in S wherever it has more than one parameter; the text means blocks, and so does this module.
With H_i the Hessian of V_i in all parameters and E_i the projection on player i's, no matrix is needed:

    (S + A) v = Σ_i E_i H_i (I − E_i) v,        (S − A) v = Σ_i (I − E_i) H_i E_i v.

Gradient play may circle where A ≠ 0. Two corrections of its direction G, of strength λ:

    consensus (Mescheder et al. 2017)    G − λ JᵀG,  which also descends ½‖G‖²,
    symplectic (Balduzzi et al. 2018)    G − λ s AᵀG,  s = sign(0.1 − ⟨G, JᵀG⟩⟨AᵀG, JᵀG⟩ / dim).
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame
from diffgames.numerics.precision import in_double
from diffgames.simulation.paths import as_differential
from diffgames.simulation.rollout import Scheme, run_batch

Vector = Float[Array, " parameters"]


@in_double
def hamiltonian_weight(gradient: Any, jacobian: Any, sizes: Sequence[int]) -> float:
    """ω_A of a game gradient [parameters] and Jacobian [parameters, parameters]; player i has `sizes[i]` parameters.

    NaN where nothing interacts along the gradient. Raises `InvalidInput` for shapes that do not fit.
    """
    vector, matrix = jnp.asarray(gradient, float), jnp.asarray(jacobian, float)
    total = sum(sizes)
    if not sizes or min(sizes) < 1:
        raise InvalidInput("sizes", list(sizes), "the numbers of parameters of the players, each at least 1")
    if vector.shape != (total,):
        raise InvalidInput("gradient", f"shape {vector.shape}", f"({total},), the sum of sizes")
    if matrix.shape != (total, total):
        raise InvalidInput("jacobian", f"shape {matrix.shape}", f"({total}, {total}), the sum of sizes twice")
    owner = np.repeat(np.arange(len(sizes)), sizes)
    between = jnp.where(owner[:, None] == owner[None, :], 0.0, matrix)
    return float(weight(0.5 * (between + between.T) @ vector, 0.5 * (between.T - between) @ vector))


def weight(symmetric: Float[Array, "*batch parameters"], antisymmetric: Float[Array, "*batch parameters"]) -> Array:
    """ω_A from SG and AᵀG; NaN where both vanish."""
    potential, hamiltonian = jnp.linalg.norm(symmetric, axis=-1), jnp.linalg.norm(antisymmetric, axis=-1)
    return hamiltonian / (hamiltonian + potential)


class DifferentiableGame(eqx.Module):
    """Values of the players as a function of one vector, in which player i owns `sizes[i]` components in turn."""

    values: Callable[[Vector], Float[Array, " players"]]
    sizes: tuple[int, ...] = eqx.field(static=True)

    @property
    def own(self) -> Bool[np.ndarray, "players parameters"]:
        """Who owns what."""
        return np.arange(len(self.sizes))[:, None] == np.repeat(np.arange(len(self.sizes)), self.sizes)[None, :]

    def gradient(self, point: Vector) -> Vector:
        """G."""
        return jnp.sum(jnp.where(self.own, jax.jacrev(self.values)(point), jnp.zeros((), point.dtype)), axis=0)

    def jacobian(self, point: Vector) -> Float[Array, "parameters parameters"]:
        """J, own Hessians included."""
        return jax.jacrev(self.gradient)(point)

    def interactions(self, point: Vector, direction: Vector) -> tuple[Vector, Vector]:
        """S v and Aᵀ v along `direction` v, by products with Hessians."""
        own = jnp.asarray(self.own, point.dtype)
        forward = jnp.sum(own * self._products(point, (1.0 - own) * direction[None]), axis=0)
        backward = jnp.sum((1.0 - own) * self._products(point, own * direction[None]), axis=0)
        return 0.5 * (forward + backward), 0.5 * (backward - forward)

    def weight(self, point: Vector) -> Float[Array, ""]:
        """ω_A."""
        return weight(*self.interactions(point, self.gradient(point)))

    def direction(self, point: Vector, adjustment: str = "none", strength: float = 1.0) -> Vector:
        """G, corrected; see the module's docstring. `InvalidInput` for an unknown adjustment."""
        if adjustment not in ("none", "consensus", "symplectic"):
            raise InvalidInput("adjustment", adjustment, "none, consensus or symplectic")
        gradient = self.gradient(point)
        if adjustment == "none":
            return gradient
        own = jnp.asarray(self.own, point.dtype)
        symmetric, turned = self.interactions(point, gradient)
        pulled = symmetric + turned + jnp.sum(own * self._products(point, own * gradient[None]), axis=0)
        if adjustment == "consensus":
            return gradient - strength * pulled
        alignment = jnp.vdot(gradient, pulled) * jnp.vdot(turned, pulled) / point.size
        return gradient - strength * jnp.where(alignment < 0.1, 1.0, -1.0).astype(point.dtype) * turned

    def ascend(
        self, point: Vector, rate: float, steps: int, adjustment: str = "none", strength: float = 1.0
    ) -> Float[Array, "times parameters"]:
        """The path of θ ← θ + rate · direction, its start first."""

        def step(at: Vector, _: None) -> tuple[Vector, Vector]:
            following = at + rate * self.direction(at, adjustment, strength)
            return following, following

        return jnp.concatenate([point[None], jax.lax.scan(step, point, length=steps)[1]])

    def _products(
        self, point: Vector, directions: Float[Array, "players parameters"]
    ) -> Float[Array, "players parameters"]:
        """H_i w_i for every player."""

        def product(player: Array, direction: Vector) -> Vector:
            slope = jax.grad(lambda at: self.values(at)[player])
            return jax.grad(lambda at: jnp.vdot(slope(at), direction))(point)  # simulated jumps have no forward mode

        return jax.vmap(product)(jnp.arange(len(self.sizes), dtype=jnp.int32), directions)


def flattened(
    values: Callable[[tuple[Any, ...]], Float[Array, " players"]],
    strategies: Sequence[Any],
    players: Sequence[int] | None = None,
) -> tuple[DifferentiableGame, Vector]:
    """The game of `players` (None: all) and where it stands, from the players' strategies.

    `strategies` are pytrees, one a player, whose floating arrays are its parameters; `values` takes them as a tuple.
    Strategies of players outside the subset are held.
    """
    chosen = list(range(len(strategies)) if players is None else players)
    if len(set(chosen)) != len(chosen) or not chosen or not set(chosen) <= set(range(len(strategies))):
        raise InvalidInput("players", chosen, f"different indices among 0..{len(strategies) - 1}")
    moved, rest = eqx.partition([strategies[p] for p in chosen], eqx.is_inexact_array)
    point, unravel = ravel_pytree(moved)

    def on_vector(at: Vector) -> Float[Array, " players"]:
        played = list(strategies)
        for place, one in zip(chosen, eqx.combine(unravel(at), rest), strict=True):
            played[place] = one
        return values(tuple(played))[np.asarray(chosen)]

    return DifferentiableGame(on_vector, tuple(ravel_pytree(own)[0].size for own in moved)), point


def matrix_game(payoffs: Any) -> DifferentiableGame:
    """A matrix game on the logits of mixed strategies, exactly; `payoffs[i]` [actions of 1, …, actions of n] is V_i's.

    V_i = Σ payoffs[i][a] Π_j softmax(θ_j)[a_j].
    """
    table = np.asarray(payoffs, float)
    if table.ndim < 2 or table.shape[0] != table.ndim - 1:
        raise InvalidInput("payoffs", f"shape {table.shape}", "an array with one axis of actions for each player")
    sizes = table.shape[1:]

    def values(logits: Vector) -> Float[Array, " players"]:
        mixed = jnp.asarray(table, logits.dtype)
        for own in reversed(jnp.split(logits, np.cumsum(sizes)[:-1])):
            mixed = mixed @ jax.nn.softmax(own)
        return mixed

    return DifferentiableGame(values, sizes)


class LinearFeedback(eqx.Module):
    """u = gain · x + offset; `features` are the components of the state that it reacts to (None: all)."""

    gain: Float[Array, "controls features"]
    offset: Float[Array, " controls"]
    features: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Float[Array, " n"], i: Array) -> Float[Array, " controls"]:
        seen = x if self.features is None else x[np.asarray(self.features)]
        return self.gain @ seen + self.offset


class NeuralFeedback(eqx.Module):
    """u = network(t, x); `features` are the components of the state that it reacts to (None: all)."""

    network: eqx.nn.MLP
    features: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Float[Array, " n"], i: Array) -> Float[Array, " controls"]:
        seen = x if self.features is None else x[np.asarray(self.features)]
        return self.network(jnp.concatenate([t[None], seen]))


def simulated_values(
    game: Any, *, paths: int, steps: int
) -> Callable[[tuple[Any, ...], PRNGKeyArray], Float[Array, " players"]]:
    """Values of a differential game, −sign · mean cost of simulated paths, as a smooth function of (strategies, key).

    A player's strategy is a callable pytree (t, x, i) → control. Raises `InvalidInput` where rates of jumps or switches
    depend on state or control: second derivatives of such paths need score functions (`verification.game_weights`).
    """
    game = as_differential(game)
    _check_rates(game)
    signs = np.asarray(game.signs)

    def values(strategies: tuple[Any, ...], key: PRNGKeyArray) -> Float[Array, " players"]:
        def profile(t: Array, x: Array, i: Array) -> tuple[Array, ...]:
            return tuple(strategy(t, x, i) for strategy in strategies)

        costs = run_batch(game, profile, key, paths, steps, Scheme()).costs
        return jnp.mean(costs, axis=1) * jnp.asarray(-signs, costs.dtype)

    return values


def _check_rates(game: DifferentialGame) -> None:
    """`InvalidInput` unless the laws of jumps and switches are the same whatever is played (probed at random)."""
    rates = [law.rate for law in game.jumps] + ([game.generator] if callable(game.generator) else [])
    x, i = game.initial(jax.random.key(0))
    draws = jax.random.normal(jax.random.key(1), (8, x.size + sum(game.control_sizes)), x.dtype)

    def probe(draw: Array, rate: Callable) -> Array:
        u = tuple(jnp.split(draw[x.size :], np.cumsum(game.control_sizes)[:-1]))
        return jnp.sum(jnp.asarray(rate(jnp.zeros((), x.dtype), draw[: x.size], u, i), x.dtype) ** 2)

    for rate in rates:
        if bool(jnp.any(jax.vmap(jax.grad(lambda draw, rate=rate: probe(draw, rate)))(draws) != 0.0)):
            allowed = "rates of jumps and switches that no state or control moves; else score functions"
            raise InvalidInput("game", "rates that depend on play", allowed)
