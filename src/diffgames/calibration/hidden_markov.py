"""Volatility regimes of a price: a Gaussian hidden Markov model with zero means, fitted by hmmlearn.

Returns over steps of length h are r_t ~ N(0, s_{I_t}²) with I a Markov chain of transition matrix P; s, P and the law
of I_0 maximise the likelihood (the prior on the variances is a floor, no more). Regimes are put in the order of
rising volatility, σ_i = s_i/√h. The generator is (log P)/h where that is one, else the first-order (P − 1)/h. Regimes
of a price that moves in ticks need a step h over which it moves several of them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput, RunFailed

FLOOR = 1e-6
"""Least variance of a regime, relative to the mean square: a mid that does not move at all has no likelihood."""

HELD = 10**12
"""Weight of the prior that holds the means at zero; hmmlearn 0.3.3 loses the variances' weights if told not to fit
means."""


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
    from hmmlearn.hmm import GaussianHMM

    if returns.size < 20 * regimes:
        raise InvalidInput("regimes", regimes, f"at most one per 20 returns; there are {returns.size}")
    if not np.any(returns != 0):
        raise InvalidInput("interval", step, "a time over which the mid price moves")
    scale = float(np.sqrt((np.asarray(returns, float) ** 2).mean()))
    scaled = np.asarray(returns, float) / scale
    local = np.convolve(scaled**2, np.ones(10) / 10, mode="same")
    transition = np.full((regimes, regimes), (1 - stay) / max(regimes - 1, 1))
    np.fill_diagonal(transition, stay if regimes > 1 else 1.0)
    model = GaussianHMM(
        n_components=regimes,
        covars_prior=FLOOR * returns.size,
        means_weight=HELD,
        n_iter=iterations,
        tol=tolerance * returns.size,
        init_params="",
    )
    model.startprob_ = np.full(regimes, 1.0 / regimes)
    model.transmat_ = transition
    model.means_ = np.zeros((regimes, 1))
    model.covars_ = (np.quantile(local, (np.arange(regimes) + 0.5) / regimes) + 1e-3)[:, None]
    try:
        likelihood, probability = model.fit(scaled[:, None]).score_samples(scaled[:, None])
    except ValueError as error:  # a variance or a row of transitions that is no longer one
        raise _died_out() from error
    if probability.sum(axis=0).min() < 1.0 or not np.isfinite(likelihood):
        raise _died_out()
    variance = np.asarray(model.covars_).reshape(regimes) * scale**2
    order = np.argsort(variance)
    transition = np.asarray(model.transmat_)[np.ix_(order, order)]
    return VolatilityRegimes(
        sigma=np.sqrt(variance[order] / step),
        transition=transition,
        generator=generator_of_transitions(transition, step),
        probability=probability[:, order],
        log_likelihood=float(likelihood) - returns.size * np.log(scale),
        iterations=model.monitor_.iter,
    )


def _died_out() -> RunFailed:
    return RunFailed("a volatility regime has died out of the record", "fit fewer regimes, or a longer record")


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
