"""Trade crowding: a crowd liquidates, its mean speed moves the price that everybody gets (Cardaliaguet & Lehalle 2018).

A trader of type τ (share λ_τ) holds q and trades at speed ν, dq = ν dt + σ dW (σ: uncertain fills), against the price
dS = α μ dt + ς dB that the mean speed of all traders μ = Σ λ_τ E[ν_τ] pushes, and pays κ_τ ν² for haste. Wealth and a
last position marked at S − A_τ q leave, in expectation, the cost

    E[∫₀ᵀ κ_τ ν² + φ_τ q² − α μ q dt + A_τ q_T²].

Given μ this is linear-quadratic. With the value h_τ q² + g_τ q + …, −h_τ' = φ_τ − h_τ²/κ_τ, h_τ(T) = A_τ, traders play

    ν = E_τ'(t) − (h_τ/κ_τ)(q − E_τ(t)),    2κ_τ E_τ'' = 2φ_τ E_τ − α Σ_ρ λ_ρ E_ρ',    κ_τ E_τ'(T) + A_τ E_τ(T) = 0

around the means E_τ = E[q_τ]: equations (23)–(24) of the source for one type, in closed form by the exponential of the
matrix that moves (E, E'). α = 0 gives everybody the schedule of Almgren & Chriss (2000). One planner for all pays
−α ∫ Ē Ē' dt = ½α (Ē_0² − Ē_T²), Ē = Σ λ_τ E_τ: its means are those of α = 0 with κ_τ E_τ'(T) + A_τ E_τ(T) = ½α Ē_T.

Units: q in lots, money in currency; α is currency per lot, κ currency × time per lot², φ currency per lot² and time, A
currency per lot².
"""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import expm

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import (
    AgentType,
    Felt,
    MeanSpeed,
    NormalDensity,
    QuadraticControl,
    TypedMeanFieldGame,
)


class Holding(eqx.Module):
    """φ q² − α μ q."""

    phi: float
    alpha: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return self.phi * x[0] ** 2 - self.alpha * felt["speed"] * x[0]


class LastPosition(eqx.Module):
    """A q²."""

    A: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return self.A * x[0] ** 2


