"""The cross-layer market-making game: a market maker and a predator inside each regime, two more players over regimes.

The mid price S, the inventory q ∈ {−Q, …, Q}, the cash m and the regime I ∈ {1, …, N} move by

    dS = (b_I + w) dt + σ_I dW + ∫ z Ñ(dt, dz)          jumps of intensity λ_I, sizes N(jump_mean, jump_deviation²)
    dq = Σ_z z (dNᵇ_z − dNᵃ_z),   dm = Σ_z z [(S + uᵃ_z) dNᵃ_z − (S − uᵇ_z) dNᵇ_z],
    Λᵃ_z = Aᵃ_{I,z} e^{−k_I uᵃ_z},  Λᵇ_z = Aᵇ_{I,z} e^{−k_I uᵇ_z},   P(I: i → j) = μ_ij dt,
    μ = generator + f · attack − g · stabilize   (off the diagonal; the diagonal makes rows sum to zero).

The market maker chooses the offsets u to maximise E[−exp(−γ(m_T + q_T S_T − ℓ|q_T| − α q_T² − ∫φ q²dt))]; the predator
pushes the price by w against it. `predator` says in which units it pays w²/(2ξ):

    "utility"   inf_w E[−exp(−γ W_T − ∫w²/(2ξ) dt)]:    w* = −ξγq,  σ²_eff = σ² + ξ
    "ce"        inf_w E[−exp(−γ(W_T + ∫w²/(2ξ) dt))]:   w* = −ξq,   σ²_eff = σ² + ξ/γ

(Pan & Zhu 2025 print w* = −ξγq together with σ² + ξγ, which do not belong together.) With V = −exp(−γ(m + qS + θ)) the
certainty equivalent θ_i(t, q) solves

    θ̇_i(q) = ψ_i(q) − Σ_z 1{q−z ≥ −Q} Hᵃ_z(θ_i(q−z) − θ_i(q)) − Σ_z 1{q+z ≤ Q} Hᵇ_z(θ_i(q+z) − θ_i(q))
             − Σ_{j≠i} μ_ij (1 − e^{−γ(θ_j(q) − θ_i(q))})/γ,              θ_i(T, q) = −ℓ|q| − α q²,
    ψ_i(q) = ½γσ²_eff q² + φq² − b_i q + (λ_i/γ) E[e^{−γqZ} − 1 + γqZ],
    H_z(D) = A/(κ+γ) · (1+γ/κ)^{−κ/γ} e^{κD} with κ = k/z,   u_z = [(1/γ) ln(1+γ/κ) − D]/z

(the draft's risk terms have the wrong sign and its trading term is not the supremum).

*Adverse selection.* A market order carries information: it moves the mid by ζ_I z (`impact`, price per unit of size) to
its side for good, whether the market maker fills it or not. The two sides' moves cancel in the mean and are in σ_I as
estimated from mid prices; what a fill adds is that the z units just traded are worth ζ_I z less each, so it earns
z uᵃ − ζ_I z², and D in H_z(D) and u_z is θ_i(q ∓ z) − θ_i(q) − ζ_i z². That is the game without impact with A e^{−kζz}
for A and offsets ζz wider. (Were the mid to move at fills alone, quotes would steer it: to buy where ζ is small and to
sell where it is large would earn, and the market maker would quote next to the mid to do so.)

The attacker (effort f,
maximises) and the stabilizer (effort g, minimises) play over the stress U,

    −U̇_i(q) = φ_i(q) + Σ Λ(u*)[U_i(q ∓ z) − U_i(q)] + Σ_j μ_ij(f, g)(U_j − U_i) − ½ρ_f f² + ½ρ_g g²,   U(T) = 0,
    f* = clip([Σ_j attack_ij (U_j−U_i)]⁺/ρ_f, 0, f̄),  g* = clip([Σ_j stabilize_ij (U_j−U_i)]⁺/ρ_g, 0, ḡ),

bang-bang (f̄ or ḡ where the bracket is positive) where the effort costs nothing, in between where a free bracket stays
at zero for a while (`solvers.market_making`); φ_i = −θ_i
(`stress="certainty_equivalent"`) or ½q²C_i(T−t) (`"inventory"`), C_i = γ(∫_0^τ [e^{μ⁰s}σ²]_i ds + (σ²_eff,i − σ_i²)τ).

Shapes: N regimes, K = 2Q + 1 inventories in the order −Q, …, Q, Z trade sizes. Prices, times and inventory in any
consistent units: σ in price/√time, A in 1/time, k in 1/price, γ in 1/(price · inventory).
"""

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.differential import DifferentialGame

