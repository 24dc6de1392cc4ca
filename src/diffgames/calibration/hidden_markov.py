"""Volatility regimes of a price: a Gaussian hidden Markov model with zero means, fitted by hmmlearn.

Returns over steps of length h are r_t ~ N(0, s_{I_t}²) with I a Markov chain of transition matrix P; s, P and the law
of I_0 maximise the likelihood (the prior on the variances is a floor, no more). Regimes are put in the order of
rising volatility, σ_i = s_i/√h. The generator is (log P)/h where that is one, else the first-order (P − 1)/h. Regimes
of a price that moves in ticks need a step h over which it moves several of them.

The likelihood has several maxima: short climbs from several starts pick the one that is climbed to its top. More
regimes always gain likelihood; whether the gain is worth its parameters, N² of N regimes, says the criterion of Schwarz

    BIC(N) = −2 log L + N² log(returns),   least at the number of regimes that the record supports, which may be one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from diffgames.calibration.observed_information import deviation_errors
from diffgames.errors import InvalidInput, RunFailed

FLOOR = 1e-6
"""Least variance of a regime, relative to the mean square: a mid that does not move at all has no likelihood."""

STARTS, SHORT, KEPT = 8, 30, 2
"""Starts of a fit, iterations of each, and how many of them are climbed to their tops."""

HELD = 10**12
"""Weight of the prior that holds the means at zero; hmmlearn 0.3.3 loses the variances' weights if told not to fit
means."""


@dataclass(frozen=True)
class VolatilityRegimes:
    """Fitted regimes: `probability` is that of each regime at each step given the whole record, `sigma_error` the
    standard error of σ (∞ where the likelihood is flat)."""

    sigma: np.ndarray
    sigma_error: np.ndarray
    transition: np.ndarray
    generator: np.ndarray
    probability: np.ndarray
    log_likelihood: float
    iterations: int
    converged: bool = True
    criterion: tuple[float, ...] = ()
    """BIC with 1, 2, … regimes, up to those fitted; lower is better."""

    @property
    def supported(self) -> int:
        """The number of regimes that the criterion asks for; 1 says: none."""
        return int(np.argmin(self.criterion)) + 1 if self.criterion else len(self.sigma)


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

    Climbs from several starts, and stops when the log-likelihood per step gains less than `tolerance`; `converged`
    says whether it did within `iterations`. Raises `InvalidInput` for too short a record and `RunFailed` where a regime
    dies out.
    """
    if returns.size < 20 * regimes:
        raise InvalidInput("regimes", regimes, f"at most one per 20 returns; there are {returns.size}")
    if not np.any(returns != 0):
        raise InvalidInput("interval", step, "a time over which the mid price moves")
    scale = float(np.sqrt((np.asarray(returns, float) ** 2).mean()))
    scaled = np.asarray(returns, float) / scale
    settings = {"iterations": iterations, "tolerance": tolerance * returns.size}
    likelihoods = [-0.5 * returns.size * (np.log(2 * np.pi) + 1.0)]  # one regime in closed form, at mean square one
    fit = None
    for count in range(min(2, regimes), regimes + 1):
        try:
            fit = _best_fit(scaled, count, stay, **settings)
            likelihoods[count - 1 :] = [fit[1]]
        except RunFailed:
            if count == regimes:
                raise
            likelihoods[count - 1 :] = [-np.inf]
    assert fit is not None
    model, likelihood, probability = fit
    variance = np.asarray(model.covars_).reshape(regimes) * scale**2
    order = np.argsort(variance)
    transition = np.asarray(model.transmat_)[np.ix_(order, order)]
    errors = deviation_errors(returns, np.sqrt(variance[order]), transition, probability[0, order])
    shift = returns.size * np.log(scale)
    return VolatilityRegimes(
        sigma=np.sqrt(variance[order] / step),
        sigma_error=errors / np.sqrt(step),
        transition=transition,
        generator=generator_of_transitions(transition, step),
        probability=probability[:, order],
        log_likelihood=float(likelihood) - shift,
        iterations=model.monitor_.iter,
        converged=model.monitor_.iter < iterations,
        criterion=tuple(
            float(-2 * (one - shift) + count**2 * np.log(returns.size))
            for count, one in enumerate(likelihoods, start=1)
        ),
    )


