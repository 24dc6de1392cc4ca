"""Cells of like states of a recorded book, within which the exchange agent with memory draws its transitions.

The state before transition n is described by the logarithms of the 2m volumes, their moving average over `SLOW`
seconds, the imbalance ln V_bid − ln V_ask at the best, the last mid change, and the moving average of |mid changes|
over `PACE` seconds. Spreads of one parity that are frequent enough are classes of their own, the others are joined with
their nearest: the mid lies on half-ticks of the spread's parity, so that transitions of unlike parity cannot stand for
one another. Each class is split by a regression tree (scikit-learn) whose leaves predict best what comes next: spread,
mid change, pace, volumes and their slow averages, all standardised. A leaf has at least `least` transitions, and those
of a leaf are exchangeable for the agent.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.tree import DecisionTreeRegressor

from diffgames.markets.ecn_samples import Transitions

SLOW, PACE = 60.0, 20.0  # seconds
WEIGHTS = {"mid": 3.0, "pace": 0.3, "level": 0.5, "best": 1.5, "slow": 3.0}
"""What a leaf is to predict, against the spread's weight 1: all levels together weigh as much as one `level`.

Little of a change of the mid can be foreseen, from the imbalance at the best above all. A small weight loses it.
"""


@dataclass(frozen=True)
class States:
    """The state before each transition, and what comes next, as the tree sees them."""

    spread: Float[np.ndarray, " transitions"]
    seen: Float[np.ndarray, "transitions features"]
    next: Float[np.ndarray, "transitions targets"]

    def part(self, rows: slice) -> "States":
        """Some of the states."""
        return States(self.spread[rows], self.seen[rows], self.next[rows])

    def joined(self, other: "States") -> "States":
        """These states, then the others."""
        return States(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))


def states_of(samples: Transitions, step: float) -> States:
    """Descriptions of consecutive transitions, `step` seconds each."""
    levels = samples.before.shape[1] // 2
    size = np.abs(samples.mid_change)
    pace = moving_average(size, PACE / step)
    before, after = np.log(samples.before), np.log(samples.after)
    slow, slow_after = moving_average(before, SLOW / step), moving_average(after, SLOW / step)
    weight = np.full(2 * levels, WEIGHTS["level"])
    weight[[0, levels]] = WEIGHTS["best"]
    weight = weight / np.sqrt(2 * levels)
    seen = [
        samples.spread_before,
        before,
        slow,
        before[:, 0] - before[:, levels],
        _previous(samples.mid_change, 0.0),
        _previous(pace, pace[0]),
    ]
    comes = [
        _standard(samples.spread),
        WEIGHTS["mid"] * _standard(samples.mid_change),
        WEIGHTS["pace"] * _standard(np.log(pace + 0.1)),
        weight * _standard(after),
        WEIGHTS["slow"] * weight * _standard(slow_after),
    ]
    return States(samples.spread_before, np.column_stack(seen), np.column_stack(comes))


def moving_average(values: np.ndarray, time: float) -> np.ndarray:
    """Exponential moving average along the first axis, `time` steps long, started at the mean of the first of them."""
    kept, state = np.exp(-1.0 / time), values[: int(3 * time) + 1].mean(axis=0)
    averages = np.empty_like(values, dtype=float)
    for n, value in enumerate(values):
        state = kept * state + (1 - kept) * value
        averages[n] = state
    return averages


@dataclass(frozen=True)
class Cells:
    """A tree for every class of spreads; classes are numbered by their parity and their place among those of it."""

    bounds: tuple[Float[np.ndarray, " _"], ...]  # even, odd: a class holds spreads above a bound, up to the next
    trees: dict[tuple[int, int], DecisionTreeRegressor]

    def of(self, states: States) -> Int[np.ndarray, " transitions"]:
        """The number of each state's cell."""
        cell, start = np.full(len(states.spread), -1), 0
        classes = _classes(states.spread, self.bounds, {parity for parity, _ in self.trees})
        for one, tree in self.trees.items():
            rows = np.flatnonzero((classes == one).all(axis=1))
            if len(rows):
                cell[rows] = start + tree.apply(states.seen[rows])
            start += tree.tree_.node_count
        return cell


def fit_cells(states: States, least: int, seed: int) -> Cells:
    """Cells of at least `least` transitions each, where a parity of the spread has as many."""
    bounds = tuple(_bounds(states.spread[states.spread % 2 == parity], least) for parity in (0, 1))
    parities = {parity for parity in (0, 1) if (states.spread % 2 == parity).sum() >= least}
    classes = _classes(states.spread, bounds, parities)
    trees = {}
    for parity, number in np.unique(classes, axis=0):
        rows = (classes == (parity, number)).all(axis=1)
        tree = DecisionTreeRegressor(min_samples_leaf=least, random_state=seed)
        trees[int(parity), int(number)] = tree.fit(states.seen[rows], states.next[rows])
    return Cells(bounds, trees)


def _bounds(spread: np.ndarray, fewest: int) -> np.ndarray:
    """The widest spread of every class but the last, which takes all wider ones; classes have `fewest` transitions."""
    bounds, held = [], 0
    for width, count in zip(*np.unique(spread, return_counts=True), strict=True):
        held += count
        if held >= fewest:
            bounds, held = [*bounds, float(width)], 0
    return np.asarray(bounds[:-1], float)


def _classes(spread: np.ndarray, bounds: tuple[np.ndarray, ...], parities: set[int]) -> np.ndarray:
    """Parity and place of each spread's class; a parity too rare to have classes lends those of the other."""
    parity = (spread % 2).astype(int)
    parity = np.where(np.isin(parity, list(parities)), parity, 1 - parity)
    place = [np.searchsorted(one, spread, side="left") for one in bounds]
    return np.stack([parity, np.where(parity == 0, *place)], axis=1)


def _previous(values: np.ndarray, start: float) -> np.ndarray:
    return np.concatenate([[start], values[:-1]])


def _standard(values: np.ndarray) -> np.ndarray:
    scale = values.std(axis=0)
    columns = (values - values.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    return columns if columns.ndim == 2 else columns[:, None]
