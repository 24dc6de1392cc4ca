"""A crowd of prosumers from the hourly record of a zone: everything per MW of the zone's mean load.

An agent is one MW of mean load. Of the zone's load profile l_t industry has a flat part and the others, alike, what is
left, (l_t − λ_I)/(1 − λ_I), so that the types' loads add up to the zone's. Solar agents have `pv` MW of panels that
follow the zone's sun, its solar power over the record's largest. Wind is others', and so is what supplies the rest:

    p_t = α + β R_t,   R_t = Q_t − wind_t,   α, β by least squares on the record's price and load − solar − wind.

Within a type loads differ by log-normal factors of mean one, and batteries by what they hold at midnight, uniformly.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from diffgames.energy.forecast import by_day
from diffgames.energy.hours import Hours
from diffgames.energy.market import unit_warnings
from diffgames.energy.prosumers import Prosumers
from diffgames.errors import InvalidInput

TYPES = ("consumers", "pv", "pv_storage", "industry")
Day = Float[np.ndarray, " 24"]


@dataclass(frozen=True)
class DayProfile:
    """A local day of a zone: load and wind per MW of mean load, sun as a share of the largest, the price if known."""

    day: str
    mean_load: float
    load: Day
    sun: Day
    wind: Day
    price: Day | None


@dataclass(frozen=True)
class Supply:
    """p = α + β R in €/MWh, R per MW of mean load; the share of the price's variance that it explains, if fitted."""

    intercept: float
    slope: float
    r2: float | None = None


def day_of(record: Hours, day: str | None = None) -> DayProfile:
    """A day (2023-06-14) of a record with load, solar and wind; by default that with most sun.

    Raises `InvalidInput` for a day that the record lacks, or has gaps in.
    """
    days, load = by_day(record, "load", "data")
    solar, wind = (by_day(record, name, "data")[1] for name in ("solar", "wind"))
    mean, most = float(np.nanmean(load)), float(np.nanmax(solar))
    if most <= 0:
        raise InvalidInput("data", "no solar power", "a record in which the sun shines")
    whole = np.asarray(np.isfinite(load + solar + wind).all(axis=1))
    if not whole.any():
        raise InvalidInput("data", "no whole day", "a day with load, solar and wind in every hour")
    row = int(np.where(whole, solar.sum(axis=1), -np.inf).argmax()) if day is None else _row(days, whole, day)
    price = by_day(record, "price")[1][row] if "price" in record.series else None
    return DayProfile(str(days[row]), mean, load[row] / mean, solar[row] / most, wind[row] / mean, price)


def _row(days: np.ndarray, whole: np.ndarray, day: str) -> int:
    try:
        row = int((np.datetime64(date.fromisoformat(day)) - days[0]).astype(int))
    except ValueError:
        raise InvalidInput("day", day, "a date like 2023-06-14") from None
    if not (0 <= row < len(days) and whole[row]):
        raise InvalidInput("day", day, f"a day without gaps from {days[whole][0]} to {days[whole][-1]}")
    return row


def fit_supply(record: Hours) -> Supply:
    """α and β of the record; `InvalidInput` for prices in €/kWh, or where the price does not rise with R."""
    price, load = record.column("price", "supply"), record.column("load", "data")
    left = (load - record.column("solar", "data") - record.column("wind", "data")) / np.nanmean(load)
    known = np.isfinite(price + left)
    if known.sum() < 48:
        raise InvalidInput("supply", f"{int(known.sum())} hours with a price", "48 at least, or α and β")
    if unit_warnings(price[known]):
        raise InvalidInput("price", float(np.abs(price[known]).max()), "prices in €/MWh; these look like €/kWh")
    slope, intercept = np.polyfit(left[known], price[known], 1)
    if slope <= 0:
        raise InvalidInput("supply", float(slope), "a price that rises with load − solar − wind; or give α and β")
    return Supply(float(intercept), float(slope), float(np.corrcoef(left[known], price[known])[0, 1] ** 2))


def crowd_of_day(
    profile: DayProfile,
    supply: Supply,
    share: tuple[float, ...],
    *,
    pv: float,
    capacity: float,
    power: float,
    start: tuple[float, float],
    flexible: float,
    efficiency: float,
    wear: float,
    moving: float,
    members: int,
    spread: float,
    seed: int = 0,
) -> Prosumers:
    """The crowd of a day, `members` agents of each of `TYPES`, in MW and MWh per MW of mean load.

    Raises `InvalidInput` for shares, a start or an industry that cannot be.
    """
    if len(share) != len(TYPES):
        raise InvalidInput("share", list(share), f"{len(TYPES)} shares: of {', '.join(TYPES)}")
    if not 0 <= start[0] <= start[1] <= capacity:
        raise InvalidInput("start", list(start), f"rising MWh from 0 to the battery's capacity, {capacity}")
    households = (profile.load - share[3]) / (1.0 - share[3]) if share[3] < 1 else -np.ones(24)
    if households.min() < 0:
        allowed = f"less industry: with {share[3]:g} of the load flat, others would have a negative load at night"
        raise InvalidInput("share", list(share), allowed)
    kind = np.repeat(np.arange(len(TYPES)), members)
    level = (np.arange(members) + 0.5) / members
    size = np.exp(spread * ndtri(level))
    random = np.random.default_rng(seed)
    sizes = np.concatenate([random.permutation(size / size.mean()) for _ in TYPES])
    has = (kind == 2).astype(float)
    return Prosumers(
        share=np.asarray(share, float),
        kind=kind,
        load=np.where(kind == 3, 1.0, households[:, None]) * sizes,
        solar=pv * profile.sun[:, None] * ((kind == 1) | (kind == 2)),
        flexible=flexible * (kind == 3),
        capacity=capacity * has,
        start=(start[0] + np.tile(level, len(TYPES)) * (start[1] - start[0])) * has,
        power=power * has,
        intercept=supply.intercept - supply.slope * profile.wind,
        slope=supply.slope,
        efficiency=efficiency,
        wear=wear,
        moving=moving,
    )
