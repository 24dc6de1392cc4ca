"""Gaussian mixtures fitted to standardised samples by expectation–maximisation (scikit-learn).

Every coordinate is shifted and scaled to mean 0 and variance 1 first, so that one variance floor means the same for all
of them; log-likelihoods are those of the standardised samples, in nats. The fit runs in one thread: sums that several
threads add up in the order of their arrival would make runs differ in the last digit.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.special import ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Estimator
from threadpoolctl import threadpool_limits

from diffgames.errors import InvalidInput
from diffgames.markets.mixture import GaussianMixture

ITERATIONS = 300


@dataclass(frozen=True)
class MixtureFit:
    """A fitted mixture of standardised samples z = (x − centre)/scale: weights w_c, means μ_c, factors L_c."""

    centre: Float[np.ndarray, " dimension"]
    scale: Float[np.ndarray, " dimension"]
    weights: Float[np.ndarray, " components"]
    means: Float[np.ndarray, "components dimension"]
    cholesky: Float[np.ndarray, "components dimension dimension"]
    converged: bool

    def log_likelihood(self, samples: Float[np.ndarray, "samples dimension"]) -> Float[np.ndarray, " samples"]:
        """ln Σ_c w_c N(z; μ_c, L_c L_cᵀ) of each sample, standardised."""
        standard = (samples - self.centre) / self.scale
        terms = []
        for weight, mean, factor in zip(self.weights, self.means, self.cholesky, strict=True):
            residual = solve_triangular(factor, (standard - mean).T, lower=True)
            constant = 0.5 * len(mean) * np.log(2 * np.pi) + np.log(np.diagonal(factor)).sum()
            terms.append(np.log(weight) - 0.5 * (residual**2).sum(axis=0) - constant)
        return np.logaddexp.reduce(np.stack(terms), axis=0)

    def mixture(self) -> GaussianMixture:
        """The law of the samples themselves, in single precision."""
        return GaussianMixture(
            weights=jnp.asarray(self.weights, jnp.float32),
            means=jnp.asarray(self.centre + self.scale * self.means, jnp.float32),
            cholesky=jnp.asarray(self.scale[None, :, None] * self.cholesky, jnp.float32),
        )

    def mean_above(self, level: float, sign: float = 1.0) -> Float[np.ndarray, " dimension"]:
        """E[max(±x − level, 0)] of every coordinate, in closed form.

        A Gaussian of mean μ and deviation σ has E[max(x, 0)] = μ Φ(μ/σ) + σ φ(μ/σ).
        """
        mean = sign * (self.centre + self.scale * self.means) - level
        deviation = self.scale * np.sqrt((self.cholesky**2).sum(axis=2))
        ratio = mean / deviation
        density = np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
        return self.weights @ (mean * ndtr(ratio) + deviation * density)


def fit_mixture(
    samples: Float[np.ndarray, "samples dimension"], components: int, variance_floor: float, seed: int
) -> MixtureFit:
    """Fit `components` Gaussians whose variance is at least `variance_floor` in every standardised direction."""
    if not 1 <= components <= len(samples):
        raise InvalidInput("components", components, f"an integer from 1 to {len(samples)}, the samples to be fitted")
    centre, scale = samples.mean(axis=0), samples.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    estimator: Any = Estimator(components, reg_covar=variance_floor, random_state=seed, max_iter=ITERATIONS)
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        estimator.fit((samples - centre) / scale)
    return MixtureFit(
        centre=centre,
        scale=scale,
        weights=estimator.weights_,
        means=estimator.means_,
        cholesky=np.linalg.cholesky(estimator.covariances_),
        converged=bool(estimator.converged_),
    )
