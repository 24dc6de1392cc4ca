"""Synthetic level-2 data with stated parameters, for demonstrations and tests where no recorded data lie.

A large-tick market like an index future's: adjacent levels, a spread of one tick most of the time, a mid that rarely
moves. Every level follows the hybrid dynamics (8) of Vadori et al. with whole lots: in one second a level

    rises with probability p⁺ by a geometric number of lots, of mean a_i,
    falls with probability p⁻ by a fraction β ~ Beta(a, b) of its volume,

and otherwise stays. So μ⁺_i = p⁺ a_i, μ⁻ = p⁻ E[β], and the long-run mean volume is μ⁺_i/μ⁻.
"""

from dataclasses import dataclass

import numpy as np

from diffgames.markets.level2 import Level2


@dataclass(frozen=True)
class SyntheticParameters:
    """What the generator is asked for; the moments of δ± it implies are properties.

    Attributes:
        mean_volume: long-run mean lots per level, best first (same on both sides).
        rise_probability, fall_probability: p⁺ and p⁻ per second.
        fall_shape: (a, b) of the Beta law of a falling fraction.
        spread_probability: probabilities of a spread of 1, 2, … ticks.
        move_probability: probability that the mid moves by a tick when the spread stays.
        tick: tick size in integer prices. price: initial best bid, in ticks.
    """

    mean_volume: tuple[float, ...] = (30.0, 45.0, 55.0, 60.0, 60.0, 58.0, 56.0, 54.0, 52.0, 50.0)
    rise_probability: float = 0.25
    fall_probability: float = 0.25
    fall_shape: tuple[float, float] = (1.0, 4.0)
    spread_probability: tuple[float, ...] = (0.94, 0.055, 0.005)
    move_probability: float = 0.06
    tick: int = 2500
    price: int = 19_000

    @property
    def mu_minus(self) -> float:
        """μ⁻, mean fraction removed per second."""
        a, b = self.fall_shape
        return self.fall_probability * a / (a + b)

    @property
    def sigma_minus(self) -> float:
        """σ⁻, standard deviation of the fraction removed per second."""
        a, b = self.fall_shape
        second = self.fall_probability * a * (a + 1) / ((a + b) * (a + b + 1))
        return float(np.sqrt(second - self.mu_minus**2))

    @property
    def mu_plus(self) -> np.ndarray:
        """μ⁺ per level, mean lots added per second."""
        return self.mu_minus * np.asarray(self.mean_volume)

    @property
    def sigma_plus(self) -> np.ndarray:
        """σ⁺ per level, standard deviation of the lots added per second."""
        mean = self.mu_plus / self.rise_probability  # of a rise, 1 + Geometric
        second = self.rise_probability * (2 * mean**2 - mean)
        return np.sqrt(second - self.mu_plus**2)


def synthetic_level2(seconds: int = 3600, seed: int = 0, parameters: SyntheticParameters | None = None) -> Level2:
    """`seconds` snapshots, one second apart."""
    p = parameters or SyntheticParameters()
    rng = np.random.default_rng(seed)
    levels = len(p.mean_volume)
    mean_rise = p.mu_plus / p.rise_probability
    event = rng.random((seconds, 2, levels))
    rise = rng.geometric(np.broadcast_to(1.0 / mean_rise, event.shape)) * (event < p.rise_probability)
    falls = event > 1.0 - p.fall_probability
    fall = rng.beta(*p.fall_shape, size=event.shape) * falls
    dither = rng.random(event.shape)
    volume = np.empty(event.shape, np.int64)
    current = np.broadcast_to(np.round(p.mean_volume), (2, levels)).astype(np.int64)
    for n in range(seconds):
        removed = np.floor(fall[n] * current + dither[n]).astype(np.int64)
        current = np.maximum(current - removed, 1) + rise[n]
        volume[n] = current
    spread = 1 + rng.choice(len(p.spread_probability), size=seconds, p=p.spread_probability)
    step = np.diff(spread, prepend=spread[:1])
    side = rng.integers(0, 2, seconds)  # a change of the spread happens on one side
    bid_move = np.where(side == 0, -step, 0)
    moves = rng.random(seconds) < p.move_probability
    bid_move = bid_move + moves * rng.choice([-1, 1], size=seconds) * (step == 0)
    bid = p.price + np.cumsum(bid_move)
    depth = np.arange(levels)
    return Level2(
        row=np.arange(seconds),
        seconds=np.arange(seconds, dtype=float),
        ask_price=(bid + spread)[:, None] * p.tick + depth * p.tick,
        ask_size=volume[:, 1],
        bid_price=bid[:, None] * p.tick - depth * p.tick,
        bid_size=volume[:, 0],
        tick=p.tick,
        source=f"synthetic, seed {seed}",
    )
