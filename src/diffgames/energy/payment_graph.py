"""A payment-channel graph as arrays: one row for each direction in which a channel forwards.

A channel of capacity c satoshi (sat; 1,000 msat each) joins two nodes. Toward each of them its policy says: a base fee
in msat and a proportional one in parts per million of the amount forwarded, the blocks that it holds a payment locked
(CLTV), and the smallest and largest payment (HTLC) in msat. How c is split between the two sides, which of the two can
forward how much, is not public.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import networkx
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.tables import Table, read_table

COLUMNS = (
    "chan",
    "src",
    "dst",
    "capacity_sat",
    "base_msat",
    "ppm",
    "cltv_delta",
    "htlc_min_msat",
    "htlc_max_msat",
    "disabled",
)


@dataclass(frozen=True)
class PaymentGraph:
    """Directions sorted by (source, target), [directions] each.

    Attributes:
        nodes: the file's number of every node, rising; `source` and `target` are positions in it.
        channel: number of the channel. source, target: who forwards to whom.
        capacity: sat. base_fee: msat. rate: parts per million of the amount. delay: blocks (CLTV).
        smallest, largest: msat in one payment (HTLC). disabled: the direction does not forward.
    """

    nodes: np.ndarray
    channel: np.ndarray
    source: np.ndarray
    target: np.ndarray
    capacity: np.ndarray
    base_fee: np.ndarray
    rate: np.ndarray
    delay: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    disabled: np.ndarray

    def __len__(self) -> int:
        return len(self.channel)

    def position(self, key: str, node: int) -> int:
        """Where a node of the file stands in `nodes`; `InvalidInput` names one that is not there."""
        place = int(np.searchsorted(self.nodes, node))
        if place == len(self.nodes) or self.nodes[place] != node:
            among = f"{len(self.nodes)} nodes from {self.nodes[0]} to {self.nodes[-1]}"
            raise InvalidInput(key, node, f"a node of the graph, which has {among}")
        return place

    @functools.cached_property
    def twin(self) -> np.ndarray:
        """The row of the opposite direction of each row's channel, [directions]; −1 where the file has none."""
        order = np.lexsort((self.source, self.channel))
        paired = np.flatnonzero(self.channel[order[1:]] == self.channel[order[:-1]])
        found = np.full(len(self), -1)
        found[order[paired]], found[order[paired + 1]] = order[paired + 1], order[paired]
        return found


def read_payment_graph(path: str | Path) -> PaymentGraph:
    """The graph in a CSV file whose header names `COLUMNS`, in any order.

    Raises `InvalidInput`, with the line, for a column that is missing, a fee or limit below zero, an HTLC minimum above
    the channel's capacity or the maximum, a channel to itself, a direction told twice, and directions that disagree.
    """
    table = read_table("graph", path)
    names = table.names or ()
    if missing := [name for name in COLUMNS if names.count(name) != 1]:
        raise InvalidInput("graph", str(path), f"a header with one column each of {', '.join(missing)}")
    numbers = table.numbers()
    given = {name: table.whole(numbers[:, names.index(name)]) for name in COLUMNS}
    _check(table, given)
    return graph_of(**given)


def graph_of(**columns: np.ndarray) -> PaymentGraph:
    """The graph of arrays named as `COLUMNS`, which are taken as they are."""
    order = np.lexsort((columns["dst"], columns["src"]))
    channel, *policy, disabled = (columns[name][order] for name in COLUMNS if name not in ("src", "dst"))
    ends = np.concatenate([columns["src"][order], columns["dst"][order]])
    nodes, (source, target) = np.unique(ends), np.searchsorted(np.unique(ends), ends).reshape(2, -1)
    return PaymentGraph(nodes, channel, source, target, *policy, disabled=disabled.astype(bool))


def _check(table: Table, given: dict[str, np.ndarray]) -> None:
    """Every row for itself, then the two rows of a channel against each other."""
    capacity = 1000 * given["capacity_sat"]
    table.check(
        [(given[name] >= 0, f"{name} of at least 0") for name in COLUMNS]
        + [
            (given["disabled"] <= 1, "disabled = 0 or 1"),
            (given["src"] != given["dst"], "a channel between two nodes"),
            (given["htlc_min_msat"] <= capacity, "a capacity of at least the HTLC minimum, 1,000 msat a sat"),
            (given["htlc_min_msat"] <= given["htlc_max_msat"], "an HTLC minimum of at most the maximum"),
        ]
    )
    order = np.lexsort((given["src"], given["chan"]))
    same = given["chan"][order[1:]] == given["chan"][order[:-1]]
    told = {name: given[name][order] for name in ("src", "dst", "capacity_sat")}
    opposite = (told["src"][1:] == told["dst"][:-1]) & (told["dst"][1:] == told["src"][:-1])
    agrees = ~same | (opposite & (told["capacity_sat"][1:] == told["capacity_sat"][:-1]))
    holds = np.ones(len(table), bool)
    holds[np.maximum(order[1:], order[:-1])] = agrees
    table.check([(holds, "each direction of a channel once, both between its two nodes and of one capacity")])


def scale_free_graph(nodes: int, links: int, seed: int) -> PaymentGraph:
    """A synthetic graph: each new node opens so many channels, to nodes in proportion to those they have (Barabási).

    Capacities, fees and delays are drawn: log-normal about 2M sat, mostly no base fee, log-normal rates about 100 ppm.
    """
    random = np.random.default_rng(seed)
    edges = np.asarray(networkx.barabasi_albert_graph(nodes, links, seed=seed).edges, dtype=np.int64)
    channels = len(edges)
    ends = np.concatenate([edges, edges[:, ::-1]])
    capacity = np.tile(np.rint(np.clip(random.lognormal(np.log(2e6), 1.2, channels), 2e4, 5e8)), 2).astype(np.int64)
    drawn = 2 * channels
    return graph_of(
        chan=np.tile(np.arange(channels), 2),
        src=ends[:, 0],
        dst=ends[:, 1],
        capacity_sat=capacity,
        base_msat=random.choice([0, 1000], drawn, p=[0.7, 0.3]),
        ppm=np.rint(np.clip(random.lognormal(np.log(100.0), 1.5, drawn), 0.0, 5000.0)).astype(np.int64),
        cltv_delta=random.choice([18, 34, 40, 80, 144], drawn),
        htlc_min_msat=np.full(drawn, 1000),
        htlc_max_msat=990 * capacity,
        disabled=np.zeros(drawn, bool),
    )
