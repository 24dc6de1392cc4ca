"""Bayesian optimization of a supertype profile, the baseline of Vadori et al., Section 5.1.

A Gaussian process with a Matern-5/2 kernel (scikit-learn's, one length, white noise) is fitted to the rewards seen so
far, standardised; the next profile maximizes an acquisition function on the box: the best of many uniform draws and of
perturbations of the best profiles so far, then polished by L-BFGS-B. The first `INITIAL` profiles are uniform draws,
and with `random` all are (random search). With mean μ, deviation s and r⁺ the largest mean at a profile tried,

    ucb  μ + κ s,       ei  E[(r − r⁺)⁺] = (μ − r⁺) Φ(u) + s φ(u),   u = (μ − r⁺)/s.
"""

import warnings
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from diffgames.errors import InvalidInput

INITIAL, CANDIDATES, POLISHED = 5, 4000, 3
Acquisition = Literal["ucb", "ei", "random"]


def propose(
    tried: Float[np.ndarray, "profiles components"],
    rewards: Float[np.ndarray, " profiles"],
    high: Float[np.ndarray, " components"],
    kappa: float,
    rng: np.random.Generator,
    acquisition: Acquisition = "ucb",
) -> Float[np.ndarray, " components"]:
    """The next profile on [0, high], given the rewards of those tried (maximized); `kappa` is that of ucb alone."""
    if not kappa >= 0:
        raise InvalidInput("kappa", kappa, "a number ≥ 0")
    if len(rewards) < INITIAL or acquisition == "random":
        return high * rng.random(len(high))
    points = np.asarray(tried, float) / high
    level, unit = float(np.mean(rewards)), max(float(np.std(rewards)), 1e-9)
    kernel = Matern(nu=2.5, length_scale=1.0, length_scale_bounds=(0.05, 20.0)) + WhiteKernel(0.1, (1e-6, 1.0))
    process = GaussianProcessRegressor(kernel, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the rewards are flat so far
        process.fit(points, (np.asarray(rewards, float) - level) / unit)

    incumbent = float(np.max(np.asarray(process.predict(points))))

    def gain(points: np.ndarray) -> np.ndarray:
        mean, deviation = (np.asarray(one) for one in process.predict(np.atleast_2d(points), return_std=True))
        return mean + kappa * deviation if acquisition == "ucb" else expected_improvement(mean, deviation, incumbent)

    best = points[np.argsort(rewards)[-POLISHED:]]
    near = best[rng.integers(len(best), size=CANDIDATES)] + 0.1 * rng.standard_normal((CANDIDATES, len(high)))
    candidates = np.concatenate([rng.random((CANDIDATES, len(high))), np.clip(near, 0.0, 1.0)])
    starts = candidates[np.argsort(gain(candidates))[-POLISHED:]]
    box = [(0.0, 1.0)] * len(high)
    found = [
        minimize(lambda x: -float(gain(x)[0]), x, method="L-BFGS-B", bounds=box, options={"maxiter": 20})
        for x in starts
    ]
    return high * np.clip(min(found, key=lambda one: one.fun).x, 0.0, 1.0)


def expected_improvement(
    mean: Float[np.ndarray, " n"], deviation: Float[np.ndarray, " n"], incumbent: float
) -> Float[np.ndarray, " n"]:
    """E[(r − r⁺)⁺] of r ~ N(mean, deviation²), r⁺ the incumbent; (mean − r⁺)⁺ where the deviation is zero."""
    ahead, spread = np.asarray(mean) - incumbent, np.maximum(deviation, 1e-12)
    return ahead * norm.cdf(ahead / spread) + spread * norm.pdf(ahead / spread)