Switching = Literal["none", "exogenous", "strategic"]


class MarketMakingGame(eqx.Module):
    """Parameters of the game in the letters of the module's docstring; build it with `market_making_game`."""

    gamma: Float[Array, ""]
    k: Float[Array, " N"]
    ask_flow: Float[Array, "N Z"]
    bid_flow: Float[Array, "N Z"]
    sigma: Float[Array, " N"]
    xi: Float[Array, ""]
    drift: Float[Array, " N"]
    jump_rate: Float[Array, " N"]
    jump_mean: Float[Array, " N"]
    jump_deviation: Float[Array, " N"]
    impact: Float[Array, " N"]
    running_penalty: Float[Array, ""]
    terminal_penalty: Float[Array, ""]
    terminal_quadratic: Float[Array, ""]
    horizon: Float[Array, ""]
    generator: Float[Array, "N N"]
    attack: Float[Array, "N N"]
    stabilize: Float[Array, "N N"]
    effort_attack: Float[Array, ""]
    effort_stabilize: Float[Array, ""]
    attack_max: Float[Array, ""]
    stabilize_max: Float[Array, ""]
    inventory_max: int = eqx.field(static=True)
    sizes: tuple[int, ...] = eqx.field(static=True)
    predator: Literal["utility", "ce"] = eqx.field(static=True)
    switching: Switching = eqx.field(static=True)
    stress: Literal["certainty_equivalent", "inventory"] = eqx.field(static=True)

    @property
    def regimes(self) -> int:
        """Number N of regimes."""
        return self.sigma.shape[-1]

    @property
    def inventory(self) -> np.ndarray:
        """The inventories −Q, …, Q."""
        return np.arange(-self.inventory_max, self.inventory_max + 1)

    @property
    def predator_drift(self) -> Float[Array, ""]:
        """Price push of the predator per unit of inventory: w* = −predator_drift · q."""
        return self.xi * self.gamma if self.predator == "utility" else self.xi

    def as_differential(
        self, theta: Float[Array | np.ndarray, "S N K"] | None = None, *, inventory: int = 0, regime: int = 0
    ) -> DifferentialGame:
        """The same game on the hub, for the common simulator and verifier (`games.market_making_paths.on_hub`)."""
        from diffgames.games.market_making_paths import on_hub

        return on_hub(self, theta=theta, inventory=inventory, regime=regime)


def risk(game: MarketMakingGame) -> Float[Array, "N K"]:
    """ψ_i(q): what holding the inventory costs per unit of time, in certainty equivalents, the predator included."""
    q = jnp.asarray(game.inventory, game.sigma.dtype)[None, :]
    variance = (game.sigma**2)[:, None]
    quadratic = 0.5 * (game.gamma * variance + game.predator_drift) + game.running_penalty
    return quadratic * q**2 - game.drift[:, None] * q + _jump_risk(game, q)


def _jump_risk(game: MarketMakingGame, q: Float[Array, "1 K"]) -> Float[Array, "N K"]:
    """(λ/γ) E[e^{−γqZ} − 1 + γqZ] for Z normal; ½λq²E[Z²]·γ + o(γ) for small γ, zero at γ = 0."""
    mean, deviation = game.jump_mean[:, None], game.jump_deviation[:, None]
    exponent = -game.gamma * q * mean + 0.5 * (game.gamma * q * deviation) ** 2
    positive = jnp.where(game.gamma > 0, game.gamma, 1.0)
    risk = (jnp.expm1(exponent) + game.gamma * q * mean) / positive
    return game.jump_rate[:, None] * jnp.where(game.gamma > 0, risk, 0.0)


