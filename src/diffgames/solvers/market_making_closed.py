"""Semi-closed forms of market making: a matrix exponential, and the formulas for short horizons.

**One regime at a time** (Guéant, Lehalle & Fernandez-Tapia 2013, any inventory risk ψ and asymmetric flow). With one
trade size z, κ = k/z and v = e^{κθ} the equation of θ is linear,

    v(τ) = exp(−Mτ) e^{κθ_T},  M = diag(κψ(q)) − (off-diagonal η),  η = A (1 + γ/κ)^{−(1+κ/γ)},

with η e^{−κζz²} for η where fills have an impact ζ, and −M has no negative entry off its diagonal. After a shift cI
its exponential is a sum and a product of non-negative matrices, which lose no relative accuracy however small an
entry is; log v is carried with the scale taken out.

**Short horizon** (Pan & Zhu 2025, constants corrected; error O(τ³)). With w_i(τ) = ∫_0^τ [e^{μs}σ²]_i ds and
C_i = γ(w_i + (σ²_eff,i − σ²_i)τ),

    uᵃ ≈ (1/γ) ln(1+γ/k) + C_i(½ − q),   uᵇ ≈ (1/γ) ln(1+γ/k) + C_i(½ + q),

for one regime and no predator the quotes of Avellaneda & Stoikov (2008), C = γσ²τ.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.market_making import (
    MarketMakingGame,
    adverse,
    half_spread,
    open_side,
    risk,
    terminal_value,
    variance_rate,
)

TAYLOR_TERMS = 18


def certainty_equivalents(game: MarketMakingGame, steps: int) -> Float[Array, "S N K"]:
    """θ at τ = 0, T/S, …, T for regimes that do not talk to each other and one trade size."""
    (size,) = game.sizes
    kappa = game.k / size
    height = half_spread(game.gamma, kappa) * kappa  # (κ/γ) ln(1+γ/κ)
    eta = kappa / (kappa + game.gamma) * jnp.exp(-height - kappa * adverse(game, size)[:, 0])  # per unit of flow
    generator = -jax.vmap(jnp.diag)(kappa[:, None] * risk(game))
    count = 2 * game.inventory_max + 1
    for sign, flow in ((-1, game.ask_flow[:, 0]), (1, game.bid_flow[:, 0])):
        shift = np.diag(open_side(game, sign)[:, 0]).astype(float) @ np.eye(count, k=sign * size)
        generator = generator + (eta * flow)[:, None, None] * jnp.asarray(shift, eta.dtype)[None]
    powers = jax.vmap(log_exponential, in_axes=(0, None))(generator, game.horizon / steps)
    start = kappa[:, None] * terminal_value(game)

    def advance(log_v: Array, _: None) -> tuple[Array, Array]:
        after = jax.vmap(_log_product)(powers, log_v)
        return after, after

    _, path = jax.lax.scan(advance, start, None, length=steps)
    return jnp.concatenate([start[None], path]) / kappa[None, :, None]


def log_exponential(generator: Float[Array, "K K"], time: Float[Array, ""]) -> Float[Array, "K K"]:
    """log of exp(generator · time), entry by entry, for a matrix that is ≥ 0 off its diagonal (−∞ for a zero).

    Non-negative Taylor sum on a step of norm at most one half, then repeated squaring with the scale taken out.
    """
    count = generator.shape[0]
    identity = jnp.eye(count, dtype=generator.dtype)
    shift = -jnp.min(jnp.diagonal(generator))
    positive = (generator + shift * identity) * time
    norm = jnp.max(jnp.sum(positive, axis=1))
    squarings = jnp.ceil(jnp.log2(jnp.maximum(2.0 * norm, 1.0))).astype(jnp.int32)
    small = positive * jnp.exp2(-squarings.astype(generator.dtype))
    total, term = identity, identity
    for index in range(1, TAYLOR_TERMS + 1):
        term = term @ small / index
        total = total + term

    def square(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        matrix, scale = carry
        product = matrix @ matrix
        largest = jnp.max(product)
        return product / largest, 2.0 * scale + jnp.log(largest)

    carry = jax.lax.fori_loop(0, squarings, lambda _, carry: square(carry), (total, jnp.zeros((), generator.dtype)))
    return jnp.log(carry[0]) + carry[1] - shift * time


def _log_product(log_matrix: Float[Array, "K K"], log_vector: Float[Array, " K"]) -> Float[Array, " K"]:
    return jax.scipy.special.logsumexp(log_matrix + log_vector[None, :], axis=1)


def accumulated_variance(
    game: MarketMakingGame, tau: Float[Array, " times"], *, first_order: bool = False
) -> Float[Array, "times N"]:
    """w_i(τ) = ∫_0^τ [e^{μs}σ²]_i ds with the uncontrolled generator; `first_order`: σ²τ + ½(μσ²)τ²."""
    rate = variance_rate(game)
    if first_order:
        return tau[:, None] * rate[None, :] + 0.5 * tau[:, None] ** 2 * (game.generator @ rate)[None, :]
    n = game.regimes
    block = jnp.zeros((n + 1, n + 1), rate.dtype).at[:n, :n].set(game.generator).at[:n, n].set(rate)
    return jax.vmap(lambda t: jax.scipy.linalg.expm(block * t)[:n, n])(tau)


def short_horizon_quotes(
    game: MarketMakingGame, tau: Float[Array, " times"], *, predator: bool = True, switching: bool = True
) -> tuple[Float[Array, "times N K"], Float[Array, "times N K"]]:
    """Ask and bid offsets for a short time τ to the end; Avellaneda and Stoikov's without predator and switching.

    Jumps enter by their variance, the impact of fills not at all. The inventory bound plays no part: offsets are given
    at every inventory.
    """
    rate = variance_rate(game)
    variance = accumulated_variance(game, tau) if switching else tau[:, None] * rate[None, :]
    slope = game.gamma * variance + (game.predator_drift * tau[:, None] if predator else 0.0)
    q = jnp.asarray(game.inventory, rate.dtype)[None, None, :]
    base = half_spread(game.gamma, game.k)[None, :, None]
    return base + slope[:, :, None] * (0.5 - q), base + slope[:, :, None] * (0.5 + q)
