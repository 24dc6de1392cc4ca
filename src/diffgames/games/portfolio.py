"""The mean–variance portfolio game with heterogeneous, relative preferences (Guo, Li & Zhang, arXiv 2508.01929,
Section 7).

N players trade the same assets with excess return b = μ − r, diffusion σ and jumps of size γ_k and intensity ν_k, all
deterministic functions of time; discounted wealth and objectives (7.2–7.4) are

    dX_i = π_i·(b dt + σ dW + Σ_k γ_k dη̃_k),   J_i = E[Σ_j M_ij X_j(T)] − ½γ_i Var(Σ_j C_ij X_j(T)),   maximised,

with M_ii > 0, c_i = C_ii > 0 and C_ij = −θ_i φ_j for j ≠ i; π_i are discounted amounts per asset. Scaled by w_i =
φ_i/(γ_i c_i θ_i) the game is a potential game, Φ(π) = p·E X_T − ½ Σ_ij Q_ij Cov(X_i, X_j), p_i = w_i M_ii,
Q = diag(φ_i (c_i + θ_i φ_i)/θ_i) − φφᵀ. Theorem 7.1: where Q is positive definite, which is

    S = Σ_i θ_i φ_i/(c_i + θ_i φ_i) < 1,

there is an equilibrium, with Σ = σσᵀ + Σ_k ν_k γ_k γ_kᵀ, ϑ = bᵀΣ⁻¹b, ε = exp(∫₀ᵀ ϑ) − 1 and z = C⁻¹ (M_ii/(γ_i c_i))_i:

    π*_i(t) = [x_i + e^{∫₀ᵀϑ} z_i − X_i(t)] Σ(t)⁻¹ b(t),   X_i(t) = x_i + z_i ζ(t) with a common ζ, E ζ_T = Var ζ_T = ε,
    J_i = (M x)_i + (M z)_i ε − ½γ_i (C z)_i² ε.

Beyond the theorem z remains an equilibrium wherever C is invertible; S < 1 is what makes Φ concave, and best
responses in turn (Gauss–Seidel on C z = M_ii/(γ_i c_i)) converge.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput

Vector = Float[np.ndarray, " n"]
Timed = np.ndarray | Callable[[float], np.ndarray]


class AssetJump(eqx.Module):
    """Jumps of all assets at once: `rate` per unit time, relative `size` of each asset's price."""

    rate: float
    size: Float[np.ndarray, " assets"]


class Table(eqx.Module):
    """A coefficient by its `values` at equal intervals from 0 to `horizon`, linear in between."""

    values: Float[np.ndarray, "times *shape"]
    horizon: float

    def __call__(self, t: float) -> Float[np.ndarray, "*shape"]:
        """The coefficient at t (the nearest end outside)."""
        last = len(self.values) - 1
        place = min(max(t / self.horizon, 0.0), 1.0) * last
        left = min(int(place), max(last - 1, 0))
        low, high = self.values[left], self.values[min(left + 1, last)]
        return np.asarray(low + (place - left) * (high - low))

    @property
    def times(self) -> Float[np.ndarray, " times"]:
        """When the values hold."""
        return np.linspace(0.0, self.horizon, len(self.values))


class Market(eqx.Module):
    """Excess return b, covariance σσᵀ of the diffusion (constants, tables or functions of time), and jumps."""

    excess: Timed
    covariance: Timed
    jumps: tuple[AssetJump, ...] = ()

    def __check_init__(self):
        for t in self.kinks():
            self._check_at(t)

    def _check_at(self, t: float) -> None:
        b, total = self.excess_at(t), self.diffusion_at(t)
        if b.ndim != 1 or total.shape != (b.size, b.size):
            raise InvalidInput("Sigma", f"shape {total.shape}", f"a square matrix, one row for each of {b.size} assets")
        if (
            not np.allclose(total, total.T, atol=1e-8 * np.abs(total).max())
            or np.linalg.eigvalsh(total).min() < -1e-12 * np.abs(total).max()
        ):
            raise InvalidInput("Sigma", total.tolist(), "a covariance matrix: symmetric, no negative eigenvalue")
        for jump in self.jumps:
            if not jump.rate >= 0:
                raise InvalidInput("jumps", jump.rate, "intensities ≥ 0")
            if np.shape(jump.size) != (b.size,):
                raise InvalidInput("jumps", np.shape(jump.size), f"sizes with one entry for each of {b.size} assets")
            if np.min(jump.size) <= -1.0:
                raise InvalidInput(
                    "jumps", np.asarray(jump.size).tolist(), "relative sizes above -1: prices stay positive"
                )
        if np.linalg.eigvalsh(self.total_at(t)).min() <= 0:
            raise InvalidInput(
                "Sigma", total.tolist(), "a covariance that is positive definite together with the jumps"
            )

    def kinks(self) -> Float[np.ndarray, " times"]:
        """Where tables bend, and 0."""
        tables = [c.times for c in (self.excess, self.covariance) if isinstance(c, Table)]
        return np.unique(np.concatenate([np.zeros(1), *tables]))

    def excess_at(self, t: float) -> Float[np.ndarray, " assets"]:
        """b(t)."""
        return np.asarray(self.excess(t) if callable(self.excess) else self.excess, float)

    def diffusion_at(self, t: float) -> Float[np.ndarray, "assets assets"]:
        """σσᵀ(t)."""
        return np.asarray(self.covariance(t) if callable(self.covariance) else self.covariance, float)

    def total_at(self, t: float) -> Float[np.ndarray, "assets assets"]:
        """Σ(t), jumps included."""
        return self.diffusion_at(t) + sum((j.rate * np.outer(j.size, j.size) for j in self.jumps), np.zeros(()))

    def direction_at(self, t: float) -> Float[np.ndarray, " assets"]:
        """Σ⁻¹ b, what everybody holds a multiple of."""
        return np.linalg.solve(self.total_at(t), self.excess_at(t))

    def slope(self, start: float, end: float, nodes: int = 32) -> float:
        """∫ ϑ dt from `start` to `end`, by Gauss–Legendre between the kinks."""
        points, weights = np.polynomial.legendre.leggauss(nodes)
        kinks = self.kinks()
        ends = np.concatenate([[start], kinks[(kinks > start) & (kinks < end)], [end]])
        total = 0.0
        for low, high in pairwise(ends):
            times = low + 0.5 * (high - low) * (points + 1.0)
            rates = [self.excess_at(t) @ self.direction_at(t) for t in times]
            total += 0.5 * (high - low) * float(weights @ np.asarray(rates))
        return total


