"""Quoters from the literature as providers: functions f(observation, key) -> (spread, skew, hedge), ticks and lots.

With mid S of volatility σ (ticks per √step), inventory q (lots), risk aversion γ (per tick and lot), τ steps left, and
orders that reach an offset δ at the rate A e^{−kδ} on each side, the offsets of ask and bid from the mid are

    Avellaneda & Stoikov 2008   δᵃ + δᵇ = γσ²τ + (2/γ) ln(1 + γ/k),    (δᵃ − δᵇ)/2 = −γσ²τ q
    Guéant, Lehalle & Fernandez-Tapia 2013, τ → ∞, with c = √(σ²γ/(2kA) (1 + γ/k)^{1 + k/γ})
                                δᵃ + δᵇ = (2/γ) ln(1 + γ/k) + c,       (δᵃ − δᵇ)/2 = −c q
    Cartea, Jaimungal & Penalva 2015, §10.3: running penalty φq², α q² at the end, e^{kh(t)} = ω(t) = e^{Mτ} e^{−kαq²},
                                δᵃ = 1/k + h(q) − h(q − 1),    δᵇ = 1/k + h(q) − h(q + 1),
        M_qq = −kφq²,  M_{q,q±1} = A/e.

Inventory counts in trades of the takers' mean size z: γ, φ and α are per trade. Nothing is hedged. Unless given, k =
4/s with the exchange's median spread s, so that a quoter indifferent to risk asks for half of it; A is an equal share
of the takers' trades, half of them on each side; γ shifts the quotes by a spread when a whole inventory scale is held
for the whole episode.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import expm

from diffgames.errors import InvalidInput
from diffgames.markets.environment import OTCMarket

Quoter = Callable[[dict[str, Float[Array, ""]], Any], tuple[Array | float, Array | float, float]]
LARGEST = 40  # trades that a quoter from a table is long or short at most


def habits(market: OTCMarket, risk_aversion: float | None, k: float | None, rate: float | None) -> tuple[float, ...]:
    """γ (per tick and trade), k (per tick), A (trades per step and side), σ (ticks per √step), z (lots)."""
    for name, value in (("risk_aversion", risk_aversion), ("k", k), ("rate", rate)):
        if value is not None and not value > 0:
            raise InvalidInput(name, value, "a number > 0")
    size = float(np.mean(np.asarray(market.takers.quantity.mean)[list(market.taker_supertype)]))
    sigma = float(market.price_scale) / market.steps**0.5
    spread, held = float(market.spread_scale), float(market.inventory_scale) / size
    gamma = risk_aversion or spread / (float(market.price_scale) ** 2 * held)
    return (
        gamma,
        k or 4.0 / spread,
        rate or 0.5 * len(market.taker_supertype) / len(market.provider_supertype),
        sigma,
        size,
    )


def avellaneda_stoikov(market: OTCMarket, risk_aversion: float | None = None, k: float | None = None) -> Quoter:
    """Avellaneda and Stoikov's quotes, by their approximation for small inventories."""
    gamma, k, _, sigma, size = habits(market, risk_aversion, k, None)

    def quote(observation, key):
        risk = gamma * sigma**2 * observation["steps_left"]
        return risk + 2.0 / gamma * math.log1p(gamma / k), -risk * observation["inventory"] / size, 0.0

    return quote


def gueant(
    market: OTCMarket, risk_aversion: float | None = None, k: float | None = None, rate: float | None = None
) -> Quoter:
    """Guéant, Lehalle and Fernandez-Tapia's quotes far from the end."""
    gamma, k, rate, sigma, size = habits(market, risk_aversion, k, rate)
    log_growth = (1.0 + k / gamma) * math.log1p(gamma / k)
    lean = sigma * math.sqrt(gamma / (2.0 * k * rate) * math.exp(log_growth))

    def quote(observation, key):
        return 2.0 / gamma * math.log1p(gamma / k) + lean, -lean * observation["inventory"] / size, 0.0

    return quote


def cartea_jaimungal(
    market: OTCMarket,
    penalty: float | None = None,
    terminal_penalty: float = 0.0,
    k: float | None = None,
    rate: float | None = None,
) -> Quoter:
    """Cartea and Jaimungal's quotes under a running inventory penalty φ; unless given, φ = ½γσ²."""
    gamma, k, rate, sigma, size = habits(market, None, k, rate)
    phi = 0.5 * gamma * sigma**2 if penalty is None else penalty
    held = np.arange(-LARGEST, LARGEST + 1.0)
    matrix = np.diag(-k * phi * held**2) + rate / np.e * (np.eye(len(held), k=1) + np.eye(len(held), k=-1))
    step, omega, heights = expm(matrix), np.exp(-k * terminal_penalty * held**2), []
    shift = 0.0
    for _ in range(market.steps + 1):
        heights.append(np.log(omega) + shift)
        omega = step @ omega
        shift += np.log(omega.max())
        omega /= omega.max()
    h = np.asarray(heights)[::-1] / k  # [time, inventory]
    rise = np.diff(h, axis=1)
    return from_table(1.0 / k + rise[:, :-1], 1.0 / k - rise[:, 1:], size)


def from_table(ask: Float[np.ndarray, "times held"], bid: Float[np.ndarray, "times held"], size: float) -> Quoter:
    """The quoter of offsets by time 0, 1, … and by inventory in trades of `size` lots, evenly around 0; ends held."""
    reach = ask.shape[1] // 2
    spread, skew = jnp.asarray(ask + bid, jnp.float32), jnp.asarray((ask - bid) / 2.0, jnp.float32)
    places = jnp.arange(-reach, reach + 1.0, dtype=jnp.float32)

    def quote(observation, key):
        row = observation["time"].astype(jnp.int32)
        trades = observation["inventory"] / size
        return jnp.interp(trades, places, spread[row]), jnp.interp(trades, places, skew[row]), 0.0

    return quote
