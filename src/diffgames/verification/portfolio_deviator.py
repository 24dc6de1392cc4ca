"""What a player of the portfolio game could gain: trained strategies on simulated markets, with jumps.

The others keep their wealth processes X_j = x_j + z_j ζ; player i holds any strategy linear in its own wealth and in
the market's ζ, per asset, with coefficients free in time,

    π′_i(t) = a(t) + B(t) (X′_i − x_i) + D(t) ζ(t)   ∈ ℝ^assets,

starting from its equilibrium strategy, once as it is and once halved. Its objective, mean less half γ_i times
variance, is climbed by Adam on fresh paths. On held-out paths a player's value is the mean of V = m·X − ½γ (R − E R)²
n/(n−1), R = C_i·X, so that differences of V, paired by path, give the gain with its interval.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.portfolio import PortfolioEquilibrium
from diffgames.numerics.poisson import poisson_counts
from diffgames.solvers.descent import descend, start
from diffgames.verification.certificate import LOWER_BOUND, Budget, Certificate, gap_of_pairs


class PortfolioBudget(eqx.Module):
    """What the search may spend, and the Euler steps of the simulated market."""

    updates: int = eqx.field(static=True, default=200)
    paths: int = eqx.field(static=True, default=2000)
    evaluation: int = eqx.field(static=True, default=40_000)
    steps: int = eqx.field(static=True, default=100)
    knots: int = eqx.field(static=True, default=6)
    learning_rate: float = 0.02


class _Setting(eqx.Module):
    """The market on the Euler grid and the equilibrium, as arrays."""

    h: float
    excess: Float[Array, "steps assets"]
    factor: Float[Array, "steps assets assets"]
    rates: Float[Array, " jumps"]
    sizes: Float[Array, "jumps assets"]
    direction: Float[Array, "steps assets"]
    growth: Float[Array, ""]
    z: Float[Array, " n"]
    mean: Float[Array, "n n"]
    risk: Float[Array, "n n"]
    gamma: Float[Array, " n"]


class _Strategy(eqx.Module):
    """Relative changes of every player's strategy at knots of time: per asset, on constant, own wealth and ζ."""

    change: Float[Array, "n knots assets three"]
    scale: Float[Array, ""]


def certify_portfolio(
    equilibrium: PortfolioEquilibrium, key: PRNGKeyArray, budget: PortfolioBudget | None = None
) -> Certificate:
    """The gap of every player; values are its objective."""
    budget = budget if budget is not None else PortfolioBudget()
    setting = _setting(equilibrium, budget.steps)
    n, assets = setting.z.shape[0], setting.excess.shape[1]
    train_key, choose_key, held_key = jax.random.split(key, 3)
    zero = jnp.zeros((n, budget.knots, assets, 3), jnp.float32)
    found, chosen = [], []
    for scale in (1.0, 0.5):
        first = _Strategy(zero, jnp.asarray(scale, jnp.float32))
        strategy = _train(setting, first, train_key, budget.updates, budget.paths, budget.learning_rate)
        before, after = _values(setting, strategy, choose_key, 4 * budget.paths)
        found.append(strategy)
        chosen.append(np.asarray(jnp.mean(after - before, axis=1)))
    held = [_values(setting, strategy, held_key, budget.evaluation) for strategy in found]
    spent, entries = 2 * budget.updates, []
    for i in range(n):
        best = int(np.argmax([gain[i] for gain in chosen]))
        before = np.asarray(held[best][0][i], float)
        after = np.asarray(held[best][1][i], float)
        entries.append(
            gap_of_pairs(
                f"player {i + 1}",
                before + _base(equilibrium)[i],
                after + _base(equilibrium)[i],
                budget=Budget(spent, spent * budget.paths, spent * budget.paths * budget.steps),
                selected=("from the equilibrium", "from half of it")[best],
            )
        )
    return Certificate(tuple(entries), LOWER_BOUND)


def _base(equilibrium: PortfolioEquilibrium) -> Float[np.ndarray, " n"]:
    return equilibrium.game.mean_weights() @ equilibrium.game.start


def _setting(equilibrium: PortfolioEquilibrium, steps: int) -> _Setting:
    game, market = equilibrium.game, equilibrium.game.market
    h = game.horizon / steps
    times = h * np.arange(steps)

    def float32(values) -> Array:
        return jnp.asarray(np.asarray(values), jnp.float32)

    assets = market.excess_at(0.0).size
    eigen = [np.linalg.eigh(market.diffusion_at(t)) for t in times]
    return _Setting(
        h=h,
        excess=float32([market.excess_at(t) for t in times]),
        factor=float32([vectors * np.sqrt(np.maximum(values, 0.0)) for values, vectors in eigen]),
        rates=float32([jump.rate for jump in market.jumps]),
        sizes=float32(np.reshape([jump.size for jump in market.jumps], (-1, assets))),
        direction=float32([market.direction_at(t) for t in times]),
        growth=float32(1.0 + equilibrium.growth()),
        z=float32(equilibrium.z),
        mean=float32(game.mean_weights()),
        risk=float32(game.variance_weights()),
        gamma=float32(game.gamma),
    )