class PortfolioGame(eqx.Module):
    """The game; see the module's docstring. All vectors have one entry per player."""

    market: Market
    theta: np.ndarray
    phi: np.ndarray
    gamma: np.ndarray
    own: np.ndarray
    mean_own: np.ndarray
    start: np.ndarray
    horizon: float

    def __check_init__(self):
        n = np.shape(self.theta)
        for key in ("theta", "phi", "gamma", "own", "mean_own"):
            value = np.asarray(getattr(self, key), float)
            if value.ndim != 1 or value.shape != n:
                raise InvalidInput(key, f"shape {value.shape}", f"one entry for each of {n[0]} players")
            positive = key in ("gamma", "own", "mean_own")
            if not np.all(np.isfinite(value)) or np.any(value <= 0 if positive else value < 0):
                raise InvalidInput(key, value.tolist(), "positive numbers" if positive else "numbers ≥ 0")
        if np.shape(self.start) != n:
            raise InvalidInput("x0", f"shape {np.shape(self.start)}", f"one entry for each of {n[0]} players")
        if not self.horizon > 0:
            raise InvalidInput("T", self.horizon, "a positive time")

    @property
    def player_count(self) -> int:
        """N."""
        return len(self.theta)

    def variance_weights(self) -> Float[np.ndarray, "n n"]:
        """C."""
        return np.where(np.eye(self.player_count, dtype=bool), self.own[:, None], -np.outer(self.theta, self.phi))

    def mean_weights(self) -> Float[np.ndarray, "n n"]:
        """M, with M_ij = C_ij off the diagonal."""
        return np.where(np.eye(self.player_count, dtype=bool), self.mean_own[:, None], -np.outer(self.theta, self.phi))

    def existence_sum(self) -> float:
        """S of Theorem 7.1; below one there is an equilibrium."""
        product = self.theta * self.phi
        return float(np.sum(product / (self.own + product)))

    def needs(self) -> Vector:
        """M_ii/(γ_i c_i), the right-hand side of C z = …."""
        return self.mean_own / (self.gamma * self.own)

    def equilibrium(self) -> "PortfolioEquilibrium":
        """The equilibrium of Theorem 7.1, and beyond it wherever C is invertible."""
        weights = self.variance_weights()
        if np.linalg.cond(weights) > 1e12:
            raise InvalidInput(
                "theta", self.theta.tolist(), f"weights with C invertible (S = {self.existence_sum():.6g})"
            )
        return PortfolioEquilibrium(self, np.linalg.solve(weights, self.needs()))

    def best_responses(self, sweeps: int = 50) -> Float[np.ndarray, "sweeps n"]:
        """z after every sweep of best responses in turn, from doing nothing: c_i z_i = needs_i − Σ_{j≠i} C_ij z_j."""
        weights, needs, z = self.variance_weights(), self.needs(), np.zeros(self.player_count)
        history = [z.copy()]
        for _ in range(sweeps):
            for i in range(self.player_count):
                z[i] = (needs[i] - weights[i] @ z + self.own[i] * z[i]) / self.own[i]
            history.append(z.copy())
        return np.stack(history)


class PortfolioEquilibrium(eqx.Module):
    """z, and everything that follows from it."""

    game: PortfolioGame
    z: Vector

    def growth(self) -> float:
        """ε = exp(∫₀ᵀ ϑ) − 1, mean and variance of ζ at T."""
        return float(np.expm1(self.game.market.slope(0.0, self.game.horizon)))

    def value(self) -> Vector:
        """Every player's objective, in discounted wealth."""
        game, epsilon = self.game, self.growth()
        mean, risk = game.mean_weights(), game.variance_weights() @ self.z
        return mean @ game.start + mean @ self.z * epsilon - 0.5 * game.gamma * risk**2 * epsilon

    def holdings(self, t: float, wealth: Float[np.ndarray, "n *paths"]) -> Float[np.ndarray, "n assets *paths"]:
        """π*(t) at discounted wealth, discounted amounts per asset."""
        target = self.game.start + (self.growth() + 1.0) * self.z
        gap = target.reshape(-1, *(1,) * (wealth.ndim - 1)) - wealth
        return np.einsum("n...,a->na...", gap, self.game.market.direction_at(t))


def potential_matrix(game: PortfolioGame) -> Float[np.ndarray, "n n"]:
    """Q of equation 7.7 (θ > 0)."""
    diagonal = game.phi * (game.own + game.theta * game.phi) / game.theta
    return np.diag(diagonal) - np.outer(game.phi, game.phi)


def market_of(
    excess: Sequence[float], covariance: Sequence[Sequence[float]], jumps: Sequence[tuple[float, Sequence[float]]] = ()
) -> Market:
    """A market with constant coefficients; jumps are pairs (rate, sizes)."""
    laws = tuple(AssetJump(float(rate), np.asarray(size, float)) for rate, size in jumps)
    return Market(np.asarray(excess, float), np.asarray(covariance, float), laws)
