"""From level-2 snapshots to the samples that the exchange agent is fitted to (Vadori et al., equation 7).

A sample of S_{n+1} = (x_1, …, x_2m, spread, mid change) comes from two paired snapshots:

    x_i = (V_{i,n+1} − V_{i,n}) / v_i     where the level rose, in units of its mean volume v_i;
    x_i = (V_{i,n+1} − V_{i,n}) / V_{i,n} where it fell, a fraction in [−1, 0);

the spread is in ticks, the mid change in half-ticks. Mirroring exchanges bid and ask: volumes change sides, the mid
change its sign, the spread stays. Snapshots next to a row that was left out, or further apart in time than the others,
make no sample together.

Whole lots, ticks and half-ticks are a lattice. *Dequantising* adds uniform noise of one cell to every coordinate (one
lot; one tick of spread; two half-ticks of mid change, for a mid lies on every second one once the spread is known),
after which a density is bounded, and its expected logarithm bounds the log-probability of the lattice point from below.
"""

from dataclasses import dataclass

import numpy as np

from diffgames.errors import InvalidInput
from diffgames.markets.level2 import Level2

PARTS = ("train", "validation", "test")
SPLIT = (0.70, 0.85)


@dataclass(frozen=True)
class Transitions:
    """Consecutive snapshots: volumes (bid levels, then ask levels; lots), spreads (ticks), mid change (half-ticks)."""

    before: np.ndarray
    after: np.ndarray
    spread_before: np.ndarray
    spread: np.ndarray
    mid_change: np.ndarray

    def __len__(self) -> int:
        return len(self.mid_change)

    @property
    def cuts(self) -> list[int]:
        """Where the validation and the test part begin."""
        return [int(share * len(self)) for share in SPLIT]

    def parts(self) -> "dict[str, Transitions]":
        """Training, validation and test part: 70%, 15% and 15% in the order of time."""
        columns = zip(*(np.split(column, self.cuts) for column in vars(self).values()), strict=True)
        return {name: Transitions(*column) for name, column in zip(PARTS, columns, strict=True)}

    def mirrored(self) -> "Transitions":
        """The same transitions with bid and ask exchanged."""
        return Transitions(swapped(self.before), swapped(self.after), self.spread_before, self.spread, -self.mid_change)

    def joined(self, other: "Transitions") -> "Transitions":
        """These transitions, then the others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Transitions(*(np.concatenate(pair) for pair in pairs))

    def coordinates(self, unit: np.ndarray) -> np.ndarray:
        """Samples of S_{n+1}, [samples, 2m + 2]."""
        change = self.after - self.before
        scaled = change / lots_per_unit(change, self.before, unit)
        return np.concatenate([scaled, self.spread[:, None], self.mid_change[:, None]], axis=1)

    def dequantised(self, unit: np.ndarray, noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Samples with noise over their lattice cells, and the logarithms of the cells' sides, [samples, 2m + 2]."""
        change = self.after - self.before + noise.uniform(-0.5, 0.5, self.before.shape)
        spread = self.spread + noise.uniform(-0.5, 0.5, self.spread.shape)
        mid_change = self.mid_change + noise.uniform(-1.0, 1.0, self.mid_change.shape)
        lots = lots_per_unit(change, self.before, unit)
        samples = np.concatenate([change / lots, spread[:, None], mid_change[:, None]], axis=1)
        ticks = np.log([1.0, 2.0]) + np.zeros((len(samples), 2))
        return samples, np.concatenate([-np.log(lots), ticks], axis=1)

    def outcome(self) -> np.ndarray:
        """What energy scores compare: volume changes, spread and mid change, [samples, 2m + 2]."""
        return np.column_stack([self.after - self.before, self.spread, self.mid_change])

    def scale(self) -> np.ndarray:
        """The standard deviations of `outcome`, 1 where it is constant."""
        deviation = self.outcome().std(axis=0)
        return np.where(deviation > 0, deviation, 1.0)

    def drift(self) -> tuple[float, float]:
        """Mean mid change, ticks per step, and its t-statistic."""
        mean, deviation = self.mid_change.mean() / 2, max(self.mid_change.std() / 2, 1e-12)
        return float(mean), float(mean / deviation * np.sqrt(len(self)))

    def snapshot_coordinates(self) -> np.ndarray:
        """Samples of S_0 = (ln V_1, …, ln V_2m, spread), [samples, 2m + 1]."""
        return np.concatenate([np.log(self.before), self.spread_before[:, None]], axis=1)


