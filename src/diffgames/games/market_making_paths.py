"""The market-making game on the hub: a differential game of up to four players, simulated and verified like any other.

The state is x = (q, w): the inventory and the wealth w = m + qS, marked to the mid, with what the predator has paid and
the running penalty taken in (both stand inside the utility, `games.market_making`). With offsets uᵃ, uᵇ [sizes], the
predator's push v and efforts f, g,

    dw = [q(b_I + v) − φq² + v²/(2ξ')] dt + qσ_I dW + ∫ q z Ñ(dt, dz)
         + Σ_z z ((uᵃ_z − ζ_I z) dNᵃ_z + (uᵇ_z − ζ_I z) dNᵇ_z),
    dq = Σ_z z (dNᵇ_z − dNᵃ_z),   ξ' = ξγ (`utility`) or ξ (`ce`),

with intensities Λ_z = A_z e^{−k_I u_z} where the trade stays on the inventory grid (else 0) and switching rates
μ(f, g): a quote decides how often it is hit and how much a fill brings. Market maker (minimises) and predator
(maximises) share the cost

    E[(e^{−γ(w_T − ℓ|q_T| − αq_T²)} − 1)/γ],     θ = −ln(1 + γ · cost)/γ  (−cost at γ = 0),

attacker (maximises) and stabilizer (minimises) E[∫ φ_I(t, q) − ½ρ_f f² + ½ρ_g g² dt], where the stress φ is −θ_I(t, q)
of the profile that is looked at (a table: `certainty_equivalent`) or ½q²C_I(T − t) (`inventory`). Nobody plays over
regimes unless switching is strategic. A profile is the table of quotes and efforts, linear in time (`TableProfile`).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.linalg import expm
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw, NormalMarks
from diffgames.games.market_making import MarketMakingGame, off_diagonal, variance_rate
from diffgames.numerics.precision import in_double

PLAYERS = ("market maker", "predator", "attacker", "stabilizer")


class TableProfile(eqx.Module):
    """What all players do: offsets per size (ask, then bid), push, efforts; from tables on a uniform grid in time.

    Between grid times tables are linear; where a side is closed the offset is irrelevant and called 0.
    """

    game: MarketMakingGame
    ask: Float[Array, "S N K Z"]
    bid: Float[Array, "S N K Z"]
    attack_effort: Float[Array, "S N K"]
    stabilize_effort: Float[Array, "S N K"]

    def __call__(self, t: Array, x: Array, i: Array) -> Controls:
        """The controls of two players, or four where switching is strategic."""
        game = self.game

        def at(table: Array) -> Array:
            return jnp.nan_to_num(_at(game, table, t, x[0], i), posinf=0.0).astype(x.dtype)

        quotes = jnp.concatenate([at(self.ask), at(self.bid)])
        push = (-game.predator_drift * x[0])[None].astype(x.dtype)
        if game.switching != "strategic":
            return quotes, push
        return quotes, push, at(self.attack_effort)[None], at(self.stabilize_effort)[None]


@in_double
def on_hub(
    game: MarketMakingGame,
    *,
    theta: Float[Array | np.ndarray, "S N K"] | None = None,
    inventory: int = 0,
    regime: int = 0,
) -> DifferentialGame:
    """The game as a `DifferentialGame` that starts at `inventory` and `regime` with no wealth.

    `theta` are the certainty equivalents on a uniform grid in time that the attacker's stress is read off: needed where
    switching is strategic and the stress is the certainty equivalent, unused elsewhere.
    """
    strategic = game.switching == "strategic"
    by_value = strategic and game.stress == "certainty_equivalent"
    if by_value and theta is None:
        raise InvalidInput(
            "theta", None, "certainty equivalents [times, regimes, inventories], as solve_market_maker has"
        )
    if abs(inventory) > game.inventory_max:
        raise InvalidInput("inventory", inventory, f"an integer from {-game.inventory_max} to {game.inventory_max}")
    if not 0 <= regime < game.regimes:
        raise InvalidInput("regime", regime, f"an index from 0 to {game.regimes - 1}")
    table = jnp.asarray(theta) if by_value else None
    count = 4 if strategic else 2
    dtype = game.sigma.dtype
    fills = [
        JumpLaw(
            eqx.Partial(_fill_rate, game, sign, index),
            eqx.Partial(_fill_size, game, sign, index),
            FixedMark(jnp.zeros(1, dtype)),
            compensated=False,
        )
        for sign in (-1, 1)
        for index in range(len(game.sizes))
    ]
    jumpy = isinstance(game.jump_rate, Tracer) or bool(np.any(np.asarray(game.jump_rate) > 0))
    unit = NormalMarks(jnp.zeros((), dtype), jnp.ones((), dtype))
    price = [JumpLaw(eqx.Partial(_price_rate, game), eqx.Partial(_price_size, game), unit)] if jumpy else []
    switches = game.regimes > 1 and game.switching != "none"
    return DifferentialGame(
        players=PLAYERS[:count],
        control_sizes=(2 * len(game.sizes), 1, 1, 1)[:count],
        drift=eqx.Partial(_drift, game),
        diffusion=eqx.Partial(_diffusion, game),
        running_cost=eqx.Partial(_running_cost, game, table),
        terminal_cost=eqx.Partial(_terminal_cost, game),
        initial=PointLaw(jnp.array([inventory, 0.0], dtype), regime),
        horizon=game.horizon,
        jumps=(*fills, *price),
        generator=(eqx.Partial(_switching, game) if strategic else game.generator) if switches else _still(game),
        signs=(1, -1, -1, 1)[:count],
        state_names=("inventory", "wealth"),
    )


def certainty_equivalent(game: MarketMakingGame, cost: Any) -> Any:
    """θ of a cost (e^{−γw} − 1)/γ of the market maker on the hub."""
    gamma = float(game.gamma)
    return -np.log1p(gamma * np.asarray(cost)) / gamma if gamma > 0 else -np.asarray(cost)


# The functions of the game on the hub, the game their first argument: it stays a pytree of numbers there.


def _at(game: MarketMakingGame, table: Array, t: Array, q: Array, i: Array) -> Array:
    """The table [S, N, K, …] at time t, regime i and inventory q, linear in time."""
    last = table.shape[0] - 1
    place = jnp.clip(t / game.horizon, 0.0, 1.0) * last
    left = jnp.minimum(jnp.floor(place).astype(jnp.int32), last - 1)
    share = (place - left.astype(place.dtype)).astype(table.dtype)
    most = game.inventory_max
    column = jnp.clip(jnp.round(q).astype(jnp.int32) + most, 0, 2 * most)
    return (1 - share) * table[left, i, column] + share * table[left + 1, i, column]


def _offset(game: MarketMakingGame, sign: int, index: int, u: Controls) -> Array:
    return u[0][index if sign < 0 else len(game.sizes) + index]


def _fill_rate(game: MarketMakingGame, sign: int, index: int, t, x, u, i) -> Array:
    flow = (game.ask_flow if sign < 0 else game.bid_flow)[i, index]
    stays = jnp.abs(x[0] + sign * game.sizes[index]) <= game.inventory_max + 0.5
    return jnp.where(stays, flow * jnp.exp(-game.k[i] * _offset(game, sign, index, u)), 0.0)


def _fill_size(game: MarketMakingGame, sign: int, index: int, t, x, u, mark, i) -> Array:
    size = game.sizes[index]
    return jnp.stack(
        [jnp.full((), sign * size, x.dtype), size * _offset(game, sign, index, u) - size**2 * game.impact[i]]
    )


def _price_rate(game: MarketMakingGame, t, x, u, i) -> Array:
    return game.jump_rate[i]


def _price_size(game: MarketMakingGame, t, x, u, mark, i) -> Array:
    return jnp.stack([jnp.zeros((), x.dtype), x[0] * (game.jump_mean[i] + game.jump_deviation[i] * mark[0])])


def _drift(game: MarketMakingGame, t, x, u, i) -> Array:
    there = game.xi > 0
    push, unit = jnp.where(there, u[1][0], 0.0), jnp.where(there, game.predator_drift, 1.0)
    gain = x[0] * (game.drift[i] + push) - game.running_penalty * x[0] ** 2 + push**2 / (2 * unit)
    return jnp.stack([jnp.zeros((), x.dtype), gain])


def _diffusion(game: MarketMakingGame, t, x, u, i) -> Array:
    return jnp.stack([jnp.zeros((), x.dtype), x[0] * game.sigma[i]])[:, None]


def _efforts(game: MarketMakingGame, u: Controls) -> tuple[Array, Array]:
    return jnp.clip(u[2][0], 0.0, game.attack_max), jnp.clip(u[3][0], 0.0, game.stabilize_max)


def _switching(game: MarketMakingGame, t, x, u, i) -> Array:
    attack, stabilize = _efforts(game, u)
    rates = off_diagonal(game.generator) + attack * off_diagonal(game.attack) - stabilize * off_diagonal(game.stabilize)
    own = jnp.arange(game.regimes, dtype=jnp.int32) == i
    return jnp.where(own, -jnp.sum(rates[i]), rates[i])


def _still(game: MarketMakingGame) -> Array | None:
    """Regimes that do not switch are still told apart by their label."""
    return jnp.zeros_like(game.generator) if game.regimes > 1 else None


def _running_cost(game: MarketMakingGame, theta: Array | None, t, x, u, i) -> Array:
    nothing = jnp.zeros(2, x.dtype)
    if game.switching != "strategic":
        return nothing
    stress = _inventory_stress(game, t, x[0], i) if theta is None else -_at(game, theta, t, x[0], i)
    attack, stabilize = _efforts(game, u)
    cost = stress - 0.5 * game.effort_attack * attack**2 + 0.5 * game.effort_stabilize * stabilize**2
    return jnp.concatenate([nothing, jnp.stack([cost, cost])])


def _inventory_stress(game: MarketMakingGame, t: Array, q: Array, i: Array) -> Array:
    """½q²C_i(τ), C = γ∫₀^τ e^{μ⁰s}σ² ds + (w*/q)τ: the integral is a corner of an augmented matrix's exponential."""
    tau, n = game.horizon - t, game.regimes
    augmented = jnp.zeros((n + 1, n + 1), game.sigma.dtype)
    augmented = augmented.at[:n, :n].set(game.generator).at[:n, n].set(variance_rate(game))
    accumulated = expm(augmented * tau)[:n, n]
    return 0.5 * q**2 * (game.gamma * accumulated[i] + game.predator_drift * tau)


def _terminal_cost(game: MarketMakingGame, x, i) -> Array:
    wealth = x[1] - game.terminal_penalty * jnp.abs(x[0]) - game.terminal_quadratic * x[0] ** 2
    positive = jnp.where(game.gamma > 0, game.gamma, 1.0)
    cost = jnp.where(game.gamma > 0, jnp.expm1(-game.gamma * wealth) / positive, -wealth)
    own = jnp.stack([cost, cost])
    return jnp.concatenate([own, jnp.zeros(2, x.dtype)]) if game.switching == "strategic" else own
