"""Conditional value at risk: the mean of the worst share of the costs.

Convention: costs L are minimized and α is the *tail mass*, the share of the worst outcomes (others write 1 − α for it).
By Rockafellar and Uryasev (2000, Theorem 1; 2002, Proposition 8 for laws with atoms)

    CVaR_α(L) = min_z { z + E(L − z)⁺/α },   attained at the (1 − α)-quantile of L;   CVaR_1 = E L.

On n samples the minimum is exact: with k = αn and L_(1) ≥ L_(2) ≥ … it is Σ_i w_i L_(i), w_i = min(1, (k − i + 1)⁺)/k,
the last order statistic counting by its fraction. The gradient in the samples is w, that of the expected loss in the
tail. A decision maker of weight γ minimizes (1 − γ) E L + γ CVaR_α(L).

The estimator's standard error is that of its influence function, (1 − γ) L + γ (z + (L − z)⁺/α), and the interval uses
Student's t with αn − 1 degrees of freedom, for the tail is all that is seen. Measured, 95% intervals of the CVaR hold
the truth in 94–95% of cases from 50 samples in the tail on for normal and exponential costs (92% for Student's t₄,
whose tail is estimated too short), and in 88–94% with 5 to 10.

>>> float(cvar([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], 0.25))
7.0
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Num
from scipy import stats

from diffgames.errors import InvalidInput
from diffgames.numerics.precision import keeping_double

Samples = Num[Array | np.ndarray, "*batch n"] | list | tuple
Number = float | int | Float[Array, ""]


class RiskEstimate(NamedTuple):
    """An estimate [*batch], its standard error and the ends of its interval, in units of the costs."""

    value: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]


def cvar(samples: Samples, tail_mass: Number) -> Float[Array, "*batch"]:
    """Mean of the worst `tail_mass` of the samples along the last axis; differentiable, batched.

    `InvalidInput` names a tail mass outside (0, 1], no samples, and samples that are not finite.
    """
    return _cvar(_checked(samples, tail_mass), tail_mass)


def mean_cvar(samples: Samples, tail_mass: Number, weight: Number) -> Float[Array, "*batch"]:
    """(1 − weight) times the mean plus weight times the CVaR of the costs; `weight` in [0, 1]."""
    _within("weight", weight, "a number in [0, 1]", least=0.0)
    return _mean_cvar(_checked(samples, tail_mass), tail_mass, weight)


def estimate(samples: Samples, tail_mass: float | int, weight: float | int = 1, level: float = 0.95) -> RiskEstimate:
    """`mean_cvar` of independent samples with its standard error and two-sided interval at `level`.

    `InvalidInput` asks for more samples where fewer than two lie in the tail.
    """
    _within("weight", weight, "a number in [0, 1]", least=0.0)
    costs = _checked(samples, tail_mass)
    n = costs.shape[-1]
    if tail_mass * n < 2:
        raise InvalidInput("samples", n, f"at least {int(np.ceil(2 / tail_mass))}: two in the tail of {tail_mass:g}")
    return _estimate(costs, tail_mass, weight, float(stats.t.ppf(0.5 + level / 2, tail_mass * n - 1)))


@keeping_double
def _cvar(samples: Array, tail_mass: Number) -> Array:
    worst = jnp.sort(samples, axis=-1, descending=True)
    inside = jnp.asarray(tail_mass, samples.dtype) * samples.shape[-1]
    counted = jnp.clip(inside - jnp.arange(samples.shape[-1], dtype=samples.dtype), 0.0, 1.0)
    return worst @ (counted / inside)


@keeping_double
def _mean_cvar(samples: Array, tail_mass: Number, weight: Number) -> Array:
    weight = jnp.asarray(weight, samples.dtype)
    return (1 - weight) * jnp.mean(samples, axis=-1) + weight * _cvar(samples, tail_mass)


@keeping_double
def _estimate(samples: Array, tail_mass: Number, weight: Number, quantile: float) -> RiskEstimate:
    value, n = _mean_cvar(samples, tail_mass, weight), samples.shape[-1]
    z = jnp.sort(samples, axis=-1, descending=True)[..., min(int(tail_mass * n), n - 1), None]
    influence = (1 - weight) * samples + weight * (z + jnp.maximum(samples - z, 0) / tail_mass)
    error = jnp.std(influence, axis=-1, ddof=1) / n**0.5
    return RiskEstimate(value, error, value - quantile * error, value + quantile * error)


def _checked(samples: Samples, tail_mass: Number) -> Array:
    """The samples as they are computed with: plain NumPy arrays in double precision."""
    _within("tail_mass", tail_mass, "a number in (0, 1], the share of the worst outcomes")
    if not isinstance(samples, jax.Array):
        with jax.enable_x64(True):
            samples = jnp.asarray(np.asarray(samples, float))
    elif not jnp.issubdtype(samples.dtype, jnp.floating):
        samples = samples.astype(float)
    if samples.ndim == 0 or samples.shape[-1] == 0:
        raise InvalidInput("samples", list(samples.shape), "an array with at least one sample along its last axis")
    if not isinstance(samples, Tracer) and not np.isfinite(np.asarray(samples)).all():
        raise InvalidInput("samples", float("nan"), "finite costs: some samples are infinite or no number")
    return samples


def _within(name: str, value: Number, allowed: str, least: float = np.nextafter(0.0, 1.0)) -> None:
    if not isinstance(value, Tracer) and not least <= float(value) <= 1.0:
        raise InvalidInput(name, float(value), allowed)


def cvar_normal(tail_mass: float, mean: float | int = 0, deviation: float | int = 1) -> float:
    """CVaR of N(mean, deviation²): mean + deviation · φ(z)/α, z the (1 − α)-quantile of N(0, 1)."""
    _within("tail_mass", tail_mass, "a number in (0, 1]")
    return float(mean + deviation * stats.norm.pdf(stats.norm.isf(tail_mass)) / tail_mass)


def cvar_student_t(tail_mass: float, degrees: float | int, location: float | int = 0, scale: float | int = 1) -> float:
    """CVaR of location + scale · t_ν, ν > 1: t_ν has (ν + q²)/(ν − 1) · f_ν(q)/α at its (1 − α)-quantile q."""
    _within("tail_mass", tail_mass, "a number in (0, 1]")
    if not degrees > 1:
        raise InvalidInput("degrees", degrees, "more than one degree of freedom: there is no mean otherwise")
    q = stats.t.isf(tail_mass, degrees) if tail_mass < 1 else 0.0
    tail = (degrees + q**2) / (degrees - 1) * stats.t.pdf(q, degrees) / tail_mass if tail_mass < 1 else 0.0
    return float(location + scale * tail)


def cvar_exponential(tail_mass: float, mean: float | int = 1) -> float:
    """CVaR of an exponential cost: mean · (1 − log α)."""
    _within("tail_mass", tail_mass, "a number in (0, 1]")
    return float(mean * (1.0 - np.log(tail_mass)))