@eqx.filter_jit
def _values(setting: _Setting, strategy: _Strategy, key: PRNGKeyArray, paths: int) -> tuple[Array, Array]:
    """V of every player on every path, at the equilibrium and when it alone deviates; starting wealth left out."""
    returns = _returns(setting, key, paths)
    steps, knots = setting.excess.shape[0], strategy.change.shape[1]

    def step(carry, inputs):
        zeta, own = carry
        gain, direction, place = inputs
        index = jnp.minimum(place.astype(jnp.int32), knots - 2)
        share = place - index.astype(place.dtype)
        pair = jax.lax.dynamic_slice_in_dim(strategy.change, index, 2, axis=1)
        change = (1.0 - share) * pair[:, 0] + share * pair[:, 1]  # [n, assets, 3]
        # the equilibrium strategy, seen from the deviator's own wealth: (e^{∫ϑ} z − X′) Σ⁻¹ b
        size = jnp.max(jnp.abs(direction)) * jnp.ones_like(direction)
        feel = setting.z[:, None] * (setting.growth - zeta)[None]
        kept = strategy.scale * (setting.z[:, None] * setting.growth - own)
        held = kept[:, None] * direction[None, :, None]
        features = jnp.stack([jnp.broadcast_to(setting.z[:, None], own.shape), own, feel], axis=1)
        held = held + size[None, :, None] * jnp.einsum("nac,ncb->nab", change, features)
        own = own + jnp.einsum("nab,ab->nb", held, gain)
        zeta = zeta + (setting.growth - zeta) * jnp.einsum("a,ab->b", direction, gain)
        return (zeta, own), None

    places = jnp.arange(steps, dtype=jnp.float32) * ((knots - 1) / steps)
    zero = jnp.zeros(paths, jnp.float32)
    carry = (zero, jnp.zeros((setting.z.shape[0], paths), jnp.float32))
    (zeta, own), _ = jax.lax.scan(step, carry, (returns, setting.direction, places))
    wealth = setting.z[:, None] * zeta[None]
    shift = own - wealth
    mean, risk = setting.mean @ wealth, setting.risk @ wealth
    before = _mean_variance(mean, risk, setting.gamma)
    own_mean, own_risk = jnp.diagonal(setting.mean)[:, None] * shift, jnp.diagonal(setting.risk)[:, None] * shift
    return before, _mean_variance(mean + own_mean, risk + own_risk, setting.gamma)


def _mean_variance(mean: Array, risk: Array, gamma: Array) -> Array:
    paths = risk.shape[1]
    spread = (risk - jnp.mean(risk, axis=1, keepdims=True)) ** 2 * (paths / (paths - 1))
    return mean - 0.5 * gamma[:, None] * spread


def _returns(setting: _Setting, key: PRNGKeyArray, paths: int) -> Float[Array, "steps assets paths"]:
    """Excess returns of every step: b h + σ√h ξ + compensated jumps."""
    noise_key, jump_key = jax.random.split(key)
    steps, assets = setting.excess.shape
    draws = jax.random.normal(noise_key, (steps, assets, paths), jnp.float32)
    found = setting.excess[:, :, None] * setting.h + np.float32(setting.h**0.5) * (setting.factor @ draws)
    if setting.rates.shape[0]:
        means = setting.rates * setting.h
        uniform = jax.random.uniform(jump_key, (steps, means.shape[0], paths), jnp.float32)
        counts = poisson_counts(uniform, means[None, :, None])
        found = found + jnp.einsum("ja,sjb->sab", setting.sizes, counts - means[None, :, None])
    return found


@eqx.filter_jit
def _train(
    setting: _Setting, strategy: _Strategy, key: PRNGKeyArray, updates: int, paths: int, rate: float
) -> _Strategy:
    def loss(change, key):
        after = _values(setting, _Strategy(change, strategy.scale), key, paths)[1]
        return -jnp.sum(jnp.mean(after, axis=1) / setting.z**2 * setting.gamma**-1)

    def step(carry: Any, index: Array):
        change, state = carry
        gradient = jax.grad(loss)(change, jax.random.fold_in(key, index))
        left = 1.0 - index.astype(jnp.float32) / updates
        return descend(change, state, gradient, rate * left), None

    carry = (strategy.change, start(strategy.change))
    (change, _), _ = jax.lax.scan(step, carry, jnp.arange(updates, dtype=jnp.int32))
    return _Strategy(change, strategy.scale)
