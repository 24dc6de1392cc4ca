"""Day-ahead forecasts of an hourly series as Student's t: location by boosted trees, scale and ν by a small network.

A forecast for local day D is issued at 12:00 of D − 1. Every covariate carries its publication, in hours from the
start of D: the value of hour h of day D − k is published at −24 k + h + 1, and what is later than −12 is refused
(`Covariates.add`). That operators publish their forecasts by 10:00 of D − 1 is an assumption.

    y = b + w t(x) + s (µ + σ T_ν),        σ = exp(·),  ν = 2 + softplus(·),

b the operator's forecast or the same hour a week ago, t the mean of trees of two losses, w ∈ {0, ¼, …, 1}
and the head (µ, σ, ν) fitted to the errors of a year that the trees were not fitted to, the head by CRPS or −log p.
s follows drift: exp of the weighted mean of log(mean |error|/expected) over days up to D − 2, with the half-life given.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from dateutil.easter import easter
from jaxtyping import Float
from scipy.special import stdtrit
from sklearn.ensemble import HistGradientBoostingRegressor

from diffgames.energy.hours import Hours
from diffgames.energy.scores import crps_normal, crps_t, log_score_t
from diffgames.errors import InvalidInput

ISSUED = -12.0  # hours from the start of the day that is forecast
OPERATOR = -14.0
YEAR = 365
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
LOSSES = ("absolute_error", "squared_error")
NORMAL = np.inf
Head = Literal["t", "normal"]
Days = Float[np.ndarray, "days 24"]


class Covariates:
    """Covariates [days, 24] of a forecast, none published after it is issued."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: list[np.ndarray] = []

    def add(self, name: str, values: np.ndarray, published: float) -> None:
        """One more, [days, 24] or [days]; `InvalidInput` where its latest part is published after the issue."""
        if published > ISSUED:
            allowed = f"a covariate published by {ISSUED:g} h from the start of the day, when the forecast is issued"
            raise InvalidInput(name, published, allowed)
        self.names.append(name)
        self.values.append(np.broadcast_to(values if values.ndim == 2 else values[:, None], (len(values), 24)))

    def table(self) -> Float[np.ndarray, "days 24 covariates"]:
        """All of them."""
        return np.stack(self.values, axis=-1)


def by_day(record: Hours, name: str, key: str = "target") -> tuple[np.ndarray, Days]:
    """Local days (datetime64) and the series by local hour; an hour that comes twice is averaged, an absent one NaN."""
    local = record.local()
    days = np.array([one.date() for one in local], "datetime64[D]")
    first = days.min()
    count, row = int((days.max() - first).astype(int)) + 1, (days - first).astype(int)
    hour = np.array([one.hour for one in local])
    values = record.column(name, key)
    known = np.isfinite(values)
    total, times = np.zeros((count, 24)), np.zeros((count, 24))
    np.add.at(total, (row[known], hour[known]), values[known])
    np.add.at(times, (row[known], hour[known]), 1.0)
    return first + np.arange(count), np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0)


def back(values: np.ndarray, days: int) -> np.ndarray:
    """The values so many days before, NaN at the beginning."""
    return np.concatenate([np.full_like(values[:days], np.nan), values[:-days]])


def first_known(*series: Days) -> Days:
    """Hour by hour, the first of the series that has a value."""
    found = series[0]
    for other in series[1:]:
        found = np.where(np.isfinite(found), found, other)
    return found


def covariates_of(days: np.ndarray, y: Days, operator: Days | None = None) -> Covariates:
    """Calendar, past values and this morning's; with the operator's forecast, that and its past errors."""
    found, hours = Covariates(), np.arange(24.0)
    weekday = (days.astype(int) + 3) % 7
    year = 2 * np.pi * (days - days.astype("datetime64[Y]")).astype(int) / 365.25
    for name, values in (("weekday", weekday), ("sine", np.sin(year)), ("cosine", np.cos(year))):
        found.add(name, values.astype(float), -np.inf)
    found.add("hour", np.tile(hours, (len(days), 1)), -np.inf)
    date = days.astype("datetime64[M]").astype(int) % 12 + 1 + 0.01 * (days - days.astype("datetime64[M]")).astype(int)
    found.add("date", date, -np.inf)
    for lag in (-1, 0, 1, 2, 7):
        found.add(f"holiday {lag} days before", holidays(days - lag), -np.inf)
    _past(found, "y", y)
    if operator is not None:
        found.add("operator", operator, OPERATOR)
        found.add("operator before", np.roll(operator, 1, axis=1), OPERATOR)
        found.add("operator after", np.roll(operator, -1, axis=1), OPERATOR)
        _past(found, "error", y - operator)
    return found


