"""A payment under unknown balances: tries, what they teach, parts, fees and time.

A payer sends a part along the path of least Σ (w_ij − δ ln P_ij): (7.1) for the part's size and, by δ ("caution"), the
probability that the direction forwards it, by what was learned so far (`liquidity`). The part fails at the first
direction whose balance or HTLC limits do not carry it with the fees of later ones. Those before are known to carry it
now; this one counts as unable to forward the bare part, a bound too low by at most these fees, so that no path is tried
twice. When none is left that succeeds with `least_probability`, greedy multi-part halves the part and a single-path
payer gives up. Parts that arrive stay locked; the payment is made when they add up (all or nothing).

Node i of a path forwards x_i and takes x_{i−1} = x_i + base_i + ⌊x_i rate_i / 10⁶⌋; the payer pays itself no fee.
Time is an assumption, no result: each hop, forth and back, takes an independent log-normal time, 47 ms in the median,
σ = 0.5225 (95% below 111 ms); parts go one after another.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csgraph

from diffgames.energy.liquidity import LearnedBounds
from diffgames.energy.payment_graph import PaymentGraph
from diffgames.energy.routing import EdgeWeights, cheapest_parallel, edges_of

HOP_MEDIAN, HOP_SIGMA = 47.0, 0.5225  # ms
SMALLEST_PART = 1_000_000  # msat


@dataclass(frozen=True)
class Payer:
    """How a payer routes: weights, caution δ (per nat), tries at most, whether in parts."""

    weights: EdgeWeights = field(default_factory=EdgeWeights)
    caution: float = 1.0
    tries: int = 60
    in_parts: bool = True
    least_probability: float = 0.05


@dataclass(frozen=True)
class Payment:
    """What became of a payment: `parts` are (rows, msat forwarded by each) of those that arrived."""

    made: bool
    tries: int
    parts: tuple[tuple[np.ndarray, tuple[int, ...]], ...]
    milliseconds: float

    @property
    def fee(self) -> int:
        """msat paid beyond what arrived."""
        return sum(amounts[0] - amounts[-1] for _, amounts in self.parts)


def pay(
    graph: PaymentGraph,
    balance: np.ndarray,
    source: int,
    target: int,
    amount: int,
    payer: Payer,
    random: np.random.Generator,
) -> Payment:
    """Try to deliver so many msat between positions of nodes, `balance` in msat [directions] being the truth."""
    known = LearnedBounds(graph, balance, source)
    left = part = amount
    tries, milliseconds, parts = 0, 0.0, []
    while left and tries < payer.tries:
        part = min(part, left)
        rows = likely_path(graph, known, source, target, part, payer)
        if rows is None:
            if not payer.in_parts or part <= SMALLEST_PART:
                break
            part = -(-part // 2)
            continue
        amounts = forwarded_amounts(graph, rows, part)
        hops, arrived = _send(graph, balance, known, rows, amounts)
        tries += 1
        milliseconds += float(random.lognormal(np.log(HOP_MEDIAN), HOP_SIGMA, 2 * hops).sum())
        if arrived:
            known.locked[rows] += np.asarray(amounts)
            parts.append((rows, amounts))
            left -= part
    return Payment(not left, tries, tuple(parts), milliseconds)


def likely_path(
    graph: PaymentGraph, known: LearnedBounds, source: int, target: int, amount: int, payer: Payer
) -> np.ndarray | None:
    """The rows of the cheapest path for so many msat, None where none is likely enough."""
    sat = amount / 1000
    rows = np.flatnonzero(payer.weights.usable(graph, sat))
    chance = known.success(amount, rows)
    rows, chance = rows[chance > 0], chance[chance > 0]
    if not rows.size:
        return None
    weight = payer.weights.of(graph, sat, rows) - payer.caution * np.log(chance)
    kept, forward = cheapest_parallel(graph, rows, weight)
    _, before = csgraph.dijkstra(forward, indices=source, return_predecessors=True)
    if before[target] < 0:
        return None
    path = [target]
    while path[-1] != source:
        path.append(int(before[path[-1]]))
    found = kept[edges_of(forward, path[::-1])]
    return found if known.success(amount, found).prod() >= payer.least_probability else None


def forwarded_amounts(graph: PaymentGraph, rows: np.ndarray, amount: int) -> tuple[int, ...]:
    """msat that each direction of a path forwards for so many to arrive."""
    amounts = [int(amount)]
    for row in rows[:0:-1].tolist():
        amounts.append(amounts[-1] + int(graph.base_fee[row]) + amounts[-1] * int(graph.rate[row]) // 1_000_000)
    return tuple(amounts[::-1])


def _send(
    graph: PaymentGraph, balance: np.ndarray, known: LearnedBounds, rows: np.ndarray, amounts: tuple[int, ...]
) -> tuple[int, bool]:
    """Hops that a part went, and whether it arrived; the payer learns from both."""
    for hop, (row, amount) in enumerate(zip(rows.tolist(), amounts, strict=True), start=1):
        within = graph.smallest[row] <= amount <= graph.largest[row]
        if not within or balance[row] < known.locked[row] + amount:
            known.refused(row, amounts[-1])
            return hop, False
        known.forwarded(row, amount)
    return len(rows), True
