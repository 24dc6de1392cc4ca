"""Liquidity providers and takers: types, supertypes, price curves and rewards.

A *supertype* is a distribution over *types*; each agent draws its type at the start of an episode and keeps it (Vadori
et al., Section 2.1). Every attribute follows one family that holds the constant, the uniform and the clipped normal
as special cases (z standard normal, u uniform on [0, 1]):

    λ = clip(mean + std·z + width·(u − ½), low, high).

Rewards are maximised. With q_t the inventory and P_t the reference price at the start of step t (equations (3)–(6)):

    ΔPnL_{t+1}   = q_{t+1}(P_{t+1} − P_t) + Σ_bought q(P_t − price) + Σ_sold q(price − P_t) + ℓ(q_{t+1}) − ℓ(q_t)
    ΔPnLᵞ_{t+1}  = ΔPnL_{t+1} − γ |q_{t+1}(P_{t+1} − P_t)|
    R_{t+1}      = ω η ΔPnLᵞ_{t+1} − (1 − ω) ΔD_{t+1}

where D is the distance of a quantity to its target: for a provider M = |m̂ − m_target|, the running market share m̂;
for a taker Q = ½(|q̂ᵃ − qᵃ| + |q̂ᵇ − qᵇ|), the running fractions of steps in which it sold (a) and bought (b). Running
averages start at zero, so D_0 is the distance of zero to the target.

Prices are in ticks, quantities in lots, PnL in ticks × lots; η has the inverse unit.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput


class TypeDistribution(eqx.Module):
    """Distribution of one attribute, per supertype: clip(mean + std·z + width·(u − ½), low, high)."""

    mean: Float[Array, "*supertypes"]
    std: Float[Array, "*supertypes"]
    width: Float[Array, "*supertypes"]
    low: Float[Array, "*supertypes"]
    high: Float[Array, "*supertypes"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "*supertypes"]:
        """One draw per entry."""
        normal, uniform = jax.random.split(key)
        z = jax.random.normal(normal, self.mean.shape, jnp.float32)
        u = jax.random.uniform(uniform, self.mean.shape, jnp.float32)
        return jnp.clip(self.mean + self.std * z + self.width * (u - 0.5), self.low, self.high)

    def take(self, index: Array) -> "TypeDistribution":
        """The distribution of each agent, given the supertype index of each agent (first axis)."""
        return jax.tree.map(lambda leaf: leaf[index], self)

    @property
    def varies(self) -> bool:
        """Whether any entry is random (host side)."""
        return bool(jnp.any(self.std > 0) or jnp.any(self.width > 0))


def constant(values) -> TypeDistribution:
    """Every agent of a supertype has the stated value."""
    mean = jnp.asarray(values, jnp.float32)
    zero = jnp.zeros_like(mean)
    return TypeDistribution(mean=mean, std=zero, width=zero, low=mean, high=mean)


def uniform(low, high) -> TypeDistribution:
    """Uniform on [low, high] per supertype; a point where the two are equal."""
    low, high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
    return TypeDistribution(mean=(low + high) / 2, std=jnp.zeros_like(low), width=high - low, low=low, high=high)


def clipped_normal(mean, std, low, high) -> TypeDistribution:
    """Normal draws clipped to [low, high] (Section 5.1, Table 3)."""
    mean, std, low, high = (jnp.asarray(value, jnp.float32) for value in (mean, std, low, high))
    return TypeDistribution(
        mean=mean,
        std=jnp.broadcast_to(std, mean.shape),
        width=jnp.zeros_like(mean),
        low=jnp.broadcast_to(low, mean.shape),
        high=jnp.broadcast_to(high, mean.shape),
    )


def laws(key: str, values, supertypes: int, low: float, high: float, each: str = "supertype") -> TypeDistribution:
    """Distributions from a user's list, one entry per supertype (or what `each` names).

    An entry is a number, a pair [low, high] of a uniform law, or [low, high, mean, deviation] of a clipped normal one.
    Raises `InvalidInput` naming `key` when the length is not `supertypes` or a value lies outside [low, high].
    """
    allowed = (
        f"{supertypes} entries, one per {each}, within [{low:g}, {high:g}]: "
        "a number, [low, high] (uniform), or [low, high, mean, deviation] (clipped normal)"
    )
    values = list(values) if isinstance(values, list | tuple) else [values] * supertypes
    entries = [tuple(value) if isinstance(value, list | tuple) else (value, value) for value in values]
    if len(entries) != supertypes:
        raise InvalidInput(key, values, allowed)
    for entry in entries:
        if len(entry) not in (2, 4) or not low <= entry[0] <= entry[1] <= high:
            raise InvalidInput(key, values, allowed)
        if len(entry) == 4 and not (entry[0] <= entry[2] <= entry[1] and entry[3] >= 0):
            raise InvalidInput(key, values, allowed)
    drawn = [clipped_normal(e[2], e[3], e[0], e[1]) if len(e) == 4 else uniform(e[0], e[1]) for e in entries]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)


class ProviderType(eqx.Module):
    """The types of liquidity providers, one entry per provider."""

    risk_aversion: Float[Array, " providers"]  # γ
    pnl_weight: Float[Array, " providers"]  # ω
    normalizer: Float[Array, " providers"]  # η, per tick × lot
    share_target: Float[Array, " providers"]  # m_target


class TakerType(eqx.Module):
    """The types of liquidity takers, one entry per taker."""

    risk_aversion: Float[Array, " takers"]  # γ
    pnl_weight: Float[Array, " takers"]  # ω
    normalizer: Float[Array, " takers"]  # η, per tick × lot
    sell_target: Float[Array, " takers"]  # qᵃ
    buy_target: Float[Array, " takers"]  # qᵇ
    quantity: Float[Array, " takers"]  # q_LT, lots


class ProviderSupertypes(eqx.Module):
    """The distributions of provider types, one entry per supertype; fields as in `ProviderType`."""

    risk_aversion: TypeDistribution
    pnl_weight: TypeDistribution
    normalizer: TypeDistribution
    share_target: TypeDistribution

    def draw(self, index: Int[Array, " providers"], key: PRNGKeyArray) -> ProviderType:
        """Every provider's type; `index` is the supertype of each."""
        return ProviderType(**_draw(self, index, key))


