"""The market in which connectivity alone decides: all providers quote alike, and better than the exchange.

Takers trade every step, n_q of them a fixed size q. A provider of supertype j is connected to a taker of size q with
probability p_j(q), independently, and every taker trades with each of the N_q providers connected to it equally often,
with the exchange where there is none. With k_j providers of supertype j, those of supertype j have of size q the share

    s_j(q) = k_j p_j(q) E[1 / (1 + N_−)],   N_− connections to the others,   E[1 / (1 + N_−)] = ∫₀¹ E[z^{N_−}] dz,

where E[z^{N_−}] = Π_i (1 − p_i + p_i z)^{k_i − 1[i=j]} is a polynomial, which Gauss–Legendre quadrature integrates
exactly. Trades of size q arrive in proportion to n_q s_j(q), so m_j = Σ_q q n_q s_j(q) / Σ_q q n_q. One supertype of n
providers gives k p E = 1 − (1 − p)ⁿ. The same market can be *sampled*: connections drawn, ties shared evenly.

It is what a calibration is to be held against: a fit that is no better has used connectivity and nothing of prices.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import brentq

from diffgames.calibration.targets import Statistics, Targets, percentiles, reward
from diffgames.errors import InvalidInput

Profile = Float[np.ndarray, "supertypes sizes"]
Profiles = Float[np.ndarray, "*profiles supertypes sizes"]


@dataclass(frozen=True)
class ConnectivityMarket:
    """Providers of each supertype, k_j, trade sizes in lots (rising), takers of each size, n_q."""

    providers: tuple[int, ...]
    sizes: tuple[float, ...] = tuple(float(size) for size in range(1, 11))
    takers: tuple[int, ...] = (50,) * 10

    def __post_init__(self):
        if min(self.providers, default=0) < 1:
            raise InvalidInput("providers", self.providers, "a non-empty list of integers ≥ 1")
        if len(self.sizes) != len(self.takers) or min(self.takers, default=0) < 1:
            raise InvalidInput("takers", self.takers, f"{len(self.sizes)} integers ≥ 1, one per size")
        if not (self.sizes and self.sizes[0] > 0 and np.all(np.diff(self.sizes) > 0)):
            raise InvalidInput("sizes", self.sizes, "positive numbers that rise")

    def exact(self, probability: Profiles) -> Statistics:
        """The expected shares and the percentiles of very many trades; raises `InvalidInput` outside [0, 1]."""
        probability = self._checked(probability)
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, self.expected(jnp.asarray(probability)))

    def expected(self, probability: Float[Array, "*profiles supertypes sizes"]) -> Statistics:
        """The same inside compiled code, in the precision of `probability`, which is not checked."""
        dtype, count = probability.dtype, np.asarray(self.providers)
        points, weights = np.polynomial.legendre.leggauss(sum(self.providers) // 2 + 1)
        rows = probability.reshape(-1, len(count), len(self.sizes))
        away = jnp.asarray((1.0 - points) / 2, dtype)[None, None, None, :]
        factors = 1.0 - rows[..., None] * away  # profiles, supertypes, sizes, points
        others = jnp.asarray(count[None, :] - np.eye(len(count), dtype=int), dtype)[None, :, :, None, None]
        powers = jnp.prod(factors[:, None] ** others, axis=2)
        mean = jnp.sum(powers * jnp.asarray(weights / 2, dtype)[None, None, None, :], axis=-1)
        trades = jnp.asarray(count, dtype)[None, :, None] * rows * mean
        return self._statistics(trades.reshape(probability.shape))

    def sample(self, probability: Profiles, episodes: int, seed: int) -> Statistics:
        """Episodes with drawn connections, long enough for ties to be shared evenly; a profile, or one for each."""
        probability, rng = self._checked(probability), np.random.default_rng(seed)
        of, size = (
            np.repeat(np.arange(len(self.providers)), self.providers),
            np.repeat(np.arange(len(self.sizes)), self.takers),
        )
        connected = rng.random((episodes, len(of), len(size))) < probability[..., of, :][..., size]
        received = connected / np.maximum(connected.sum(axis=1, keepdims=True), 1)
        supertype, of_size = np.eye(len(self.providers))[of], np.eye(len(self.sizes))[size]
        trades = np.einsum("epl,pj,lq->ejq", received, supertype, of_size) / np.asarray(self.takers)
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, self._statistics(jnp.asarray(trades)))

    def best_of_random(self, targets: Targets, draws: int, seed: int) -> tuple[Profile, float]:
        """The best of so many profiles drawn uniformly on [0, 1], and its reward by the exact statistics."""
        rng = np.random.default_rng(seed)
        drawn = rng.random((draws, len(self.providers), len(self.sizes)))
        with jax.enable_x64(True):
            rewards = np.asarray(reward(targets, self.exact(drawn)))
        best = int(np.argmax(rewards))
        return drawn[best], float(rewards[best])

    def meeting(self, share: float, total: float) -> Profile | None:
        """Probabilities, alike for all sizes, with these shares of supertype 1 and of both; None where none has them.

        total = 1 − (1 − p_1)^{k_1} (1 − p_2)^{k_2} gives p_2 of p_1, and supertype 1's share then rises in p_1.
        """
        first, second = self.providers

        def profile(p: float) -> Profile:
            other = 1.0 - min((1.0 - total) / (1.0 - p) ** first, 1.0) ** (1.0 / second)
            return np.repeat([[p], [other]], len(self.sizes), axis=1)

        most = 1.0 - (1.0 - total) ** (1.0 / first)  # supertype 2 has nothing
        if not 0 <= share <= total < 1:
            return None
        root: Any = brentq(lambda p: float(self.exact(profile(p)).share[0]) - share, 0.0, most, xtol=1e-12)
        return profile(root)

    def _checked(self, probability: Profiles) -> Profiles:
        probability = np.asarray(probability, float)
        shape = (len(self.providers), len(self.sizes))
        if probability.shape[-2:] != shape or not np.all((probability >= 0) & (probability <= 1)):
            raise InvalidInput("probability", probability.tolist(), f"{shape[0]} × {shape[1]} numbers in [0, 1]")
        return probability

    def _statistics(self, trades: Float[Array, "*episodes supertypes sizes"]) -> Statistics:
        """From the share of each size that each supertype trades."""
        sizes = jnp.asarray(self.sizes, trades.dtype)
        count = trades * jnp.broadcast_to(jnp.asarray(self.takers, trades.dtype), trades.shape)
        volume = float(np.dot(self.sizes, self.takers))
        return Statistics(
            share=jnp.sum(count * jnp.broadcast_to(sizes, trades.shape), axis=-1) / volume,
            percentiles=percentiles(count, sizes),
        )


def closed_form(experiment: int) -> Profile:
    """Connections that meet the targets of experiment 1, 2, 3 or 4 in this market (supertypes × sizes 1…10).

    1: supertype 1 takes the sizes 8–10, supertype 2 the others and a fifth of these. 2, 3: supertype 2 takes 2–7.
    4: supertype 1 is connected to all, each of the nine others with p where (1 − (1 − p)¹⁰)/(10p) = ¼.
    """
    size = np.arange(1, 11)
    large = size >= 8
    if experiment == 1:
        return np.stack([large, np.where(large, 0.2, 1.0)]).astype(float)
    if experiment in (2, 3):
        return np.stack([large, (size >= 2) & (size <= 7)]).astype(float)
    if experiment == 4:
        return np.stack([np.ones(10), np.full(10, 0.3975)])
    raise InvalidInput("experiment", experiment, "1, 2, 3 or 4")
