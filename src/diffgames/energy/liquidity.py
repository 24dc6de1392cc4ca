"""Where the money in channels lies: drawn for the simulator, and what a payer knows about it.

A channel of capacity c has the balance B on one side and c − B on the other: one direction forwards at most B, the
other at most c − B. Nobody but the two ends knows B. The simulator draws it, uniform on 0, …, c, or bimodal, near
either end with an exponential tail of scale c/10. A payer believes in the uniform law whichever was drawn. From
failures and successes it learns bounds L ≤ B ≤ U of a direction, so that with a locked by its own parts already

    P(B ≥ a + x | L ≤ B ≤ U) = (U − a − x + 1) / (U − L + 1),    within [0, 1], all in msat.
"""

from typing import Literal

import numpy as np

from diffgames.energy.payment_graph import PaymentGraph

BalanceLaw = Literal["uniform", "bimodal"]
BIMODAL_SCALE = 0.1  # of the capacity


def draw_balances(graph: PaymentGraph, random: np.random.Generator, law: BalanceLaw = "uniform") -> np.ndarray:
    """msat that each direction can forward, [directions]; the two of a channel add up to its capacity."""
    capacity = 1000 * graph.capacity
    share = random.random(len(graph))
    if law == "bimodal":
        share = -BIMODAL_SCALE * np.log1p(-share * -np.expm1(-1 / BIMODAL_SCALE))
        share = np.where(random.random(len(graph)) < 0.5, share, 1 - share)
    balance = np.minimum(np.floor(share * (capacity + 1)).astype(np.int64), capacity)
    later = (graph.twin >= 0) & (graph.twin < np.arange(len(graph)))
    return np.where(later, capacity - balance[graph.twin], balance)


class LearnedBounds:
    """L, U and what is locked of every direction in msat, as one payer knows them; its own channels it knows.

    Attributes:
        lower, upper: bounds of the balance at the start. locked: in the parts that have arrived, all [directions].
    """

    def __init__(self, graph: PaymentGraph, balance: np.ndarray, payer: int):
        own = graph.source == payer
        self.lower = np.where(own, balance, 0)
        self.upper = np.where(own, balance, 1000 * graph.capacity)
        self.locked = np.zeros(len(graph), np.int64)

    def success(self, amount: int, rows: np.ndarray) -> np.ndarray:
        """P that each of the rows forwards so many msat more."""
        lower, upper = self.lower[rows], self.upper[rows]
        return np.clip((upper - self.locked[rows] - amount + 1) / (upper - lower + 1), 0.0, 1.0)

    def refused(self, row: int, amount: int) -> None:
        """A direction did not forward so many msat more."""
        self.upper[row] = min(self.upper[row], self.locked[row] + amount - 1)
        self.lower[row] = min(self.lower[row], self.upper[row])

    def forwarded(self, row: int, amount: int) -> None:
        """A direction forwarded so many msat more, whatever came of it later on the path."""
        self.lower[row] = max(self.lower[row], self.locked[row] + amount)