class TakerSupertypes(eqx.Module):
    """The distributions of taker types, one entry per supertype; fields as in `TakerType`."""

    risk_aversion: TypeDistribution
    pnl_weight: TypeDistribution
    normalizer: TypeDistribution
    sell_target: TypeDistribution
    buy_target: TypeDistribution
    quantity: TypeDistribution

    def draw(self, index: Int[Array, " takers"], key: PRNGKeyArray) -> TakerType:
        """Every taker's type; `index` is the supertype of each."""
        return TakerType(**_draw(self, index, key))


def _draw(
    supertypes: ProviderSupertypes | TakerSupertypes, index: Int[Array, " agents"], key: PRNGKeyArray
) -> dict[str, Float[Array, " agents"]]:
    fields = vars(supertypes)
    keys = jax.random.split(key, len(fields))
    return {name: law.take(index).sample(k) for (name, law), k in zip(fields.items(), keys, strict=True)}


class QuadraticPenalty(eqx.Module):
    """Inventory penalty ℓ(q) = −coefficient·q² of equation (3), in ticks × lots; zero by default, as in the paper."""

    coefficient: Float[Array, ""]

    def __call__(self, inventory: Float[Array, " agents"]) -> Float[Array, " agents"]:
        return -self.coefficient * inventory**2


def price_curves(
    mid: Float[Array, ""],
    half_spread: Float[Array, " sizes"],
    market_spread: Float[Array, ""],
    spread: Float[Array, " providers"],
    skew: Float[Array, " providers"],
    granularity: float,
) -> tuple[Float[Array, "providers sizes"], Float[Array, "providers sizes"]]:
    """Ask and bid of every provider for every trade size, in ticks: equation (5), on the quote grid.

    `half_spread` is the symmetrised x_t(q), `market_spread` is x_t, `spread` ≥ −1 and `skew` are the providers'
    tweaks, `granularity` is the quote grid ξ_LP in ticks.
    """
    tweak = market_spread * spread / 2
    shift = market_spread * skew
    ask = (mid + tweak + shift)[:, None] + half_spread[None, :]
    bid = (mid - tweak + shift)[:, None] - half_spread[None, :]
    return jnp.round(ask / granularity) * granularity, jnp.round(bid / granularity) * granularity


def reward(
    pnl_weight: Float[Array, " agents"],
    normalizer: Float[Array, " agents"],
    risk_aversion: Float[Array, " agents"],
    pnl: Float[Array, " agents"],
    inventory_pnl: Float[Array, " agents"],
    distance: Float[Array, " agents"],
    next_distance: Float[Array, " agents"],
) -> Float[Array, " agents"]:
    """R = ω η (ΔPnL − γ|ΔPnL_inv|) − (1 − ω) ΔD, equations (4) and (6)."""
    risk_penalized = pnl - risk_aversion * jnp.abs(inventory_pnl)
    return pnl_weight * normalizer * risk_penalized - (1 - pnl_weight) * (next_distance - distance)