def lots_per_unit(change: np.ndarray, before: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """What one unit of x means in lots: v_i for a rise, the volume itself for a fall."""
    return np.where(change < 0, before, np.broadcast_to(unit, before.shape))


def swapped(volumes: np.ndarray) -> np.ndarray:
    """Bid and ask levels exchanged along the last axis."""
    return np.roll(volumes, volumes.shape[-1] // 2, axis=-1)


def transitions(data: Level2, levels: int) -> Transitions:
    """Every pair of consecutive snapshots with `levels` occupied levels on both sides."""
    volume, pair = level_volumes(data, levels), paired(data, levels)
    return Transitions(
        before=volume[:-1][pair],
        after=volume[1:][pair],
        spread_before=data.spread[:-1][pair].astype(float),
        spread=data.spread[1:][pair].astype(float),
        mid_change=np.diff(data.double_mid)[pair].astype(float),
    )


def sampled(snapshots: Level2, levels: int, step: float, least: int = 0) -> tuple[Level2, Transitions]:
    """The record every `step` seconds and its transitions; `InvalidInput` where they are fewer than a fit takes."""
    if step <= 0:
        raise InvalidInput("step", step, "a number of seconds > 0")
    data = snapshots.every(step)
    samples = transitions(data, levels)
    if len(samples) < (fewest := max(40 * (2 * levels + 2), least)):
        found = f"{len(samples)} transitions in {data.source}"
        raise InvalidInput("data", found, f"at least {fewest} for {levels} levels, with volume at all of them")
    return data, samples


def paired(data: Level2, levels: int) -> np.ndarray:
    """Whether each snapshot and the next make a transition."""
    follows = np.diff(data.row) == 1
    if data.seconds is not None:
        gap = np.diff(data.seconds)
        follows &= np.abs(gap - np.median(gap)) < 0.5 * np.median(gap)  # next to one another on the clock
    filled = np.all(level_volumes(data, levels) > 0, axis=1)
    return follows & filled[:-1] & filled[1:]


def level_volumes(data: Level2, levels: int) -> np.ndarray:
    """Lots at the best `levels` levels, bid then ask, [rows, 2m]; raises `InvalidInput` when there are fewer."""
    if not 1 <= levels <= data.levels:
        raise InvalidInput(
            "levels", levels, f"an integer from 1 to {data.levels}, the levels recorded in {data.source}"
        )
    return np.concatenate([data.bid_size[:, :levels], data.ask_size[:, :levels]], axis=1).astype(float)


def order_sizes(data: Level2, points: int) -> np.ndarray:
    """Quantiles of what single orders look like, in lots: non-zero volume changes at one price from row to row.

    Rows are the smallest interval that the data offer; a price is followed while it stays among the recorded levels.
    """
    follows = np.flatnonzero(np.diff(data.row) == 1)
    changes = []
    for price, size in ((data.bid_price, data.bid_size), (data.ask_price, data.ask_size)):
        same = np.equal(price[follows][:, :, None], price[follows + 1][:, None, :])
        step = size[follows + 1][:, None, :] - size[follows][:, :, None]
        changes.append(np.abs(step[same]))
    sizes = np.concatenate(changes)
    sizes = sizes[sizes > 0]
    if not len(sizes):
        raise InvalidInput("data", data.source, "volumes that change from row to row")
    return np.maximum(np.round(np.quantile(sizes, (np.arange(points) + 0.5) / points)), 1.0)
