"""Takers with a plan: functions f(observation, key) -> {word: condition}, in the words hold, buy and sell.

An execution taker has a parent order: N = |share|·T trades of its size q, bought where share > 0 and sold where it is
negative. The schedule F is the share of the order that is to be done by a time; it trades in a step by whose end it
would else be half a trade behind or more:

    time-weighted (TWAP)      F(t) = t/T
    volume-weighted (VWAP)    F(t) = ∫₀ᵗ v / ∫₀ᵀ v,  v(t) = 1 + u (2t/T − 1)²  with the day's smile u
    Almgren & Chriss 2000     F(t) = 1 − sinh(κ(T − t))/sinh(κT), urgency κ (per step)
    participation (POV)       at most `rate` of the takers' volume so far, until N are done

The market of `environment` has no daily pattern of its own: v stands for a belief. The others have no order: a momentum
taker follows the last change of the mid, an informed one the imbalance I = (V_bid − V_ask)/(V_bid + V_ask) of the best
levels, which foretells the next change as far as the exchange keeps it, a coin toss decides with given probability.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.markets.environment import OTCMarket

Taker = Callable[[dict[str, Float[Array, ""]], Any], dict[str, Array]]
Schedule = Callable[[Float[Array, ""]], Float[Array, ""]]


def twap(market: OTCMarket, share: float = 0.5) -> Taker:
    """Time-weighted average price."""
    return _scheduled(market, share, lambda u: u)


def vwap(market: OTCMarket, share: float = 0.5, smile: float = 4.0) -> Taker:
    """Volume-weighted average price, for a volume that smiles over the day."""
    _within("smile", smile, 0.0, 1e6)
    total = 1.0 + smile / 3.0
    return _scheduled(market, share, lambda u: (u + smile * ((2.0 * u - 1.0) ** 3 + 1.0) / 6.0) / total)


def almgren_chriss(market: OTCMarket, share: float = 0.5, urgency: float = 0.03) -> Taker:
    """Almgren and Chriss's optimal trajectory: early where `urgency`, κ per step, is large."""
    _within("urgency", urgency, 1e-9, 1.0)
    kappa = urgency * market.steps
    scale = -jnp.expm1(-2.0 * kappa)
    return _scheduled(market, share, lambda u: 1.0 - jnp.exp(-kappa * u) * -jnp.expm1(-2.0 * kappa * (1.0 - u)) / scale)


def pov(market: OTCMarket, share: float = 0.5, rate: float = 0.1) -> Taker:
    """A percentage of volume; it waits for the others to trade first."""
    _within("rate", rate, 0.0, 1.0)
    word, trades = _order(market, share)

    def act(observation, key):
        done = jnp.abs(observation["inventory"])
        room = done + observation["quantity"] <= rate * (observation["market_volume"] + observation["quantity"])
        return {word: room & (done < (trades - 0.5) * observation["quantity"])}

    return act


def momentum(market: OTCMarket, threshold: float = 0.0) -> Taker:
    """Buys after the mid rose by more than `threshold` ticks, sells after it fell by more."""
    _within("threshold", threshold, 0.0, 1e9)

    def act(observation, key):
        change = observation["price_change"]
        return {"buy": change > threshold, "sell": change < -threshold}

    return act


def informed(market: OTCMarket, threshold: float = 0.5) -> Taker:
    """Buys where the best levels' imbalance exceeds `threshold`, sells where it lies below minus that."""
    _within("threshold", threshold, 0.0, 1.0)

    def act(observation, key):
        imbalance = observation["imbalance"]
        return {"buy": imbalance > threshold, "sell": imbalance < -threshold}

    return act


def coin_toss(market: OTCMarket, probability: float = 1.0) -> Taker:
    """Trades with `probability` in a step, on either side alike."""
    _within("probability", probability, 0.0, 1.0)

    def act(observation, key):
        u = jax.random.uniform(key, (), jnp.float32)
        return {"buy": u < probability / 2.0, "sell": u >= 1.0 - probability / 2.0}

    return act


def _order(market: OTCMarket, share: float) -> tuple[str, int]:
    _within("share", share, -1.0, 1.0)
    return "buy" if share > 0 else "sell", round(abs(share) * market.steps)


def _scheduled(market: OTCMarket, share: float, schedule: Schedule) -> Taker:
    word, trades = _order(market, share)

    def act(observation, key):
        wanted = trades * schedule((observation["time"] + 1.0) / market.steps)
        done = jnp.abs(observation["inventory"]) / observation["quantity"]
        return {word: wanted - done >= 0.5 - 1e-4}

    return act


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidInput(name, value, f"a number from {low:g} to {high:g}")
