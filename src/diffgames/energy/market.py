"""A day of prosumers behind one feeder: who needs, makes, stores and shifts how much energy, hour by hour.

Agent i has in hour t (of one hour each, so MW and MWh per hour are the same number)

    q_ti = load_ti + c_ti − d_ti + (appliance)_ti + e_ti − p_ti      MW drawn from the feeder,
    s_ti = s_{t−1,i} + η_c c_ti − d_ti / η_d,  0 ≤ s ≤ S             battery, MWh at the end of the hour,
    c_ti ≤ C_i u_ti,  d_ti ≤ D_i (1 − u_ti),  u_ti ∈ {0, 1}          never charging and discharging at once,
    e_ti ≤ E_ti, worth v_ti €/MWh;  p_ti ≤ solar_ti                  elastic block; solar may be curtailed,

and an appliance that runs `appliance_hours` on end, its start chosen among those allowed: z_wi ∈ {0, 1}, Σ_w z_wi = 1.
The feeder imports I_t at π_t + φ and exports X_t at π_t − φ (φ: fee of the grid), each at most F_t, and balances:

    Σ_i q_ti = I_t − X_t,        welfare W = Σ v e − Σ_t (π_t + φ) I_t + Σ_t (π_t − φ) X_t     €.
"""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput

Hourly = Float[Array | np.ndarray, "_hours _agents"]  # `check` compares lengths, and says which is wrong
Each = Float[Array | np.ndarray, " _agents"]

NIGHT = (28.0, 12.0, -14.0, -32.0, -26.0, -6.0, 35.0, 62.0, 55.0, 30.0, 8.0, -15.0)
DAY = (*NIGHT, -42.0, -58.0, -50.0, -28.0, -4.0, 25.0, 60.0, 98.0, 115.0, 92.0, 70.0, 55.0)
"""Prices in €/MWh of a windy night and a sunny day, negative in both,
in the range of European day-ahead auctions, drawn up by hand."""


class Market(eqx.Module):
    """The data of one day; `check` holds them to account. Powers in MW, energies in MWh, prices in €/MWh."""

    price: Float[Array | np.ndarray, " _hours"]
    feeder: Float[Array | np.ndarray, " _hours"]
    fee: Float[Array | np.ndarray, ""] | float
    load: Hourly
    solar: Hourly
    elastic: Hourly
    elastic_value: Hourly
    capacity: Each
    start: Each
    charge: Each
    discharge: Each
    charge_efficiency: Each
    discharge_efficiency: Each
    appliance: Each
    startable: Float[Array | np.ndarray, "_starts _agents"]
    appliance_hours: int = eqx.field(static=True, default=4)

    @property
    def hours(self) -> int:
        """T."""
        return self.load.shape[0]

    @property
    def agents(self) -> int:
        """N."""
        return self.load.shape[1]

    @property
    def running(self) -> Float[np.ndarray, "hours starts"]:
        """Whether an appliance that starts in hour w runs in hour t."""
        hour, start = np.ogrid[: self.hours, : self.startable.shape[0]]
        return ((start <= hour) & (hour < start + self.appliance_hours)).astype(float)

    @property
    def has_appliance(self) -> Each:
        """1 for agents with an appliance, else 0."""
        return (self.startable > 0).any(axis=0).astype(float)


def batteries(
    price: Any,
    *,
    capacity: Any,
    charge: Any,
    discharge: Any,
    efficiency: tuple[Any, Any],
    start: Any = 0.0,
    feeder: float = np.inf,
) -> Market:
    """Batteries alone, one for each entry of `capacity`, against prices and no fee.

    `feeder` is taken as no more than what all batteries draw at once.
    """
    price, capacity = np.asarray(price, float), np.atleast_1d(np.asarray(capacity, float))
    hours, agents = price.size, capacity.size
    none, each = np.zeros((hours, agents)), np.ones(agents)
    powers = [np.asarray(power, float) * each for power in (charge, discharge)]
    return check(
        Market(
            price=price,
            feeder=np.full(hours, min(feeder, max(power.sum() for power in powers))),
            fee=0.0,
            load=none,
            solar=none,
            elastic=none,
            elastic_value=none,
            capacity=capacity,
            start=np.asarray(start, float) * each,
            charge=powers[0],
            discharge=powers[1],
            charge_efficiency=efficiency[0] * each,
            discharge_efficiency=efficiency[1] * each,
            appliance=0.0 * each,
            startable=np.zeros((1, agents)),
            appliance_hours=hours,
        )
    )


