"""Scores of probabilistic forecasts: how far a law, an interval or a set of scenarios is from what came.

With z = (y − µ)/σ, the continuous ranked probability score (lower is better, in the unit of y) of Student's t with ν
degrees of freedom is σ S(z, ν) (Jordan, Krüger & Lerch 2019, appendix A)

    S(z, ν) = z (2F − 1) + h − K,        h = 2 f(z) (ν + z²)/(ν − 1),
    K = 2 √ν c(ν/2)² / (√π (ν − 1) c(ν − ½)),        c(x) = Γ(x + ½)/Γ(x),

of which E|X − z| = z (2F − 1) + h and ½ E|X − X'| = K. It is infinite for ν ≤ 1 and that of the normal law at ν = ∞.
The derivative of F in ν is no usual function. With x = √ν sinh(s/√ν) and t = s/√ν,

    F(z) = ½ + C ∫₀ cosh^{−ν}t ds,        C = c(ν/2)/√(πν),
    ∂F/∂ν = C ∫₀ cosh^{−ν}t [(log C)' − log cosh t + (ν + 1)/(2ν) tanh²t] ds,

both by one Gauss–Legendre rule: the integrands are smooth and end where cosh^{−ν}t < 1e-17, so the rule is exact to
rounding. ∂S/∂z = 2F − 1 is free, and `crps_t` carries these derivatives.

The energy score E‖X − y‖ − ½ E‖X − X'‖ and the variogram score Σ_ij w_ij (|y_i − y_j|^p − E|X_i − X_j|^p)² (Scheuerer &
Hamill 2015) judge scenarios jointly over all hours. Two forecasts are compared by the Diebold–Mariano test.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import stdtr

from diffgames.errors import InvalidInput
from diffgames.numerics.precision import keeping_double

Numbers = Float[Array, "..."] | float
"""What `_in_double` makes of numbers, lists and arrays; scores of single values broadcast."""

_NODES, _WEIGHTS = (np.asarray(one) for one in np.polynomial.legendre.leggauss(64))
_TAIL = 40.0  # −log of what the integrand has fallen to at its end
# log Γ(x + ½)/Γ(x) = ½ log x − Σ a_k x^{1−2k}, shifted upward first so that x ≥ 8.
_SERIES = (1 / 8, -1 / 192, 1 / 640, -17 / 14336, 31 / 18432, -691 / 180224)
_SHIFT = 8


def _in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numbers and NumPy arrays are scored in float64, as NumPy arrays; JAX's arrays keep the precision they have."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(value, jax.Array) for value in (*args, *kwargs.values())):
            return keeping_double(function)(*args, **kwargs)
        with jax.enable_x64(True):
            return np.asarray(function(*(jnp.asarray(value, jnp.float64) for value in args), **kwargs))

    return wrapped


def _log_ratio(x: Array) -> Array:
    """log c(x) = log Γ(x + ½)/Γ(x), to rounding for x > 0."""
    shifted = x + _SHIFT
    steps = sum(jnp.log1p(-0.5 / (x + (k + 0.5))) for k in range(_SHIFT))  # c(x) = c(x + 1) x/(x + ½)
    series = sum(a * shifted ** (1 - 2 * k) for k, a in enumerate(_SERIES, start=1))
    return 0.5 * jnp.log(shifted) - series + steps


def _slope(function: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))


def _log_density_constant(df: Array) -> Array:
    return _log_ratio(0.5 * df) - 0.5 * jnp.log(math.pi * df)


def _log_spread(df: Array) -> Array:
    """log K."""
    ratios = 2.0 * _log_ratio(0.5 * df) - _log_ratio(df - 0.5)
    return ratios + 0.5 * jnp.log(4.0 * df / math.pi) - jnp.log(df - 1.0)


def _student(z: Array, df: Array) -> tuple[Array, Array]:
    """F(z) − ½ and ∂F/∂ν of Student's t."""
    root = jnp.sqrt(df)
    most = root * jnp.arcsinh(jnp.sqrt(jnp.expm1(2.0 * _TAIL / df)))
    end = jnp.minimum(root * jnp.arcsinh(jnp.abs(z) / root), most)
    nodes, weights = (jnp.asarray(one, z.dtype) for one in (0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS))
    t = jnp.multiply.outer(end / root, nodes)
    log_cosh = jnp.log1p(2.0 * jnp.sinh(0.5 * t) ** 2)
    log_constant, slope = _slope(_log_density_constant, df)
    mass = jnp.exp(log_constant[..., None] - df[..., None] * log_cosh)
    change = slope[..., None] - log_cosh + (0.5 * (df + 1.0) / df)[..., None] * jnp.tanh(t) ** 2
    sign = jnp.sign(z) * end
    return sign * (mass @ weights), sign * ((mass * change) @ weights)


@jax.custom_jvp
def _standard_crps(z: Array, df: Array) -> Array:
    return _standard_crps_and_slopes(z, df)[0]