def holidays(days: np.ndarray) -> Float[np.ndarray, " days"]:
    """1 on holidays of most of the zone: fixed dates (those of Spain), Good Friday and Easter Monday, else 0."""
    fixed = {(1, 1), (1, 6), (5, 1), (8, 15), (10, 12), (11, 1), (12, 6), (12, 8), (12, 25)}
    dates = [one.item() for one in days]
    return np.array([(one.month, one.day) in fixed or (one - easter(one.year)).days in (-2, 1) for one in dates], float)


def _past(found: Covariates, name: str, values: Days) -> None:
    with np.errstate(all="ignore"):
        for lag in (2, 3, 6, 7, 8, 14, 21, 28):
            found.add(f"{name}, {lag} days before", back(values, lag), -24.0 * lag + 24.0)
        yesterday = back(values, 1)[:, :11]
        for hour in (0, 4, 8, 10):
            found.add(f"{name}, {hour}:00 of the day before", yesterday[:, hour], -24.0 + hour + 1)
        morning = _mean(yesterday)
        found.add(f"{name}, morning of the day before", morning, -13.0)
        for lag in (2, 8):
            change = morning - _mean(back(values, lag)[:, :11])
            found.add(f"{name}, change of the morning from {lag} days before", change, -13.0)
        found.add(f"{name}, mean two days before", _mean(back(values, 2)), -24.0)


def _mean(values: np.ndarray) -> np.ndarray:
    count = np.isfinite(values).sum(1)
    return np.divide(np.nansum(values, 1), count, out=np.full(len(values), np.nan), where=count > 0)


@dataclass(frozen=True)
class Forecast:
    """Laws for days of 24 hours, [days, 24] each, in the unit of y; `df` is infinite for the normal law."""

    location: Days
    scale: Days
    df: Days

    def quantile(self, level: float) -> Days:
        """The quantile at a level."""
        return self.location + self.scale * _standard_quantile(self.df, level)

    def scenarios(self, template: Float[np.ndarray, "members 24"]) -> Float[np.ndarray, "days members 24"]:
        """Joint scenarios by the Schaake shuffle: the quantiles of every hour, in the ranks of the template.

        The template holds standardized errors of past days, one a member: its ranks are the dependence of the hours.
        """
        ranks = np.argsort(np.argsort(template, axis=0), axis=0)
        levels = (ranks + 0.5) / len(template)
        z = _standard_quantile(self.df[:, None, :], levels[None])
        return self.location[:, None, :] + self.scale[:, None, :] * z


def _standard_quantile(df: np.ndarray, level: np.ndarray | float) -> np.ndarray:
    return stdtrit(np.where(np.isinf(df), 1e10, df), level)


@dataclass(frozen=True)
class Fitted:
    """Location on all days, what the head sees, and the two last years as rows: `held` for the head, then `test`."""

    y: Days
    location: Days
    inputs: Float[np.ndarray, "days 24 inputs"]
    held: slice
    test: slice
    weight: float


def fit_location(y: Days, base: Days, covariates: Covariates, trees: int, seed: int) -> Fitted:
    """Trees for y − b: the year before the last is forecast from those before, the last one from all before it.

    w is chosen on the year before the last alone. Raises `InvalidInput` for fewer than two and a half years.
    """
    count, x, target = len(y), covariates.table(), y - base
    if count < 2.5 * YEAR:
        raise InvalidInput("data", f"{count} days", f"at least {int(2.5 * YEAR) + 1} days: two years are held out")
    held, test = slice(count - 2 * YEAR, count - YEAR), slice(count - YEAR, count)
    predicted = np.zeros_like(y)
    for part in (held, test):
        known = np.isfinite(target[: part.start])
        for loss in LOSSES:
            model = HistGradientBoostingRegressor(
                loss=loss, max_iter=trees, learning_rate=0.06, max_leaf_nodes=24, min_samples_leaf=40,
                l2_regularization=1.0, early_stopping=False, random_state=seed,  # pyright: ignore[reportArgumentType]
            ).fit(x[: part.start][known], target[: part.start][known])  # fmt: skip
            predicted[part] += model.predict(x[part].reshape(-1, x.shape[-1])).reshape(-1, 24) / len(LOSSES)
    errors = [float(np.nanmean(np.abs(target[held] - w * predicted[held]))) for w in WEIGHTS]
    weight = WEIGHTS[int(np.argmin(errors))]
    return Fitted(y, base + weight * predicted, head_inputs(covariates, base), held, test, weight)


