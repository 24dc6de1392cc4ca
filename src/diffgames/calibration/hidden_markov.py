"""Volatility regimes of a price: a Gaussian hidden Markov model with zero means, fitted by Baum and Welch's algorithm.

Returns over steps of length h are r_t ~ N(0, s_{I_t}²) with I a Markov chain of transition matrix P. Forward and
backward probabilities are scaled step by step (Rabiner 1989); a maximisation step sets

    s_i² = Σ_t γ_t(i) r_t² / Σ_t γ_t(i),   P_ij = Σ_t ξ_t(i, j) / Σ_t γ_t(i),

and never lowers the likelihood. Regimes are put in the order of rising volatility, σ_i = s_i/√h. The generator is
(log P)/h where that is one, else the first-order (P − 1)/h. Regimes of a price that moves in ticks need a step h over
which it moves several of them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput, RunFailed


@dataclass(frozen=True)
class VolatilityRegimes:
    """Fitted regimes: `probability` is that of each regime at each step given the whole record."""

    sigma: np.ndarray
    transition: np.ndarray
    generator: np.ndarray
    probability: np.ndarray
    log_likelihood: float
    iterations: int


def fit_volatility_regimes(
    returns: Float[np.ndarray, " steps"],
    step: float,
    regimes: int,
    *,
    iterations: int = 500,
    tolerance: float = 1e-8,
    stay: float = 0.98,
) -> VolatilityRegimes:
    """Fit `regimes` regimes to returns over steps of length `step`.

    Starts from volatilities at quantiles of local mean squares; stops when the log-likelihood per step gains less than
    `tolerance`. Raises `InvalidInput` for too short a record and `RunFailed` where a regime dies out.
    """
    if returns.size < 20 * regimes:
        raise InvalidInput("regimes", regimes, f"at most one per 20 returns; there are {returns.size}")
    if not np.any(returns != 0):
        raise InvalidInput("interval", step, "a time over which the mid price moves")
    squares = np.asarray(returns, float) ** 2
    local = np.convolve(squares, np.ones(10) / 10, mode="same")
    variance = np.quantile(local, (np.arange(regimes) + 0.5) / regimes) + 1e-3 * squares.mean()
    transition = np.full((regimes, regimes), (1 - stay) / max(regimes - 1, 1))
    np.fill_diagonal(transition, stay if regimes > 1 else 1.0)
    start, last, done = np.full(regimes, 1.0 / regimes), -np.inf, 0
    for done in range(1, iterations + 1):  # noqa: B007 - the number of iterations is reported
        posterior, pairs, likelihood = _smooth(squares, variance, transition, start)
        weight = posterior.sum(axis=0)
        if weight.min() < 1.0 or not np.isfinite(likelihood):
            raise RunFailed("a volatility regime has died out of the record", "fit fewer regimes, or a longer record")
        variance = np.maximum(posterior.T @ squares / weight, 1e-6 * squares.mean())
        transition = pairs / pairs.sum(axis=1, keepdims=True)
        start = posterior[0]
        if likelihood - last < tolerance * squares.size:
            break
        last = likelihood
    order = np.argsort(variance)
    transition = transition[np.ix_(order, order)]
    return VolatilityRegimes(
        sigma=np.sqrt(variance[order] / step),
        transition=transition,
        generator=generator_of_transitions(transition, step),
        probability=posterior[:, order],
        log_likelihood=float(likelihood),
        iterations=done,
    )


def generator_of_transitions(transition: Float[np.ndarray, "N N"], step: float) -> Float[np.ndarray, "N N"]:
    """log P / h where it has no negative rate, else (P − 1)/h."""
    from scipy.linalg import logm

    logarithm = np.asarray(logm(transition), complex)
    rates = np.real(logarithm) / step
    off = rates - np.diag(np.diag(rates))
    if np.abs(np.imag(logarithm)).max() > 1e-9 or off.min() < -1e-9 or not np.all(np.isfinite(rates)):
        rates = (transition - np.eye(len(transition))) / step
    off = np.maximum(rates - np.diag(np.diag(rates)), 0.0)
    return off - np.diag(off.sum(axis=1))


def _smooth(
    squares: np.ndarray, variance: np.ndarray, transition: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior of the regimes, expected transitions and log-likelihood."""
    exponent = -0.5 * squares[:, None] / variance - 0.5 * np.log(2 * np.pi * variance)
    top = exponent.max(axis=1, keepdims=True)
    density = np.exp(exponent - top)
    forward, scale = np.empty_like(density), np.empty(len(density))
    row = start * density[0]
    for t in range(len(density)):
        if t:
            row = (forward[t - 1] @ transition) * density[t]
        scale[t] = row.sum()
        forward[t] = row / scale[t]
    backward = np.ones_like(density)
    for t in range(len(density) - 2, -1, -1):
        backward[t] = transition @ (density[t + 1] * backward[t + 1]) / scale[t + 1]
    posterior = forward * backward
    ahead = density[1:] * backward[1:] / scale[1:, None]
    pairs = transition * (forward[:-1].T @ ahead)
    return posterior, pairs, float(np.log(scale).sum() + top.sum())