class TradeCrowding:
    """The game's data, one entry per type (`alpha` for all), and its closed form on [0, horizon].

    Raises `InvalidInput` where a type has no positive κ or deviation, a cost is negative, shares do not sum to one, or
    the crowd's own push makes the mean schedule singular.
    """

    def __init__(self, share, alpha, kappa, phi, A, mean0, deviation0, horizon, sigma=0.0):
        names = ("share", "kappa", "phi", "A", "mean0", "deviation0")
        given = [np.atleast_1d(np.asarray(one, float)) for one in (share, kappa, phi, A, mean0, deviation0)]
        for name, one in zip(names, given, strict=True):
            if one.shape != given[0].shape or not np.all(np.isfinite(one)):
                raise InvalidInput(name, one.tolist(), f"{len(given[0])} finite numbers, one per type")
            least = 1e-12 if name in ("share", "kappa", "deviation0") else 0.0
            if name != "mean0" and one.min() < least:
                raise InvalidInput(name, one.tolist(), "positive numbers" if least else "numbers ≥ 0")
        self.share, self.kappa, self.phi, self.A, self.mean0, self.deviation0 = given
        if abs(self.share.sum() - 1.0) > 1e-9:
            raise InvalidInput("share", self.share.tolist(), "positive shares that sum to one")
        if not 0.0 < horizon < np.inf:
            raise InvalidInput("horizon", horizon, "a positive time")
        if not np.isfinite(alpha):
            raise InvalidInput("alpha", alpha, "a finite number")
        self.alpha, self.horizon, self.sigma = float(alpha), float(horizon), float(sigma)

    def game(self) -> TypedMeanFieldGame:
        """The same game for grids."""
        types = tuple(
            AgentType(
                share=float(self.share[i]),
                start=NormalDensity(float(self.mean0[i]), float(self.deviation0[i])),
                diffusion=self.sigma,
                control_cost=QuadraticControl(2.0 * float(self.kappa[i])),
                running_cost=Holding(float(self.phi[i]), self.alpha),
                terminal_cost=LastPosition(float(self.A[i])),
            )
            for i in range(len(self.share))
        )
        return TypedMeanFieldGame(types, {"speed": MeanSpeed()}, self.horizon)

    def means(
        self, times: Float[np.ndarray, " n"], schedule: str = "crowd"
    ) -> tuple[Float[np.ndarray, "n K"], Float[np.ndarray, "n K"]]:
        """E and E' at the times: of the equilibrium (`crowd`), of α = 0 (`alone`), or of one planner (`planner`)."""
        count, push = len(self.share), self.alpha if schedule == "crowd" else 0.0
        rate = np.zeros((2 * count, 2 * count))
        rate[:count, count:] = np.eye(count)
        rate[count:, :count] = np.diag(self.phi / self.kappa)
        rate[count:, count:] = -push / (2.0 * self.kappa)[:, None] * self.share
        kept = 0.5 * self.alpha * np.tile(self.share, (count, 1)) if schedule == "planner" else 0.0
        last = np.hstack([np.diag(self.A) - kept, np.diag(self.kappa)]) @ expm(rate * self.horizon)
        if np.linalg.svd(last[:, count:] / np.abs(last).max(), compute_uv=False).min() < 1e-13:
            raise InvalidInput("alpha", self.alpha, "a push for which one mean schedule ends as it must")
        speed = np.linalg.solve(last[:, count:], -last[:, :count] @ self.mean0)
        state = np.stack([expm(rate * t) for t in times]) @ np.concatenate([self.mean0, speed])
        return state[:, :count], state[:, count:]

    def curvature(self, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n K"]:
        """h_τ(t): h = r (A + r tanh s)/(r + A tanh s) with r = √(κφ), s = r (T − t)/κ."""
        r, left = np.sqrt(self.kappa * self.phi), (self.horizon - np.asarray(times))[:, None]
        grown = np.where(r > 0, np.tanh(r * left / self.kappa) / np.where(r > 0, r, 1.0), left / self.kappa)
        return (self.A + r**2 * grown) / (1.0 + self.A * grown)

    def costs(self, own: str = "crowd", others: str = "crowd", steps: int = 4096) -> Float[np.ndarray, " K"]:
        """What a trader of each type pays on the schedule `own` among traders on the schedule `others` (see `means`).

        Simpson's rule on `steps` steps; the variance around the means is that of the best reply in every case.
        """
        times = np.linspace(0.0, self.horizon, steps + 1)
        mean, speed = self.means(times, own)
        push = self.alpha * self.means(times, others)[1] @ self.share
        pull = self.curvature(times) / self.kappa
        weight = np.full(steps + 1, 2.0)
        weight[1::2], weight[[0, -1]] = 4.0, 1.0
        weight *= self.horizon / steps / 3.0
        spread = self.variance(times)
        running = self.kappa * (speed**2 + pull**2 * spread) + self.phi * (mean**2 + spread) - push[:, None] * mean
        return weight @ running + self.A * (mean[-1] ** 2 + spread[-1])

    def variance(self, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n K"]:
        """Variance of q, v' = −2 (h/κ) v + σ²: y² (v_0/y_0² + σ² ∫ y⁻²) with y = cosh s + (A/r) sinh s, h/κ = −y'/y."""
        r, left = np.sqrt(self.kappa * self.phi), (self.horizon - times)[:, None]
        s = r * left / self.kappa
        sine = np.where(r > 0, np.sinh(s) / np.where(r > 0, r, 1.0), left / self.kappa)
        y = np.cosh(s) + self.A * sine
        inverse = y**-2.0
        step = np.diff(times)[:, None]
        noise = np.concatenate(
            [np.zeros((1, len(self.share))), np.cumsum(0.5 * step * (inverse[1:] + inverse[:-1]), 0)]
        )
        return y**2 * (self.deviation0**2 / y[0] ** 2 + self.sigma**2 * noise)