def discount(gamma: Float[Array, ""], gain: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(1 − e^{−γx})/γ, the certainty equivalent of a gain x per unit of intensity; x itself at γ = 0."""
    positive = jnp.where(gamma > 0, gamma, 1.0)
    return jnp.where(gamma > 0, -jnp.expm1(-positive * gain) / positive, gain)


def half_spread(gamma: Float[Array, ""], k: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(1/γ) ln(1 + γ/k), what an offset is at no inventory risk; 1/k at γ = 0."""
    positive = jnp.where(gamma > 0, gamma, 1.0)
    return jnp.where(gamma > 0, jnp.log1p(positive / k) / positive, 1.0 / k)


class Side(eqx.Module):
    """One side of the book at one time: what the optimal offsets are and bring, per regime, inventory and size.

    Where a trade would leave the grid (`open_side`) value and intensity are zero and the offset is meaningless.
    """

    offset: Float[Array, "N K Z"]
    intensity: Float[Array, "N K Z"]
    value: Float[Array, "N K Z"]


def moved(table: Float[Array, "N K"], step: int) -> Float[Array, "N K"]:
    """table[:, q + step], the edge value where that is off the grid."""
    count = table.shape[1]
    index = np.clip(np.arange(count) + step, 0, count - 1)
    return table[:, index]


def open_side(game: MarketMakingGame, sign: int) -> np.ndarray:
    """Where a trade that moves the inventory by sign · size stays on the grid, [K, Z]."""
    after = game.inventory[:, None] + sign * np.asarray(game.sizes)[None, :]
    return np.abs(after) <= game.inventory_max


def adverse(game: MarketMakingGame, size: int) -> Float[Array, "N 1"]:
    """What a fill of a size loses to the information in it, ζz²."""
    return (size * size * game.impact)[:, None]


def best_side(game: MarketMakingGame, theta: Float[Array, "N K"], sign: int) -> Side:
    """The optimal offsets on the ask (`sign` −1) or the bid (+1) for the certainty equivalents `theta`."""
    flow = game.ask_flow if sign < 0 else game.bid_flow
    is_open = open_side(game, sign)
    offsets, intensities, values = [], [], []
    for index, size in enumerate(game.sizes):
        k = (game.k / size)[:, None]
        gain = moved(theta, sign * size) - theta - adverse(game, size)
        total = half_spread(game.gamma, k) - gain
        rate = jnp.where(is_open[None, :, index], flow[:, index, None] * jnp.exp(-k * total), 0.0)
        offsets.append(total / size)
        intensities.append(rate)
        values.append(rate / (k + game.gamma))
    return Side(offset=jnp.stack(offsets, -1), intensity=jnp.stack(intensities, -1), value=jnp.stack(values, -1))


def switching_flow(
    rates: Float[Array, "N N K"], game: MarketMakingGame, theta: Float[Array, "N K"]
) -> Float[Array, "N K"]:
    """Σ_j μ_ij (1 − e^{−γ(θ_j − θ_i)})/γ; the diagonal of `rates` plays no part."""
    return jnp.sum(rates * discount(game.gamma, theta[None, :, :] - theta[:, None, :]), axis=1)


class Efforts(eqx.Module):
    """Efforts of the attacker and the stabilizer, per regime and inventory."""

    attack: Float[Array, "*times N K"]
    stabilize: Float[Array, "*times N K"]


def efforts(game: MarketMakingGame, stress: Float[Array, "N K"]) -> Efforts:
    """The saddle point of the stage game at the stress U: rates are separable, so pure efforts suffice."""
    pull, push = pulls(game, stress)
    return Efforts(
        attack=_effort(pull, game.effort_attack, game.attack_max),
        stabilize=_effort(push, game.effort_stabilize, game.stabilize_max),
    )


def pulls(game: MarketMakingGame, stress: Float[Array, "N K"]) -> tuple[Float[Array, "N K"], Float[Array, "N K"]]:
    """Σ_j attack_ij (U_j − U_i) and Σ_j stabilize_ij (U_j − U_i): what a unit of either effort moves U by, per time."""
    difference = stress[None, :, :] - stress[:, None, :]
    return jnp.einsum("ij,ijq->iq", game.attack, difference), jnp.einsum("ij,ijq->iq", game.stabilize, difference)


def _effort(gain: Float[Array, "N K"], cost: Float[Array, ""], most: Float[Array, ""]) -> Float[Array, "N K"]:
    free = jnp.where(gain > 0, most, 0.0)
    return jnp.where(cost > 0, jnp.clip(gain / jnp.where(cost > 0, cost, 1.0), 0.0, most), free)


def modulated(game: MarketMakingGame, effort: Efforts) -> Float[Array, "N N K"]:
    """μ_ij(f, g) off the diagonal at every inventory; zero on the diagonal."""
    base = off_diagonal(game.generator)[:, :, None]
    pulled = game.attack[:, :, None] * effort.attack[:, None, :]
    pushed = game.stabilize[:, :, None] * effort.stabilize[:, None, :]
    return base + pulled - pushed


def off_diagonal(matrix: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """`matrix` with a zero diagonal."""
    return jnp.where(np.eye(matrix.shape[-1], dtype=bool), 0.0, matrix)


def variance_rate(game: MarketMakingGame) -> Float[Array, " N"]:
    """Variance of the price per unit of time in each regime, jumps included: σ² + λE[Z²]."""
    return game.sigma**2 + game.jump_rate * (game.jump_mean**2 + game.jump_deviation**2)


def terminal_value(game: MarketMakingGame) -> Float[Array, "N K"]:
    """θ_i(T, q) = −ℓ|q| − αq²."""
    q = jnp.asarray(game.inventory, game.sigma.dtype)
    value = -game.terminal_penalty * jnp.abs(q) - game.terminal_quadratic * q**2
    return jnp.broadcast_to(value[None, :], (game.regimes, q.shape[0]))


class Units(eqx.Module):
    """A unit of price, 1/k of the most sensitive regime, and of time, the horizon: what makes a game free of units."""

    price: Float[Array, ""]
    time: Float[Array, ""]

    @property
    def stress(self) -> Float[Array, ""]:
        """Unit of U, certainty equivalents times time; that of certainty equivalents is the price's."""
        return self.price * self.time


def dimensionless(game: MarketMakingGame) -> tuple[MarketMakingGame, Units]:
    """The same game with k = 1 in its most sensitive regime and horizon 1, and the units it is now measured in.

    Tolerances mean the same in it whatever units prices and times are given in; θ and the offsets are to be multiplied
    by `price`, U by `stress`, rates to be divided by `time`.
    """
    unit = Units(price=1.0 / jnp.max(game.k), time=game.horizon)
    p, t = unit.price, unit.time
    inverse_price = {name: getattr(game, name) * p for name in ("gamma", "k")}
    rates = ("ask_flow", "bid_flow", "jump_rate", "generator", "attack", "stabilize")
    per_time = {name: getattr(game, name) * t for name in rates}
    prices = ("jump_mean", "jump_deviation", "terminal_penalty", "terminal_quadratic", "effort_attack", "impact")
    price = {name: getattr(game, name) / p for name in (*prices, "effort_stabilize")}
    drifts = {name: getattr(game, name) * t / p for name in ("drift", "running_penalty")}
    scaled = dataclasses.replace(
        game,
        **inverse_price,
        **per_time,
        **price,
        **drifts,
        sigma=game.sigma * jnp.sqrt(t) / p,
        xi=game.xi * t / (p**2 if game.predator == "utility" else p),
        horizon=jnp.ones_like(t),
    )
    return scaled, unit


def stack_games(games: list[MarketMakingGame]) -> MarketMakingGame:
    """Games of one shape as one game whose arrays carry a first axis, for `solve_many`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *games)
