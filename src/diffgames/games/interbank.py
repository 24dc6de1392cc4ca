"""Inter-bank lending and systemic risk (Carmona, Fouque & Sun 2015, "Mean field games and systemic risk").

Log-reserves X^1, …, X^N, their mean X̄, and rates α^n at which banks borrow from or lend to the central bank:

    dX^n = [a (X̄ − X^n) + α^n] dt + σ (√(1−ρ²) dW^n + ρ dW⁰),
    J^n = E[ ∫₀ᵀ ½(α^n)² − q α^n (X̄ − X^n) + ½ε (X̄ − X^n)² dt + ½c (X̄_T − X^n_T)² ],   minimised, q² ≤ ε.

Closed-loop Nash equilibrium (their Section 3), with k = 1 − 1/N²:

    α^n = [q + (1 − 1/N) η(t)] (X̄ − X^n),       V^n(t, x) = ½η(t) (x̄ − x^n)² + μ(t),
    η̇ = 2(a+q) η + k η² − (ε − q²),  η(T) = c,       μ(t) = ½σ²(1−ρ²)(1 − 1/N) ∫ₜᵀ η ds.

With τ = T − t, δ± = −(a+q) ± √((a+q)² + k(ε−q²)) and w(τ) = [(kc − δ₋) e^{δ₊τ} + (δ₊ − kc) e^{δ₋τ}] / (δ₊ − δ₋),

    η = w'/(k w),      ∫ₜᵀ η ds = ln w / k.

The mean-field limit is N = ∞. The mean reserve does not depend on the lending at all: X̄ is a Brownian motion of
variance σ²(ρ² + (1−ρ²)/N), so that the probability of a systemic event, the mean reaching a level D ≤ X̄_0, is

    P(min_{t≤T} X̄_t ≤ D | X̄_0) = 2 Φ( (D − X̄_0) / √(σ²(ρ² + (1−ρ²)/N) T) ).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtr

from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, GaussianLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine
from diffgames.numerics.precision import in_double

MEAN_FIELD = 0


class InterBankGame(eqx.Module):
    """N banks; `banks` = 0 is the mean-field limit. Letters as in the module's docstring, time in years.

    Every bank starts at `initial_mean` plus an independent normal of standard deviation `initial_deviation`.
    """

    a: float | Float[Array, ""]
    q: float | Float[Array, ""]
    c: float | Float[Array, ""]
    epsilon: float | Float[Array, ""]
    rho: float | Float[Array, ""]
    sigma: float | Float[Array, ""]
    horizon: float | Float[Array, ""]
    banks: int = eqx.field(static=True)
    initial_mean: float | Float[Array, ""] = 0.0
    initial_deviation: float | Float[Array, ""] = 0.0

    def __check_init__(self):
        if self.banks == 1 or self.banks < 0:
            raise InvalidInput("banks", self.banks, "at least 2 banks, or 0 for the mean-field limit")
        if isinstance(self.q, float | int) and isinstance(self.epsilon, float | int) and self.q**2 > self.epsilon:
            raise InvalidInput("q", self.q, f"q² ≤ epsilon = {self.epsilon:g} (the running cost is convex)")
        for name in ("a", "q", "c", "sigma"):
            value = getattr(self, name)
            if isinstance(value, float | int) and value < 0:
                raise InvalidInput(name, value, "a number ≥ 0")
        if isinstance(self.rho, float | int) and not -1 <= self.rho <= 1:
            raise InvalidInput("rho", self.rho, "a correlation in [−1, 1]")

    @property
    def inverse(self) -> float:
        """1/N, zero in the limit."""
        return 1.0 / self.banks if self.banks else 0.0

    def equilibrium(self) -> "LendingSolution":
        """The equilibrium in closed form: of N banks in feedback strategies, or of the limit."""
        return LendingSolution(self, Lending(self), self.value())

    @in_double
    def eta(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """η(t)."""
        weight, slope = self._w(t)
        return slope / ((1.0 - self.inverse**2) * weight)

    @in_double
    def mu(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """μ(t)."""
        area = jnp.log(self._w(t)[0]) / (1.0 - self.inverse**2)
        return 0.5 * self.sigma**2 * (1.0 - self.rho**2) * (1.0 - self.inverse) * area

    @in_double
    def rate(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """How much a bank borrows per unit of X̄ − X at equilibrium: q + (1 − 1/N) η(t)."""
        return self.q + (1.0 - self.inverse) * self.eta(t)

    @in_double
    def value(self) -> Float[Array, ""]:
        """Expected cost of every bank at equilibrium from the initial law."""
        zero = jnp.asarray(0.0)
        return 0.5 * self.eta(zero) * (1.0 - self.inverse) * self.initial_deviation**2 + self.mu(zero)

    def systemic_probability(self, level: float) -> float:
        """P(min X̄ ≤ level), averaged over the law of X̄ at the start."""
        variance = self.sigma**2 * (self.rho**2 + (1.0 - self.rho**2) * self.inverse) * self.horizon
        nodes, weights = np.polynomial.hermite_e.hermegauss(64)
        start = float(self.initial_mean) + float(self.initial_deviation) * np.sqrt(self.inverse) * nodes
        deviation = max(float(variance) ** 0.5, 1e-300)
        reach = np.where(start <= level, 1.0, 2.0 * ndtr((level - start) / deviation))
        return float(weights @ reach / weights.sum())

    def as_differential(self) -> DifferentialGame:
        """The game of N banks, state the reserves; the limit has no such form."""
        count = self.banks
        if not count:
            raise InvalidInput("banks", count, "a finite number of banks; the limit is simulated as a population")
        return DifferentialGame(
            players=tuple(f"bank {n}" for n in range(count)),
            control_sizes=(1,) * count,
            drift=_Drift(self),
            diffusion=_Diffusion(self),
            running_cost=_RunningCost(self),
            terminal_cost=_TerminalCost(self),
            initial=GaussianLaw(
                jnp.full(count, self.initial_mean, float), jnp.eye(count) * jnp.asarray(self.initial_deviation, float)
            ),
            horizon=self.horizon,
            state_names=tuple(f"reserve_{n}" for n in range(count)),
        )

    @in_double
    def as_linear_quadratic(self) -> LinearQuadraticGame:
        """The game of N banks by its matrices on z = (x, 1), for the linear-quadratic engine."""
        count = self.banks
        if not count:
            raise InvalidInput("banks", count, "a finite number of banks")
        short = jnp.full((count, count), 1.0 / count) - jnp.eye(count)  # row n: x̄ − x_n
        noise = jnp.concatenate([jnp.sqrt(1.0 - self.rho**2) * jnp.eye(count), jnp.full((1, count), self.rho)])
        diffusion = jnp.zeros((count + 1, count + 1, count + 1)).at[:, :-1, -1].set(self.sigma * noise)
        players = []
        for n in range(count):
            row, own = jnp.append(short[n], 0.0), jnp.eye(count)[n]
            players.append(
                Player(
                    name=f"bank {n}",
                    own_input=jnp.eye(count + 1)[None, :, n : n + 1],
                    state_cost=0.5 * self.epsilon * jnp.outer(row, row)[None],
                    control_cost=0.5 * jnp.outer(own, own)[None],
                    cross_cost=-0.5 * self.q * jnp.outer(row, own)[None],
                    terminal_cost=0.5 * self.c * jnp.outer(row, row)[None],
                )
            )
        return LinearQuadraticGame(
            drift=affine(self.a * short)[None],
            players=tuple(players),
            horizon=self.horizon,
            diffusion=diffusion[None],
        )

    def _w(self, t: Array) -> tuple[Array, Array]:
        """w and w' at the time to go T − t."""
        k = 1.0 - self.inverse**2
        dtype = jnp.result_type(float)
        tau = jnp.asarray(self.horizon, dtype) - jnp.asarray(t, dtype)
        root = jnp.sqrt(jnp.asarray((self.a + self.q) ** 2 + k * (self.epsilon - self.q**2), dtype))
        root = jnp.maximum(root, 1e-9)  # a = q = ε = 0: the limit of the formula
        plus, minus = -(self.a + self.q) + root, -(self.a + self.q) - root
        first = (k * self.c - minus) / (2.0 * root) * jnp.exp(plus * tau)
        second = (plus - k * self.c) / (2.0 * root) * jnp.exp(minus * tau)
        return first + second, plus * first + minus * second


