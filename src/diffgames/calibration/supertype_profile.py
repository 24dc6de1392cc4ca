"""The supertype profile Λ that is calibrated: a vector, its ranges, and the market that it describes.

Providers are of two supertypes, takers of as many as there are trade sizes (Vadori et al., Table 3). In order,

    Λ = (p_1(q)_q, p_2(q)_q)   and, where risk aversion is calibrated too,   γ_1, mean and deviation of γ_2,

connection probabilities in [0, 1] (left out where they are fixed at one, `linked`), γ_1 and the mean in [0, 5], the
deviation in [0, 2]; γ_2 is normal, clipped to [0, 5]. An increment δΛ_i lies within ± the length of the range of Λ_i.

Where a law of Λ is wanted before any data, it is that of ξ ~ N(0, I), for each supertype

    p(q) = Φ(τ z(q)),   z Gaussian with unit variances and correlations exp(−|q − q'|/ℓ),   z = L ξ,

connections of like sizes being alike; every γ is Φ(ξ) of its range, uniform. With τ = 1, ℓ → 0 all is uniform; τ > 1
puts more weight on who trades a size with nearly all or with nearly none.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.markov import Continuous, Role
from diffgames.markets.agents import clipped_normal
from diffgames.markets.environment import OTCMarket

RISK = {"risk_aversion_1": 5.0, "risk_aversion_2_mean": 5.0, "risk_aversion_2_deviation": 2.0}


@dataclass(frozen=True)
class SupertypeProfile:
    """The components of Λ for so many trade sizes, with (`risk`) or without risk aversion."""

    sizes: int
    risk: bool = False
    linked: bool = False  # all connections fixed at one, so that shares must come from prices
    contrast: float = 2.0  # τ
    length: float = 3.0  # ℓ, in sizes

    def __post_init__(self):
        if self.linked and not self.risk:
            raise InvalidInput("linked", self.linked, "false where risk aversion is fixed: nothing would move")

    @property
    def links(self) -> int:
        """Number of connection probabilities in Λ."""
        return 0 if self.linked else 2 * self.sizes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components."""
        links = [f"connected_{j}_size_{q}" for j in (1, 2) for q in range(1, self.links // 2 + 1)]
        return (*links, *(RISK if self.risk else ()))

    @property
    def high(self) -> Float[np.ndarray, " components"]:
        """Upper ends of the ranges; the lower ends are zero."""
        return np.asarray([1.0] * self.links + list(RISK.values() if self.risk else ()), np.float32)

    def start(self, risk_aversion: float) -> Float[np.ndarray, " components"]:
        """Λ_0: every probability ½; γ_1 and the mean as stated, the deviation zero."""
        risk = [risk_aversion, risk_aversion, 0.0] if self.risk else []
        return np.asarray([0.5] * self.links + risk, np.float32)

    def from_normal(self, normal: Float[Array, "*laws components"]) -> Float[Array, "*laws components"]:
        """Λ of ξ: where ξ is standard normal, the law of Λ before any data."""
        apart = np.abs(np.subtract.outer(np.arange(self.sizes), np.arange(self.sizes)))
        lower = self.contrast * np.linalg.cholesky(np.exp(-apart / max(self.length, 1e-3)))
        links = normal[..., : self.links].reshape(*normal.shape[:-1], self.links // self.sizes, self.sizes)
        values = jnp.einsum("...jq,rq->...jr", links, jnp.asarray(lower, normal.dtype), precision="highest")
        values = values.reshape(*normal.shape[:-1], self.links)
        values = jnp.concatenate([values, normal[..., self.links :]], axis=-1)
        return ndtr(values) * jnp.broadcast_to(jnp.asarray(self.high, normal.dtype), values.shape)

    def action(self, increments: bool) -> Continuous:
        """What the calibrator draws: increments, or (`no_state`) values."""
        high = tuple(float(value) for value in self.high)
        return Continuous(self.names, tuple(-value if increments else 0.0 for value in high), high)

    def role(self, increments: bool) -> Role:
        """The calibrator's role: it sees Λ on [−1, 1]."""
        return Role("calibrator", 1, self.names, self.action(increments))

    def seen(self, laws: Array, increments: bool) -> Array:
        """What the calibrator observes: Λ on [−1, 1], or a constant."""
        return 2.0 * laws / jnp.asarray(self.high)[None, :] - 1.0 if increments else jnp.ones_like(laws)

    def moved(self, laws: Array, raw: Array, increments: bool) -> Array:
        """Λ after the calibrator's raw action, clipped to the ranges."""
        action = self.action(increments).from_unit(raw)
        proposed = laws + action if increments else action
        return jnp.clip(proposed, 0.0, jnp.broadcast_to(jnp.asarray(self.high), proposed.shape))

    def install(self, market: OTCMarket, law: Float[Array, " components"]) -> OTCMarket:
        """The market with profile Λ; inside compiled code too."""
        links = jnp.ones((2, self.sizes), law.dtype) if self.linked else law[: self.links].reshape(2, self.sizes)
        zero = jnp.zeros_like(links)
        market = eqx.tree_at(
            lambda m: m.connectivity.provider_taker, market, clipped_normal(links, zero, zero, zero + 1)
        )
        if not self.risk:
            return market
        first, mean, deviation = law[self.links :]
        none = jnp.zeros_like(first)
        gamma = clipped_normal(
            jnp.stack([first, mean]), jnp.stack([none, deviation]), jnp.zeros(2), jnp.full(2, RISK["risk_aversion_1"])
        )
        return eqx.tree_at(lambda m: m.providers.risk_aversion, market, gamma)
