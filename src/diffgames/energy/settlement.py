"""Who pays whom at the prices λ, and what a price alone does not settle.

Agent i pays λ·q_i; the grid beyond is paid (π + φ) I − (π − φ) X, and the feeder keeps its rent λ·(I − X) less that,
which is what congestion and the fee are worth. Where a binary binds, an agent could earn more at λ by another plan: its

    uplift_i = max over its own plans of (Σ v e − λ·q) − (Σ v e − λ·q of the plan it has)  ≥ 0

is paid to it and shared among all agents by the energy that they draw. All payments together add up to zero. With the
prices of the relaxation the uplift in sum is at most W_LP − W_MILP (Gribik, Hogan & Pope 2007).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from diffgames.energy.exact_clearing import integer_optimum, linear_optimum
from diffgames.energy.market import Market, batteries
from diffgames.energy.plan import Plan, drawn

Each = Float[np.ndarray, " agents"]
BOTH = 1e-7  # share of a battery's power below which a second mode is rounding


@dataclass(frozen=True)
class Settlement:
    """Payments in €, positive where they are paid: by agents for energy, for the uplift; to the grid, to the feeder."""

    energy: Each
    uplift: Each
    uplift_share: Each
    grid: float
    rent: float

    @property
    def payments_sum(self) -> float:
        """Everything paid less everything received: zero."""
        return float(self.energy.sum() + self.uplift_share.sum() - self.uplift.sum() - self.grid - self.rent)


def settle(market: Market, plan: Plan, prices: Float[np.ndarray, " hours"]) -> Settlement:
    """Settle a plan at prices in €/MWh."""
    flow = np.asarray(drawn(market, plan))
    energy = prices @ flow
    own = (market.elastic_value * plan.elastic).sum(axis=0) - energy
    uplift = np.maximum(best_responses(market, prices) - own, 0.0)
    taken = np.maximum(flow, 0.0).sum(axis=0)
    share = taken / taken.sum() if taken.sum() > 0 else np.full(flow.shape[1], 1.0 / flow.shape[1])
    grid = float(((market.price + market.fee) * plan.imports - (market.price - market.fee) * plan.exports).sum())
    rent = float(prices @ (plan.imports - plan.exports)) - grid
    return Settlement(energy, uplift, uplift.sum() * share, grid, rent)


def best_responses(market: Market, prices: Float[np.ndarray, " hours"]) -> Each:
    """The most that every agent can earn at the prices by a plan of its own, all its binaries kept, in €."""
    hourly = prices[:, None]
    free = (np.maximum(market.elastic_value - hourly, 0.0) * market.elastic).sum(axis=0)
    free += (np.maximum(hourly, 0.0) * market.solar).sum(axis=0) - prices @ market.load
    runs = np.where(np.asarray(market.startable) > 0, (market.running.T @ prices)[:, None], np.inf).min(axis=0)
    cheapest = np.where(np.isfinite(runs), runs, 0.0) * market.appliance
    return free - cheapest + _batteries(market, prices)


def _batteries(market: Market, prices: Float[np.ndarray, " hours"]) -> Each:
    """Every battery alone: its relaxation where that uses one mode an hour, else its MILP."""
    names = ("capacity", "charge", "discharge", "charge_efficiency", "discharge_efficiency", "start")
    data = {name: np.asarray(getattr(market, name)) for name in names}

    def alone(chosen: Float[np.ndarray, " chosen"] | slice) -> Market:
        of: dict[str, Any] = {name: values[chosen] for name, values in data.items()}
        efficiency = (of.pop("charge_efficiency"), of.pop("discharge_efficiency"))
        return batteries(prices, efficiency=efficiency, **of)

    relaxed = linear_optimum(alone(slice(None)), meters=True).plan
    values = -prices @ (relaxed.charge - relaxed.discharge)
    both = np.minimum(relaxed.charge, relaxed.discharge) > BOTH * (market.charge + market.discharge)
    for i in np.flatnonzero(both.any(axis=0)):
        values[i] = integer_optimum(alone(slice(i, i + 1)), gap=1e-9).welfare
    return values