class Lending(eqx.Module):
    """The profile α^n = rate(t) (X̄ − X^n), the rate being that of `game`'s equilibrium (its N, or its limit)."""

    game: InterBankGame

    def __call__(self, t: Array, x: Array, i: Array) -> Controls:
        """One rate per bank, [1] each."""
        amounts = self.game.rate(t).astype(x.dtype) * (jnp.mean(x) - x)
        return tuple(amounts[n][None] for n in range(x.shape[0]))


class LendingSolution(eqx.Module):
    """The equilibrium: profile, and every bank's expected cost from the initial law."""

    game: InterBankGame
    profile: Lending
    value: Float[Array, ""]


class _Drift(eqx.Module):
    game: InterBankGame

    def __call__(self, t: Array, x: Array, u: Controls, i: Array) -> Array:
        return self.game.a * (jnp.mean(x) - x) + jnp.concatenate(u)


class _Diffusion(eqx.Module):
    game: InterBankGame

    def __call__(self, t: Array, x: Array, u: Controls, i: Array) -> Array:
        rho = jnp.asarray(self.game.rho, x.dtype)
        own = jnp.sqrt(1.0 - rho**2) * jnp.eye(x.shape[0], dtype=x.dtype)
        return self.game.sigma * jnp.concatenate([own, jnp.full((x.shape[0], 1), rho)], axis=1)


class _RunningCost(eqx.Module):
    game: InterBankGame

    def __call__(self, t: Array, x: Array, u: Controls, i: Array) -> Array:
        lent, short = jnp.concatenate(u), jnp.mean(x) - x
        return 0.5 * lent**2 - self.game.q * lent * short + 0.5 * self.game.epsilon * short**2


class _TerminalCost(eqx.Module):
    game: InterBankGame

    def __call__(self, x: Array, i: Array) -> Array:
        return 0.5 * self.game.c * (jnp.mean(x) - x) ** 2