def draw_market(
    agents: int, price: Any = DAY, *, seed: int = 0, solar_share: float = 0.6, feeder: float = 0.12, fee: float = 5.0
) -> Market:
    """Prosumers drawn at random: farms, shops and small plants of some 100 kW, hour 0 at midnight.

    `solar_share` of them have panels of 0.05–0.3 MW; half a battery of 0.1–0.6 MWh that empties in two hours; 70% an
    appliance of four hours with a window of six hours or more. `feeder` is its limit in MW per agent.
    """
    draw, price = np.random.default_rng(seed), np.asarray(price, float)
    hours = price.size
    clock = np.arange(hours)[:, None] % 24
    shape = 0.5 + 0.35 * np.exp(-(((clock - 8) / 2.5) ** 2)) + 0.6 * np.exp(-(((clock - 19) / 3.0) ** 2))
    load = draw.uniform(0.02, 0.1, agents) * shape * draw.uniform(0.85, 1.15, (hours, agents))
    sun = np.clip(np.sin(np.pi * (clock - 6) / 14), 0.0, None) ** 1.5
    panels = draw.uniform(0.05, 0.3, agents) * (draw.uniform(size=agents) < solar_share)
    solar = panels * sun * draw.uniform(0.8, 1.0, (hours, agents))
    elastic, value = draw.uniform(0.0, 0.03, (hours, agents)), draw.uniform(10.0, 160.0, (hours, agents))
    capacity = draw.uniform(0.1, 0.6, agents) * (draw.uniform(size=agents) < 0.5)
    efficiencies, start = draw.uniform(0.88, 0.97, (2, agents)), draw.uniform(0.0, 0.5, agents) * capacity
    run = min(4, hours)
    starts = np.arange(hours - run + 1)[:, None]
    earliest, length = draw.uniform(0.0, 0.6, agents) * (hours - run), draw.uniform(0.25, 0.7, agents) * (hours - run)
    has = draw.uniform(size=agents) < 0.7
    return check(
        Market(
            price=price,
            feeder=np.full(hours, feeder * agents),
            fee=float(fee),
            load=load,
            solar=solar,
            elastic=elastic,
            elastic_value=value,
            capacity=capacity,
            start=start,
            charge=0.5 * capacity,
            discharge=0.5 * capacity,
            charge_efficiency=efficiencies[0],
            discharge_efficiency=efficiencies[1],
            appliance=draw.uniform(0.02, 0.1, agents) * has,
            startable=has * ((starts >= np.floor(earliest)) & (starts <= np.ceil(earliest + length))).astype(float),
            appliance_hours=run,
        )
    )


def check(market: Market) -> Market:
    """The market itself; `InvalidInput` says which of its numbers cannot be."""
    hours, agents = np.shape(market.load)
    per_agent = ("capacity", "start", "charge", "discharge", "charge_efficiency", "discharge_efficiency", "appliance")
    shapes = dict.fromkeys(("solar", "elastic", "elastic_value"), (hours, agents)) | dict.fromkeys(per_agent, (agents,))
    shapes |= {"price": (hours,), "feeder": (hours,), "startable": (max(hours - market.appliance_hours + 1, 1), agents)}
    for name, shape in shapes.items():
        if np.shape(getattr(market, name)) != shape:
            raise InvalidInput(name, np.shape(getattr(market, name)), f"shape {shape}, as load is {hours} × {agents}")
    for name in (*shapes, "load", "fee"):
        values = np.asarray(getattr(market, name))
        if not np.isfinite(values).all():
            raise InvalidInput(name, values[~np.isfinite(values)][0], "finite numbers")
        if name not in ("price", "elastic_value") and values.min() < 0:
            raise InvalidInput(name, values.min(), "numbers ≥ 0")
    over = np.asarray(market.start) > np.asarray(market.capacity)
    if over.any():
        i = int(over.argmax())
        allowed = f"at most the battery's capacity, {market.capacity[i]} MWh (agent {i})"
        raise InvalidInput("start", float(market.start[i]), allowed)
    for name in ("charge_efficiency", "discharge_efficiency"):
        values = np.asarray(getattr(market, name))
        if values.min() <= 0 or values.max() > 1:
            raise InvalidInput(name, float(values[(values <= 0) | (values > 1)][0]), "above 0, at most 1")
    return market


def unit_warnings(price: Any) -> list[str]:
    """A word where prices look as if they were in €/kWh."""
    largest = float(np.abs(np.asarray(price)).max())
    words = f"prices of at most {largest:g} in size: €/kWh? Prices are in €/MWh, a thousand times as large"
    return [words] if 0 < largest < 2 else []
