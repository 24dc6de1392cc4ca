"""The exact law of given quotes: the (regime, inventory) chain is a linear equation on N·K states, nothing is drawn.

Under quotes u(t, i, q) the chain jumps q → q ∓ z at Λ = A e^{−ku} and i → j at μ_ij(t, q). With the wealth W = m + qS,
what the predator pays ϖ per time and the penalties of the game, W' = W + ∫ϖ − φq² dt − ℓ|q_T| − αq_T², each of

    s = P(|q| stays below the limit until T),     v = E[e^{−γ(W'_T − W_t)}],     y(p) = E[(1 − e^{−p(W_T − W_t)})/p]

solves −ẋ = L_p x + r backwards from T with the tilted generator

    (L_p x)_i(q) = Σ Λ (e^{−pG} x_i(q ∓ z) − x_i(q)) + Σ_j μ_ij (x_j − x_i) + c_p x_i(q),
    c_p = −p(q(b + w) + ϖ − φq²) + ½p²σ²q² + λE[e^{−pqZ} − 1 + pqZ],

with G = zu − ζz² what a fill earns, p = 0 for s, whose chain ends at the limit, and r = −(L_p 1)/p for y alone: E[W]
= y(0), E[W²] = −2y'(0). The certainty equivalent −ln v/γ of an equilibrium is its θ. Tables stand still over S equal
steps, as in the simulator: exact for quotes renewed so often; quotes that move all the time are met to O(1/S²) by a
table of the middles of steps, to O(1/S) by their starts. A step is the L-stable Padé (2, 3) approximant of exp(hL),
for quotes far from the mid are hit at rates of any size. JAX throughout: results may be differentiated by quotes and
by the game's parameters. No code is shared with the simulator, which is held to it. A step solves N·K linear
equations: made for tens of inventories.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame, adverse, open_side, terminal_value
from diffgames.numerics.precision import in_double
from diffgames.simulation.market_maker import Surroundings

# R(z) = (1 + 2z/5 + z²/20)/(1 − 3z/5 + 3z²/20 − z³/60) in partial fractions: one real pole and a pair.
_POLES = np.roots([-1 / 60, 3 / 20, -3 / 5, 1.0])
_WEIGHTS = np.polyval([1 / 20, 2 / 5, 1.0], _POLES) / np.polyval([-1 / 20, 3 / 10, -3 / 5], _POLES)
_REAL, _PAIR = int(np.argmin(np.abs(_POLES.imag))), int(np.argmax(_POLES.imag))


class Moments(eqx.Module):
    """Mean and standard deviation of W_T − W_0 from every state at t = 0."""

    mean: Float[Array, "*batch N K"]
    deviation: Float[Array, "*batch N K"]


@in_double
def inventory_survival(
    game: MarketMakingGame,
    ask: Float[Array | np.ndarray, "S N K Z"],
    bid: Float[Array | np.ndarray, "S N K Z"],
    around: Surroundings,
    *,
    limit: int | None = None,
) -> Float[Array, "N K"]:
    """P(|q| < limit on [0, T]) from every regime and inventory at t = 0; `limit` is Q where none is given."""
    limit = game.inventory_max if limit is None else limit
    if not 1 <= limit <= game.inventory_max:
        raise InvalidInput("limit", limit, f"an integer from 1 to inventory_max = {game.inventory_max}")
    alive = np.broadcast_to(np.abs(game.inventory) < limit, (game.regimes, game.inventory.size))
    return _survival(game, (jnp.asarray(ask), jnp.asarray(bid)), around, jnp.asarray(alive))


@in_double
def certainty_equivalents(
    game: MarketMakingGame,
    ask: Float[Array | np.ndarray, "S N K Z"],
    bid: Float[Array | np.ndarray, "S N K Z"],
    around: Surroundings,
) -> Float[Array, "N K"]:
    """−ln E[e^{−γW'}]/γ from every state at t = 0, penalties and the predator's payments in it; E[W'] at γ = 0."""
    return _equivalents(game, (jnp.asarray(ask), jnp.asarray(bid)), around, _neutral(game))[0]


@in_double
def worst_reply(
    game: MarketMakingGame,
    ask: Float[Array | np.ndarray, "S N K Z"],
    bid: Float[Array | np.ndarray, "S N K Z"],
    around: Surroundings,
) -> tuple[Float[Array, "N K"], Float[Array, "S N N K"]]:
    """The certainty equivalents when the attacker answers these quotes, and the rates it makes.

    At every (t, i, q) it chooses between no effort and `attack_max`, on top of the rates of `around`, to make the
    market maker's certainty equivalent small; it may change its mind once a step.
    """
    return _equivalents(game, (jnp.asarray(ask), jnp.asarray(bid)), around, _neutral(game), reply=True)


@in_double
def wealth_moments(
    game: MarketMakingGame,
    ask: Float[Array | np.ndarray, "S N K Z"],
    bid: Float[Array | np.ndarray, "S N K Z"],
    around: Surroundings,
) -> Moments:
    """Mean and standard deviation of the wealth earned from every state at t = 0, without payments and penalties."""
    return _moments(game, (jnp.asarray(ask), jnp.asarray(bid)), around)


def _neutral(game: MarketMakingGame) -> bool:
    """Whether γ is zero; not where it is differentiated by."""
    return not isinstance(game.gamma, Tracer) and float(game.gamma) == 0.0


@eqx.filter_jit
def _survival(
    game: MarketMakingGame, quotes: tuple[Array, Array], around: Surroundings, alive: Array
) -> Float[Array, "N K"]:
    zero = jnp.zeros_like(game.gamma)
    return _swept(game, quotes, around, zero, start=alive.astype(float), alive=alive)[0]


@eqx.filter_jit
def _equivalents(
    game: MarketMakingGame, quotes: tuple[Array, Array], around: Surroundings, neutral: bool, reply: bool = False
) -> tuple[Float[Array, "N K"], Float[Array, "S N N K"]]:
    end = terminal_value(game)
    if neutral:
        return _swept(game, quotes, around, game.gamma, start=end, whole=True, affine=True, reply=reply)
    start = jnp.exp(-game.gamma * end)
    value, rates = _swept(game, quotes, around, game.gamma, start=start, whole=True, reply=reply)
    return -jnp.log(value) / game.gamma, rates


@eqx.filter_jit
def _moments(game: MarketMakingGame, quotes: tuple[Array, Array], around: Surroundings) -> Moments:
    def expected(p: Array) -> Array:
        return _swept(game, quotes, around, p, start=jnp.zeros_like(terminal_value(game)), affine=True)[0]

    zero = jnp.zeros_like(game.gamma)
    mean, slope = jax.jvp(expected, (zero,), (jnp.ones_like(zero),))
    return Moments(mean=mean, deviation=jnp.sqrt(jnp.maximum(-2 * slope - mean**2, 0.0)))


def _swept(
    game: MarketMakingGame,
    quotes: tuple[Array, Array],
    around: Surroundings,
    p: Float[Array, ""],
    *,
    start: Float[Array, "N K"],
    alive: Array | None = None,
    whole: bool = False,
    affine: bool = False,
    reply: bool = False,
) -> tuple[Float[Array, "N K"], Float[Array, "S N N K"]]:
    """x at t = 0 from `start` at T, and the rates that were played."""
    shape = start.shape
    count, size = shape[0] * shape[1], game.horizon / quotes[0].shape[0]

    def back(state: tuple[Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        x, scale = state
        ask, bid, rates = step
        if reply:
            pull = jnp.einsum("ij,ijq->iq", game.attack, x[None] - x[:, None])
            effort = jnp.where((pull < 0) if affine else (pull > 0), game.attack_max, 0.0)
            rates = rates + game.attack[:, :, None] * effort[:, None, :]
        matrix, source = _operator(game, (ask, bid), rates, around, p, whole)
        matrix = matrix.reshape(count, count)
        if alive is not None:
            matrix = jnp.where(alive.ravel()[:, None] & alive.ravel()[None, :], matrix, 0.0)
        source = source.ravel() if affine else jnp.zeros_like(source.ravel())
        block = jnp.zeros((count + 1, count + 1)).at[:count, :count].set(matrix).at[:count, count].set(source)
        x = _exponential(block * size, jnp.append(x.ravel(), 1.0))[:count].reshape(shape)
        if affine:
            return (x, scale), rates
        largest = jnp.max(jnp.abs(x))
        return (x / largest, scale + jnp.log(largest)), rates

    state, played = jax.lax.scan(back, (start, jnp.zeros_like(p)), (*quotes, jnp.asarray(around.rates)), reverse=True)
    return state[0] * jnp.exp(state[1]), played


def _exponential(matrix: Float[Array, "n n"], x: Float[Array, " n"]) -> Float[Array, " n"]:
    """exp(matrix) x by the Padé (2, 3) approximant."""
    one = jnp.eye(x.shape[0])
    real = jnp.linalg.solve(matrix - _POLES[_REAL].real * one, x)
    pair = jnp.linalg.solve(matrix.astype(complex) - _POLES[_PAIR] * one.astype(complex), x.astype(complex))
    return _WEIGHTS[_REAL].real * real + 2.0 * (_WEIGHTS[_PAIR] * pair).real


def _operator(
    game: MarketMakingGame, quotes: tuple[Array, Array], rates: Array, around: Surroundings, p: Array, whole: bool
) -> tuple[Float[Array, "N K N K"], Float[Array, "N K"]]:
    """L_p, and r = −(L_p 1)/p written so that p may be zero; `whole`: payments and penalties too."""
    n, count = game.regimes, game.inventory.size
    q = jnp.asarray(game.inventory, float)[None, :]
    same_regime, same_inventory = jnp.eye(n)[:, None, :, None], jnp.eye(count)[None, :, None, :]
    rates = jnp.where(jnp.eye(n, dtype=bool)[:, :, None], 0.0, rates)
    matrix = jnp.swapaxes(rates, 1, 2)[:, :, :, None] * same_inventory
    source = q * (game.drift[:, None] + around.push)
    if whole:
        source = source + around.pay - game.running_penalty * q**2
    for sign, offsets, flow in ((-1, quotes[0], game.ask_flow), (1, quotes[1], game.bid_flow)):
        for index, size in enumerate(game.sizes):
            quoted = open_side(game, sign)[None, :, index] & jnp.isfinite(offsets[:, :, index])
            offset = jnp.where(quoted, offsets[:, :, index], 0.0)
            hit = jnp.where(quoted, flow[:, index, None] * jnp.exp(-game.k[:, None] * offset), 0.0)
            earned = size * offset - adverse(game, size)
            tilted = hit * jnp.exp(-p * earned)
            shift = np.eye(count, k=sign * size)[None, :, None, :]
            matrix = matrix + tilted[:, :, None, None] * same_regime * shift
            source = source + hit * earned * _slope(-p * earned)
    mean, deviation = game.jump_mean[:, None], game.jump_deviation[:, None]
    drawn = -q * mean + 0.5 * p * (q * deviation) ** 2
    jumps = drawn * (_slope(p * drawn) - 1.0) + 0.5 * p * (q * deviation) ** 2
    source = source - 0.5 * p * (game.sigma[:, None] * q) ** 2 - game.jump_rate[:, None] * jumps
    diagonal = -p * source - matrix.sum(axis=(2, 3))  # rows sum to −p r
    return matrix + diagonal[:, :, None, None] * same_regime * same_inventory, source


def _slope(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(e^y − 1)/y, smooth at zero."""
    small = jnp.abs(y) < 1e-3
    away = jnp.where(small, 1.0, y)
    return jnp.where(small, 1 + y * (1 / 2 + y * (1 / 6 + y * (1 / 24 + y / 120))), jnp.expm1(away) / away)