@_standard_crps.defjvp
def _standard_crps_jvp(primals: Any, tangents: Any) -> Any:
    value, in_z, in_df = _standard_crps_and_slopes(*primals)
    return value, in_z * tangents[0] + in_df * tangents[1]


def _standard_crps_and_slopes(z: Array, df: Array) -> tuple[Array, Array, Array]:
    """S(z, ν), ∂S/∂z and ∂S/∂ν, with ν = ∞ and ν ≤ 1."""
    normal, finite = jnp.isinf(df), df > 1.0
    nu = jnp.where(normal | ~finite, 3.0, df)
    half, half_slope = _student(z, nu)
    log_constant, constant_slope = _slope(_log_density_constant, nu)
    power = jnp.log1p(z**2 / nu)
    h = 2.0 * nu / (nu - 1.0) * jnp.exp(log_constant - 0.5 * (nu - 1.0) * power)
    h_slope = constant_slope - 1.0 / (nu * (nu - 1.0)) - 0.5 * power + 0.5 * (nu - 1.0) / nu * z**2 / (nu + z**2)
    log_k, k_slope = _slope(_log_spread, nu)
    k = jnp.exp(log_k)
    gauss_half = 0.5 * jax.lax.erf(z / math.sqrt(2.0))
    gauss = 2.0 * (z * gauss_half + jnp.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)) - 1.0 / math.sqrt(math.pi)
    value = jnp.where(normal, gauss, 2.0 * z * half + h - k)
    in_df = jnp.where(normal, 0.0, 2.0 * z * half_slope + h * h_slope - k * k_slope)
    return (
        jnp.where(finite, value, jnp.where(jnp.isnan(df), jnp.nan, jnp.inf)),
        2.0 * jnp.where(normal, gauss_half, half),
        jnp.where(finite, in_df, jnp.nan),
    )


@_in_double
def crps_t(
    y: Numbers,
    location: Numbers,
    scale: Numbers,
    df: Numbers,
) -> Float[Array, "..."]:
    """Continuous ranked probability score of Student's t, in the unit of y; arguments broadcast.

    Differentiable in all four; `df` may be infinite (the normal law), the score is infinite for `df` ≤ 1.
    """
    y, location, scale, df = _alike(y, location, scale, df)
    return scale * _standard_crps((y - location) / scale, df)


@_in_double
def crps_normal(y: Numbers, location: Numbers, scale: Numbers) -> Float[Array, "..."]:
    """Continuous ranked probability score of the normal law, in the unit of y; arguments broadcast."""
    y, location, scale = _alike(y, location, scale)
    z = (y - location) / scale
    density = jnp.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return scale * (z * jax.lax.erf(z / math.sqrt(2.0)) + 2.0 * density - 1.0 / math.sqrt(math.pi))


@_in_double
def log_score_t(y: Numbers, location: Numbers, scale: Numbers, df: Numbers) -> Float[Array, "..."]:
    """−log p(y) of Student's t, in nats (of y in its unit); arguments broadcast, `df` is finite."""
    y, location, scale, df = _alike(y, location, scale, df)
    power = jnp.log1p(((y - location) / scale) ** 2 / df)
    return jnp.log(scale) - _log_density_constant(df) + 0.5 * (df + 1.0) * power


@_in_double
def pit(y: Numbers, location: Numbers, scale: Numbers, df: Numbers) -> Float[Array, "..."]:
    """F(y), the probability integral transform: uniform on (0, 1) where the forecast is calibrated."""
    y, location, scale, df = _alike(y, location, scale, df)
    z, normal = (y - location) / scale, jnp.isinf(df)
    half = _student(z, jnp.where(normal, 3.0, df))[0]
    return 0.5 + jnp.where(normal, 0.5 * jax.lax.erf(z / math.sqrt(2.0)), half)


@_in_double
def pinball(y: Numbers, quantile: Numbers, level: Numbers) -> Float[Array, "..."]:
    """(level − 1{y < quantile})(y − quantile): its mean over all levels in (0, 1) is half the CRPS."""
    y, quantile, level = _alike(y, quantile, level)
    return jnp.where(y < quantile, level - 1.0, level) * (y - quantile)


@_in_double
def crps_ensemble(y: Float[Array, "*shape"], members: Float[Array, "*shape members"]) -> Float[Array, "*shape"]:
    """E|X − y| − ½ E|X − X'| for X and X' drawn from the members: the CRPS of the empirical distribution."""
    y, members = _unlike(y, members)
    count = members.shape[-1]
    ranks = jnp.arange(1, count + 1, dtype=members.dtype)
    spread = jnp.sort(members, axis=-1) @ (2.0 * ranks - count - 1.0) / count**2
    return jnp.mean(jnp.abs(members - y[..., None]), -1) - spread


