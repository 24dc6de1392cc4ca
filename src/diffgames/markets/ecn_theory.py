"""Where order-book volumes settle under the hybrid dynamics (8): Vadori et al., Theorem 2.2, Propositions 2.3 and 2.6.

V_{i,n+1} = (1 − δ⁻_i) V_{i,n} + δ⁺_i with independent draws (δ⁺, δ⁻) of means μ⁺, μ⁻ > 0. Write R⁺, R⁻ and R for the
matrices cov(δ⁺_i, δ⁺_j), cov(δ⁻_i, δ⁻_j) and cov(δ⁻_i, δ⁺_j): the paper's ρ⁺_ij σ⁺_i σ⁺_j, ρ⁻_ij σ⁻_i σ⁻_j and
ρ_ij σ⁻_i σ⁺_j. Then

    long-run mean            μ∞_i = μ⁺_i / μ⁻_i,
    noise at the mean        σ∞_ij = R⁺_ij + μ∞_i μ∞_j R⁻_ij − μ∞_i R_ij − μ∞_j R_ji,
    long-run covariance      σ∞_ij / (μ⁻_i + μ⁻_j − μ⁻_i μ⁻_j − R⁻_ij)     in discrete time,
                             σ∞_ij / (μ⁻_i + μ⁻_j − R⁻_ij)                 for the diffusion limit V*,

and V* has quadratic covariation Q̃_ij(V*_i − μ∞_i, V*_j − μ∞_j) per unit of time with

    Q̃_ij(x, y) = σ∞_ij + R⁻_ij x y + (μ∞_j R⁻_ij − R_ij) x + (μ∞_i R⁻_ij − R_ji) y.

For one level the variance impact Q̃(x) − Q̃(0) = x (R⁻ x + 2 (μ∞ R⁻ − R)) is negative (*self-inhibiting*) between the
volumes γ_* ≤ γ^*, which are μ∞ and 2R/R⁻ − μ∞ in the order of their size, and positive (*self-exciting*) outside.

The text after Corollary 2.4 calls σ∞² the long-run variance of V*; by Proposition 2.3 that is σ∞²/(2μ⁻ − σ⁻²). A
positive long-run variance needs the denominators on the diagonal to be positive.
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.markets.ecn import ExchangeModel

Array = np.ndarray  # moments are small: plain numpy in float64


class VolumeLaw(eqx.Module):
    """First two moments of (δ⁺, δ⁻) over the levels of a book.

    Attributes:
        rise, fall: μ⁺ (lots) and μ⁻ (1), per step.
        rise_covariance, fall_covariance: R⁺ (lots²) and R⁻ (1).
        cross_covariance: R (lots), entry i, j is cov(δ⁻_i, δ⁺_j).
    """

    rise: Float[Array, " levels"]
    fall: Float[Array, " levels"]
    rise_covariance: Float[Array, "levels levels"]
    fall_covariance: Float[Array, "levels levels"]
    cross_covariance: Float[Array, "levels levels"]

    @staticmethod
    def of_samples(change: Float[Array, "samples levels"]) -> "VolumeLaw":
        """Moments of draws of δ: δ⁺ = max(δ, 0) in lots, δ⁻ = max(−δ, 0) a fraction. Raises `InvalidInput`."""
        change = np.asarray(change, np.float64)
        rise, fall = np.maximum(change, 0.0), np.maximum(-change, 0.0)
        if change.ndim != 2 or fall.max(initial=0.0) > 1.0:
            raise InvalidInput("change", change.shape, "an array [samples, levels] with entries ≥ −1")
        if (fall.mean(axis=0) <= 0.0).any():
            raise InvalidInput("change", "a level that never falls", "levels with E[δ⁻] > 0: others grow without end")
        levels = change.shape[1]
        joint = np.cov(np.column_stack([rise, fall]), rowvar=False).reshape(2 * levels, 2 * levels)
        return VolumeLaw(
            rise=rise.mean(axis=0),
            fall=fall.mean(axis=0),
            rise_covariance=joint[:levels, :levels],
            fall_covariance=joint[levels:, levels:],
            cross_covariance=joint[levels:, :levels],
        )

    @staticmethod
    def of_exchange(model: ExchangeModel, key: PRNGKeyArray, draws: int = 200_000) -> "VolumeLaw":
        """Moments of a fitted exchange agent's δ, from `draws` draws; volumes are not rounded to lots in it."""
        return VolumeLaw.of_samples(np.asarray(jax.vmap(model.sample_change)(jax.random.split(key, draws))))

    def scaled(self, epsilon: float) -> "VolumeLaw":
        """The law of Theorem 2.2's δ_ε = εμ + √ε (δ − μ): means and covariances times ε."""
        return jax.tree.map(lambda moment: epsilon * moment, self)