def head_inputs(covariates: Covariates, base: Days) -> Float[np.ndarray, "days 24 inputs"]:
    """What the scale may depend on: hour and season on circles, weekend, and the level of b."""
    column = dict(zip(covariates.names, covariates.values, strict=True))
    angle = 2 * np.pi * column["hour"] / 24.0
    level = (base - np.nanmean(base)) / np.nanstd(base)
    circles = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle), column["sine"], column["cosine"]]
    return np.stack([*circles, (column["weekday"] >= 5).astype(float), np.nan_to_num(level)], axis=-1)


def fit_head(
    fitted: Fitted, head: Head, *, loss: Literal["crps", "log"] = "crps", half_life: float = 7.0,
    width: int = 16, updates: int = 300, seed: int = 0,
) -> Forecast:  # fmt: skip
    """The law of every day of the two last years (held, then test), its head fitted to the first of them alone."""
    rows = slice(fitted.held.start, fitted.test.stop)
    error, x = (fitted.y - fitted.location)[rows], fitted.inputs[rows]
    unit = float(np.nanmean(np.abs(error[:YEAR])))
    drift = drift_factor(error, unit, half_life)
    known = np.isfinite(error[:YEAR])
    standard = (error / (unit * drift[:, None]))[:YEAR][known]
    with jax.numpy_dtype_promotion("standard"):  # optax divides floats by counts of steps
        params = _train(head, loss, width, updates, jnp.asarray(x[:YEAR][known], jnp.float32),
                        jnp.asarray(standard, jnp.float32), jax.random.key(seed))  # fmt: skip
    shift, scale, df = (np.asarray(one, float) for one in _law(head, params, jnp.asarray(x, jnp.float32)))
    size = unit * drift[:, None]
    return Forecast(fitted.location[rows] + size * shift, size * scale, np.broadcast_to(df, scale.shape))


def drift_factor(error: Days, unit: float, half_life: float) -> Float[np.ndarray, " days"]:
    """s of every day: the weighted mean of log(mean |error|/unit) over days up to two before, as a factor."""
    size = np.log(np.maximum(_mean(np.abs(error)), 1e-6 * unit) / unit)
    keep, level, factor = 0.5 ** (1.0 / half_life), 0.0, np.ones(len(error))
    for day in range(2, len(error)):
        if np.isfinite(size[day - 2]):
            level = keep * level + (1.0 - keep) * size[day - 2]
        factor[day] = np.exp(level)
    return factor


def _law(head: Head, params: list, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """µ, σ, ν of the head, for errors of mean size one."""
    hidden = jnp.tanh(jnp.einsum("...i,ij->...j", x, params[0][0]) + params[0][1].reshape((1,) * (x.ndim - 1) + (-1,)))
    out = jnp.einsum("...i,ij->...j", hidden, params[1][0]) + params[1][1].reshape((1,) * (x.ndim - 1) + (-1,))
    df = jnp.full_like(out[..., 2], NORMAL) if head == "normal" else 2.0 + jax.nn.softplus(out[..., 2])
    return out[..., 0], jnp.exp(out[..., 1]), df


@functools.partial(jax.jit, static_argnames=("head", "loss", "width", "updates"))
def _train(head: Head, loss: str, width: int, updates: int, x: jax.Array, y: jax.Array, key: jax.Array) -> list:
    keys = jax.random.split(key, 2)
    first = jax.random.normal(keys[0], (x.shape[-1], width), jnp.float32) / x.shape[-1] ** 0.5
    last = 0.1 * jax.random.normal(keys[1], (width, 3), jnp.float32) / width**0.5
    params = [(first, jnp.zeros(width, jnp.float32)), (last, jnp.asarray([0.0, 0.0, 3.0], jnp.float32))]
    optimizer = optax.adamw(optax.cosine_decay_schedule(0.02, updates), weight_decay=1e-3)

    def cost(params: list) -> jax.Array:
        shift, scale, df = _law(head, params, x)
        if head == "normal":
            return jnp.mean(crps_normal(y, shift, scale))
        return jnp.mean((crps_t if loss == "crps" else log_score_t)(y, shift, scale, df))

    def update(state: tuple, _: None) -> tuple:
        params, moments = state
        changes, moments = optimizer.update(jax.grad(cost)(params), moments, params)
        return (optax.apply_updates(params, changes), moments), None

    return jax.lax.scan(update, (params, optimizer.init(params)), None, updates)[0][0]
