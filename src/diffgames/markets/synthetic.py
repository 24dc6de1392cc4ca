"""Synthetic level-2 data with known parameters, for demonstrations and for testing the fit.

A large-tick market: levels one tick apart, the spread one tick most of the time, and at each of the levels the hybrid
dynamics (8) of Vadori et al. with

    δ = −B  with probability `fall`,  B ~ Beta(1, b), E B = `fall_fraction`;
    δ = G   with probability `rise`,  G ~ Geometric on {1, 2, …}, E G = `rise_size`;
    δ = 0   otherwise,

independent over levels and time, so that μ⁻ = fall·fall_fraction, μ⁺ = rise·rise_size and the long-run mean volume is
μ^∞ = μ⁺/μ⁻ (Proposition 2.3), up to the rounding of volumes to whole lots.
"""

from dataclasses import dataclass

import numpy as np

from diffgames.markets.level2 import Level2


@dataclass(frozen=True)
class SyntheticMarket:
    """The stated parameters; probabilities per second, sizes in lots, tick in dollars × 10,000."""

    fall: float = 0.35
    fall_fraction: float = 0.25
    rise: float = 0.40
    rise_size: float = 8.0
    spread_probability: tuple[float, ...] = (0.94, 0.05, 0.01)  # one, two, three ticks
    move_probability: float = 0.10  # that the mid is asked to move by one tick, up or down
    tick: float = 2500.0
    initial_price: float = 48_000_000.0
    levels: int = 10

    @property
    def mean_volume(self) -> float:
        """μ^∞ = μ⁺/μ⁻, lots."""
        return self.rise * self.rise_size / (self.fall * self.fall_fraction)


def synthetic_level2(seconds: int = 3600, seed: int = 0, market: SyntheticMarket | None = None) -> Level2:
    """`seconds` snapshots of the market, reproducible from `seed`."""
    market = SyntheticMarket() if market is None else market
    rng = np.random.default_rng(seed)
    shape = (seconds, 2, market.levels)
    kind = rng.random(shape)
    fraction = rng.beta(1.0, 1.0 / market.fall_fraction - 1.0, shape)
    size = rng.geometric(1.0 / market.rise_size, shape)
    fell, rose = kind < market.fall, kind > 1.0 - market.rise
    volume = np.empty(shape)
    held = np.full(shape[1:], market.mean_volume)
    for n in range(-200, seconds):  # two hundred unrecorded steps forget the start
        step = n % seconds
        held = np.maximum(np.round(held - fell[step] * fraction[step] * held + rose[step] * size[step]), 1.0)
        volume[max(n, 0)] = held
    spread = 1 + rng.choice(len(market.spread_probability), size=seconds, p=market.spread_probability)
    move = rng.choice([-2, 0, 2], size=seconds, p=_thirds(market.move_probability))
    twice_mid = np.empty(seconds, int)
    current = 1
    for n in range(seconds):
        # The new mid, in half ticks, takes the spread's parity: a half-tick step either way with equal chance.
        asked = current + move[n]
        current = asked + (0 if (asked - spread[n]) % 2 == 0 else rng.choice([-1, 1]))
        twice_mid[n] = current
    bid = market.initial_price + market.tick * (twice_mid - spread) / 2
    ask = bid + market.tick * spread
    depth = market.tick * np.arange(market.levels)
    return Level2(
        second=np.arange(seconds, dtype=float),
        ask_price=ask[:, None] + depth,
        ask_size=volume[:, 1],
        bid_price=bid[:, None] - depth,
        bid_size=volume[:, 0],
        segment=np.zeros(seconds),
        tick=market.tick,
    )


def _thirds(move: float) -> tuple[float, float, float]:
    return (move / 2, 1 - move, move / 2)