def long_run_mean(law: VolumeLaw) -> Float[Array, " levels"]:
    """μ∞ = μ⁺/μ⁻, lots (Proposition 2.3)."""
    return law.rise / law.fall


def noise_covariance(law: VolumeLaw) -> Float[Array, "levels levels"]:
    """σ∞_ij, lots² per step (Theorem 2.2)."""
    mean = long_run_mean(law)
    mixed = mean[:, None] * law.cross_covariance
    return law.rise_covariance + np.outer(mean, mean) * law.fall_covariance - mixed - mixed.T


def long_run_covariance(law: VolumeLaw, time: str = "discrete") -> Float[Array, "levels levels"]:
    """Covariance of volumes in the long run, lots² (Proposition 2.3); `time` is "discrete" or "continuous".

    Raises `InvalidInput` where the variance of a level has no limit: its falls vary too much, 2μ⁻ − (μ⁻)² ≤ (σ⁻)².
    """
    if time not in ("discrete", "continuous"):
        raise InvalidInput("time", time, "'discrete' or 'continuous'")
    pull = law.fall[:, None] + law.fall[None, :] - law.fall_covariance
    if time == "discrete":
        pull = pull - np.outer(law.fall, law.fall)
    if (np.diag(pull) <= 0.0).any():
        raise InvalidInput("law", f"level {int(np.argmin(np.diag(pull)))}", "falls δ⁻ of smaller variance")
    return noise_covariance(law) / pull


def quadratic_covariation(law: VolumeLaw, deviation: Float[Array, " levels"]) -> Float[Array, "levels levels"]:
    """Q(V* − μ∞), lots² per unit of time, at a deviation of the volumes from their long-run mean (Theorem 2.2)."""
    volume = long_run_mean(law) + np.asarray(deviation, np.float64)
    mixed = volume[:, None] * law.cross_covariance
    return law.rise_covariance + np.outer(volume, volume) * law.fall_covariance - mixed - mixed.T


def variance_impact(law: VolumeLaw, volume: Float[Array, " volumes"], level: int = 0) -> Float[Array, " volumes"]:
    """Q(V − μ∞) − Q(0) of one level at the given volumes, lots² (Proposition 2.6)."""
    mean, fall = long_run_mean(law)[level], law.fall_covariance[level, level]
    x = np.asarray(volume, np.float64) - mean
    return x * (fall * x + 2 * (mean * fall - law.cross_covariance[level, level]))


def regime_bounds(law: VolumeLaw, level: int = 0) -> tuple[float, float]:
    """(γ_*, γ^*) in lots: variance is below its value at the mean between them, above it outside (Proposition 2.6).

    Both are NaN where δ⁻ does not vary: there are no regimes then.
    """
    mean, fall = long_run_mean(law)[level], law.fall_covariance[level, level]
    if fall == 0.0:
        return float("nan"), float("nan")
    other = 2 * law.cross_covariance[level, level] / fall - mean
    return float(min(mean, other)), float(max(mean, other))
