"""Games whose Hamiltonian weight is known: products, quadratics, matrices, two steps; and what adjustments do.

V₁ = a·xy, V₂ = b·xy has ω_A = |a − b|/(|a − b| + |a + b|) everywhere; the others are counterexamples to what Definition
3.16 and the score-function Jacobian of Vadori et al. print.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.numerics.precision import in_double
from diffgames.verification.decomposition import DifferentiableGame, hamiltonian_weight, matrix_game, weight
from diffgames.verification.game_weights import cross_block

Numbers = dict[str, float]
QUADRATIC_POINT = (1.0, -1.0, 0.5, 2.0)
ADJUSTMENTS = ("none", "consensus", "symplectic")


def bilinear(a: float, b: float) -> DifferentiableGame:
    """V₁ = a·xy, V₂ = b·xy."""
    return DifferentiableGame(lambda z: jnp.stack([a * z[0] * z[1], b * z[0] * z[1]]), (1, 1))


def quadratic(z: Float[Array, " 4"]) -> Float[Array, " 2"]:
    """V₁ = ½xᵀC₁x + xᵀAy, V₂ = ½yᵀC₂y + xᵀBy: two players of two parameters each."""
    a, b = jnp.asarray([[1.0, 2.0], [0.0, -1.0]]), jnp.asarray([[-0.5, 1.0], [1.0, 0.0]])
    first, second = -jnp.asarray([[2.0, 1.0], [1.0, 3.0]]), -jnp.asarray([[1.0, 0.5], [0.5, 2.0]])
    x, y = z[:2], z[2:]
    return jnp.stack([0.5 * x @ first @ x + x @ a @ y, 0.5 * y @ second @ y + x @ b @ y])


def closed(a: float, b: float) -> float:
    """ω_A of values that are own terms plus a·f and b·f."""
    return abs(a - b) / (abs(a - b) + abs(a + b))


@in_double
def exact_weights() -> Numbers:
    """ω_A of the games without noise, differentiated."""
    pennies = np.asarray([[1.0, -1.0], [-1.0, 1.0]])
    games = {
        "1 and 0.5 times xy": (bilinear(1.0, 0.5), (0.3, 0.7)),
        "zero-sum xy": (bilinear(1.0, -1.0), (0.3, 0.7)),
        "common xy": (bilinear(1.0, 1.0), (0.3, 0.7)),
        "quadratic, blocks of two": (DifferentiableGame(quadratic, (2, 2)), QUADRATIC_POINT),
        "matching pennies": (matrix_game([pennies, -pennies]), (0.4, -0.1, 0.2, 0.6)),
        "coordination": (matrix_game([pennies, pennies]), (0.4, -0.1, 0.2, 0.6)),
    }
    found = jax.jit(lambda: [game.weight(jnp.asarray(point)) for game, point in games.values()])()
    return {name: float(one) for name, one in zip(games, found, strict=True)}


@in_double
def quadratic_weights() -> Numbers:
    """ω_A of the quadratic game at x = (1, −1), y = (½, 2), by what is removed from S."""
    game, point = DifferentiableGame(quadratic, (2, 2)), jnp.asarray(QUADRATIC_POINT)
    gradient, jacobian = jax.jit(lambda: (game.gradient(point), game.jacobian(point)))()
    kept = weight(0.5 * (jacobian + jacobian.T) @ gradient, 0.5 * (jacobian.T - jacobian) @ gradient)
    return {
        "blocks": hamiltonian_weight(gradient, jacobian, (2, 2)),
        "diagonal, as printed": hamiltonian_weight(gradient, jacobian, (1, 1, 1, 1)),
        "nothing": float(kept),
    }


@in_double
def two_step_blocks() -> Numbers:
    """∂²V/∂θ₁∂θ₂ of the two-step game, differentiated and by both score-function formulas, all episodes enumerated.

    Player i takes action 1 with probability sigmoid(θ_i + ½ s), s the exclusive or of the first actions, 0 at first;
    both earn a₀b₁ + 2a₁b₀ at the end, θ = (.3, −.4).
    """
    theta = jnp.asarray([0.3, -0.4])
    actions = np.asarray(list(itertools.product((0, 1), repeat=4))).reshape(16, 2, 2)  # episode, step, player
    state = np.stack([np.zeros(16), actions[:, 0, 0] ^ actions[:, 0, 1]], axis=1)
    reward = actions[:, 0, 0] * actions[:, 1, 1] + 2.0 * actions[:, 1, 0] * actions[:, 0, 1]

    def logs(at: Array) -> Float[Array, "episodes steps players"]:
        return jax.nn.log_sigmoid((2.0 * actions - 1.0) * (at[None, None, :] + 0.5 * jnp.asarray(state)[:, :, None]))

    def probability(at: Array) -> Float[Array, " episodes"]:
        return jnp.exp(jnp.sum(logs(at), axis=(1, 2)))

    late = jnp.stack([jnp.zeros(16), jnp.asarray(reward)])

    def blocks() -> list[Array]:
        scores = jnp.swapaxes(jax.jacfwd(lambda at: jnp.sum(logs(at), axis=-1))(theta), 0, 1)[..., None]
        own, other, chance = scores[:, :, 0], scores[:, :, 1], probability(theta)
        exact = jax.hessian(lambda at: probability(at) @ jnp.asarray(reward))(theta)[0, 1]
        printed = cross_block(own, other, late, chance, "printed")
        return [exact, cross_block(own, other, late, chance)[0, 0], printed[0, 0]]

    names = ("differentiated", "product of sums", "sum of products, as printed")
    return {name: float(one) for name, one in zip(names, jax.jit(blocks)(), strict=True)}


@in_double
def spirals() -> Float[np.ndarray, "adjustments times 2"]:
    """Paths of V₁ = xy, V₂ = −xy from (1, 1) without adjustment, by consensus, by symplectic adjustment."""
    game, start = bilinear(1.0, -1.0), jnp.asarray([1.0, 1.0])
    return np.asarray(jax.jit(lambda: jnp.stack([game.ascend(start, 0.1, 100, how) for how in ADJUSTMENTS]))())