def _best_fit(scaled: np.ndarray, regimes: int, stay: float, iterations: int, tolerance: float):
    """The model, likelihood and probabilities of the best of several starts."""
    climbs = []
    starts = _starts(scaled, regimes, stay)
    for variances, transition in starts if regimes > 1 else starts[:1]:
        model = _model(scaled.size, variances, transition, SHORT, tolerance)
        try:
            climbs.append((_climbed(model, scaled)[0], model))
        except RunFailed:
            continue
    if not climbs:
        raise _died_out()
    tops = []
    for _, first in sorted(climbs, key=lambda climb: -climb[0])[:KEPT]:
        model = _model(scaled.size, first.covars_.reshape(-1, 1), first.transmat_, iterations, tolerance)
        model.startprob_ = first.startprob_
        try:
            tops.append((model, *_climbed(model, scaled)))
        except RunFailed:
            continue
    if not tops:
        raise _died_out()
    return max(tops, key=lambda top: top[1])


def _starts(scaled: np.ndarray, regimes: int, stay: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Variances and transitions to climb from: quantiles of local mean squares, then random ones of a fixed seed."""
    local = np.convolve(scaled**2, np.ones(10) / 10, mode="same")
    rng = np.random.default_rng(regimes)
    levels = [(np.arange(regimes) + 0.5) / regimes]
    levels += [np.sort(rng.uniform(0.02, 0.98, regimes)) for _ in range(STARTS - 1)]
    stays = [stay, *rng.uniform(0.6, 0.995, STARTS - 1)]
    found = []
    for level, kept in zip(levels, stays, strict=True):
        transition = np.full((regimes, regimes), (1 - kept) / max(regimes - 1, 1))
        np.fill_diagonal(transition, kept if regimes > 1 else 1.0)
        found.append(((np.quantile(local, level) + 1e-3)[:, None], transition))
    return found


def _model(size: int, variances: np.ndarray, transition: np.ndarray, iterations: int, tolerance: float):
    from hmmlearn.hmm import GaussianHMM

    regimes = len(variances)
    model = GaussianHMM(
        n_components=regimes,
        covars_prior=FLOOR * size,
        means_weight=HELD,
        n_iter=iterations,
        tol=tolerance,
        init_params="",
    )
    model.startprob_ = np.full(regimes, 1.0 / regimes)
    model.transmat_ = transition
    model.means_ = np.zeros((regimes, 1))
    model.covars_ = variances
    return model


def _climbed(model, scaled: np.ndarray) -> tuple[float, np.ndarray]:
    """Likelihood and probabilities after the climb."""
    try:
        likelihood, probability = model.fit(scaled[:, None]).score_samples(scaled[:, None])
    except ValueError as error:  # a variance or a row of transitions that is no longer one
        raise _died_out() from error
    if probability.sum(axis=0).min() < 1.0 or not np.isfinite(likelihood):
        raise _died_out()
    return float(likelihood), probability


def _died_out() -> RunFailed:
    return RunFailed("a volatility regime has died out of the record", "fit fewer regimes, or a longer record")


def generator_of_transitions(transition: Float[np.ndarray, "N N"], step: float) -> Float[np.ndarray, "N N"]:
    """log P / h where it has no negative rate, else (P − 1)/h."""
    from scipy.linalg import logm

    logarithm = np.asarray(logm(transition), complex)
    power = np.real(logarithm)  # rates per step: no unit
    off = power - np.diag(np.diag(power))
    if np.abs(np.imag(logarithm)).max() > 1e-9 or off.min() < -1e-9 or not np.all(np.isfinite(power)):
        power = transition - np.eye(len(transition))
    off = np.maximum(power - np.diag(np.diag(power)), 0.0) / step
    return off - np.diag(off.sum(axis=1))
