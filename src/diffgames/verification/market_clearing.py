"""The certificate of a cleared market, by sparse matrices that the clearing never saw: nobody gains at the prices.

At prices λ agent i earns Σ v e − λ·q_i by the plan it was given, and by weak duality at most

    y_i·b_i − Σ_j min(0, u_j (cost + A_iᵀ(y_i, λ))_j)     (a battery's two modes of an hour: the better one alone)

by any plan of its own, whatever its multipliers y_i are. The difference bounds its gain from above. The feeder is held
to the same with its limits. The gains add up to the duality gap, so they are zero exactly at a competitive equilibrium,
which is the planner's optimum.
"""

import numpy as np
from jaxtyping import Float

from diffgames.energy.exact_clearing import sparse_program
from diffgames.energy.market import Market
from diffgames.energy.plan import Plan
from diffgames.verification.certificate import Certificate, exact_gap

ROUNDING = 1e-12  # of the terms that a gain is the sum of


def certify_clearing(
    market: Market,
    plan: Plan,
    *,
    stored: Float[np.ndarray, "hours agents"],
    start: Float[np.ndarray, " agents"],
    prices: Float[np.ndarray, " hours"],
) -> Certificate:
    """Gains of the prosumers and of the feeder in €, at most; balance, stored energy and limits as checks.

    `stored` (€/MWh) and `start` (€) are the agents' own multipliers, `prices` in €/MWh.
    """
    program, hours, agents = sparse_program(market), market.hours, market.agents
    cells, own = hours * agents, hours * agents + agents
    x = np.concatenate([np.ravel(part) for part in plan])
    y = np.concatenate([np.ravel(stored), start, prices])
    paid = (program.cost + program.equal[own:].T @ prices) * x
    least = np.minimum((program.cost + program.equal.T @ y) * program.upper, 0.0)
    least[:cells] = np.minimum(least[:cells], least[cells : 2 * cells])
    least[cells : 2 * cells] = 0.0
    fixed = program.right[:own] * y[:own]
    value = -paid[: -2 * hours].reshape(-1, agents).sum(axis=0)
    most = fixed.reshape(-1, agents).sum(axis=0) - least[: -2 * hours].reshape(-1, agents).sum(axis=0)
    feeder, feeder_most = -paid[-2 * hours :].sum(), -least[-2 * hours :].sum()
    gains, scale = most - value, float(np.abs(paid).sum() + np.abs(least).sum() + np.abs(fixed).sum())
    rounding, worst = ROUNDING * scale, int(gains.argmax())

    def entry(label: str, worth: float, gain: float):
        return exact_gap(label, float(worth), float(gain), rounding, selected="at most, by weak duality", scale=scale)

    off = program.equal @ x - program.right
    over = np.maximum(program.below @ x - 1.0, 0.0).max(initial=0.0)
    size = np.where(program.upper > 0, program.upper, 1.0)
    beyond = np.maximum(np.maximum(-x, x - program.upper) / size, 0.0).max()
    return Certificate(
        entries=(
            entry("prosumers together", value.sum(), gains.sum()),
            entry(f"prosumer {worst}, who gains most", value[worst], gains[worst]),
            entry("feeder", feeder, feeder_most - feeder),
        ),
        how="weak duality on sparse matrices",
        unseen="binaries: the relaxation may use both modes of a battery in one hour; the MILP and the uplift tell",
        checks={
            "balance_MW": float(np.abs(off[own:]).max()),
            "stored_MWh": float(np.abs(off[:cells]).max()),
            "beyond_limits": float(max(beyond, over)),
            "duality_gap": float(program.cost @ x - (least.sum() - program.right @ y)),
        },
    )
