"""What no payer can beat: the largest flow through drawn balances, and the least proportional fees of a flow.

A payment in parts is a flow f of sat from payer to payee with 0 ≤ f ≤ balance. Where the maximum flow is below the
amount nobody delivers it. The fees of whoever does are at least the value of the linear program

    min Σ rate_e f_e / 10⁶   over flows of the amount, the payer's own directions free,

since base fees, what earlier hops forward for later fees, HTLC limits and rounding up only add; msat are rounded down,
by less than one a hop and part.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, csgraph, csr_array

from diffgames.energy.payment_graph import PaymentGraph
from diffgames.errors import RunFailed


def flow_delivers(graph: PaymentGraph, balance: np.ndarray, source: int, target: int, amount: int) -> bool:
    """Whether so many sat fit through the balances (msat, [directions]) between positions of nodes."""
    rows, limit = _open(graph, balance, amount)
    ends = (graph.source[rows], graph.target[rows])
    shape = (len(graph.nodes), len(graph.nodes))
    # Parallel directions add up, and carry no more than the amount together: scipy counts in 32 bits.
    capacity = csr_array((limit.astype(np.int64), ends), shape=shape)
    capacity.sum_duplicates()
    capacity.data = np.minimum(capacity.data, amount).astype(np.int32)
    capacity.indices, capacity.indptr = capacity.indices.astype(np.int32), capacity.indptr.astype(np.int32)
    return int(csgraph.maximum_flow(capacity, source, target).flow_value) >= amount


def least_fee(graph: PaymentGraph, balance: np.ndarray, source: int, target: int, amount: int) -> float | None:
    """msat of proportional fees that so many sat cost at least, by HiGHS; None where no flow delivers them."""
    rows, limit = _open(graph, balance, amount)
    count = len(rows)
    ends = np.concatenate([graph.source[rows], graph.target[rows]])
    signs = np.repeat([1.0, -1.0], count)
    balances = coo_array((signs, (ends, np.tile(np.arange(count), 2))), shape=(len(graph.nodes), count)).tocsr()
    supply = np.zeros(len(graph.nodes))
    supply[source], supply[target] = 1.0, -1.0
    price = np.where(graph.source[rows] == source, 0.0, graph.rate[rows] / 1e6)
    solved = linprog(
        price, A_eq=balances, b_eq=supply, bounds=np.stack([np.zeros(count), limit / amount], axis=1), method="highs"
    )
    if solved.status == 2:
        return None
    if solved.status != 0:
        raise RunFailed(f"the minimum-cost flow was not solved: {solved.message}", "lower the amount")
    return float(solved.fun) * 1000 * amount


def _open(graph: PaymentGraph, balance: np.ndarray, amount: int) -> tuple[np.ndarray, np.ndarray]:
    """The directions that forward at all, and how many sat each, rounded up, at most the amount."""
    limit = np.minimum(-(-balance // 1000), amount)
    rows = np.flatnonzero(~graph.disabled & (limit > 0))
    return rows, limit[rows]