@_in_double
def energy_score(
    y: Float[Array, "*shape hours"], members: Float[Array, "*shape members hours"]
) -> Float[Array, "*shape"]:
    """E‖X − y‖ − ½ E‖X − X'‖ for X and X' drawn from the members, in the unit of y."""
    y, members = _unlike(y, members)

    def apart(one: Array) -> Array:  # member by member, so that no array of all pairs and hours is made
        return jnp.mean(jnp.linalg.norm(members - one[..., None, :], axis=-1), -1)

    pairs = jax.lax.map(apart, jnp.moveaxis(members, -2, 0))
    return apart(y) - 0.5 * jnp.mean(pairs, 0)


@_in_double
def variogram_score(
    y: Float[Array, "*shape hours"], members: Float[Array, "*shape members hours"], power: float = 0.5
) -> Float[Array, "*shape"]:
    """Σ_ij (|y_i − y_j|^p − E|X_i − X_j|^p)² over all pairs of hours, in the unit of y to the power 2p."""
    y, members = _unlike(y, members)

    def row(hour: Array) -> Array:
        def far(x: Array) -> Array:
            return jnp.abs(x - jnp.take(x, hour, axis=-1)[..., None]) ** power

        return jnp.sum((far(y) - jnp.mean(far(members), -2)) ** 2, -1)

    return jnp.sum(jax.lax.map(row, jnp.arange(y.shape[-1])), 0)


@_in_double
def coverage(y: Numbers, low: Numbers, high: Numbers) -> Float[Array, ""]:
    """Share of the outcomes inside their intervals, ends included."""
    y, low, high = _alike(y, low, high)
    return jnp.mean((y >= low) & (y <= high), dtype=y.dtype)


def _unlike(*values: Any) -> list[Array]:
    """Arrays of one floating type, the widest among those that are arrays already."""
    kinds = [value.dtype for value in values if hasattr(value, "dtype")]
    kind = functools.reduce(np.promote_types, kinds, np.dtype("float32"))
    return [jnp.asarray(value, kind) for value in values]


def _alike(*values: Any) -> list[Array]:
    """Arrays of one floating type and one shape."""
    return list(jnp.broadcast_arrays(*_unlike(*values)))


def long_run_variance(
    difference: Float[np.ndarray, " times"] | Sequence[float],
    horizon: int,
    kernel: Literal["Bartlett", "rectangular"] = "Bartlett",
) -> float:
    """Σ_k w_k γ_k over the lags |k| < horizon of the autocovariances γ: w_k = 1 − |k|/horizon, or 1 (rectangular).

    Bartlett's is never negative; the rectangular one, which the test was published with, can be: a diagnostic only.
    """
    d = _series(difference, horizon)
    d, count = d - d.mean(), len(d)
    lags = np.arange(1, horizon)
    covariance = np.array([d[lag:] @ d[:-lag] for lag in lags]) / count
    weights = 1.0 - lags / horizon if kernel == "Bartlett" else np.ones(len(lags))
    return float(d @ d / count + 2.0 * weights @ covariance)


def diebold_mariano(difference: Float[np.ndarray, " times"] | Sequence[float], horizon: int) -> tuple[float, float]:
    """Diebold and Mariano's statistic DM* and its two-sided p; below zero, the first forecast scores lower.

    `difference` is the first forecast's score minus the second's, in the order of time; those up to `horizon` − 1 times
    apart may depend on each other. With d̄ its mean and V Bartlett's long-run variance, DM* = h d̄/√(V/T),
    h² = (T + 1 − 2 horizon + horizon (horizon − 1)/T)/T (Harvey, Leybourne & Newbold 1997), p by Student's t with
    T − 1 degrees of freedom. Raises `InvalidInput` for fewer than two times, a horizon outside 1 … T − 1, or NaN.
    """
    d = _series(difference, horizon)
    count, mean, variance = len(d), float(d.mean()), long_run_variance(d, horizon)
    if variance <= 0.0:  # all differences are the same
        return (0.0, 1.0) if mean == 0.0 else (math.copysign(math.inf, mean), 0.0)
    statistic = mean / math.sqrt(variance / count) * small_sample_factor(count, horizon)
    return statistic, float(2.0 * stdtr(count - 1, -abs(statistic)))


def small_sample_factor(count: int, horizon: int) -> float:
    """h of Harvey, Leybourne and Newbold (1997), see `diebold_mariano`."""
    return math.sqrt((count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count)


def holm(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """p-values adjusted for their number by Holm's steps: the chance of any false rejection stays below the level."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _series(difference: Any, horizon: int) -> np.ndarray:
    d = np.asarray(difference, float)
    if d.ndim != 1 or len(d) < 2 or not np.isfinite(d).all():
        raise InvalidInput("difference", np.shape(difference), "one row of at least two finite score differences")
    if not 1 <= horizon < len(d):
        raise InvalidInput("horizon", horizon, f"1 to {len(d) - 1}, one less than the score differences")
    return d
