"""What everybody does for a day, and what it is worth.

A plan holds the quantities of `energy.market` in MW and MWh; its worth follows from them alone:

    W = Σ v e − Σ_t (π_t + φ) I_t + Σ_t (π_t − φ) X_t.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from diffgames.energy.market import Market

Hourly = Float[Array | np.ndarray, "hours agents"]


class Plan(NamedTuple):
    """Charge, discharge, stored energy, elastic consumption, solar power used, starts of appliances; the feeder."""

    charge: Hourly
    discharge: Hourly
    stored: Hourly
    elastic: Hourly
    solar: Hourly
    starts: Float[Array | np.ndarray, "starts agents"]
    imports: Float[Array | np.ndarray, " hours"]
    exports: Float[Array | np.ndarray, " hours"]


def drawn(market: Market, plan: Plan) -> Hourly:
    """q, MW that every agent draws from the feeder."""
    appliances = market.running @ plan.starts * market.appliance[None]
    return market.load + plan.charge - plan.discharge + appliances + plan.elastic - plan.solar


def welfare(market: Market, plan: Plan) -> Float[Array | np.ndarray, ""] | float:
    """W in €."""
    bought = ((market.price + market.fee) * plan.imports).sum()
    sold = ((market.price - market.fee) * plan.exports).sum()
    return (market.elastic_value * plan.elastic).sum() - bought + sold


def shared(market: Market, plan: Plan) -> Plan:
    """The plan with the feeder that its agents share: imports and exports are what they draw in sum."""
    total = drawn(market, plan).sum(axis=1)
    return plan._replace(imports=np.maximum(total, 0.0), exports=np.maximum(-total, 0.0))


def carried_out(market: Market, plan: Plan) -> Plan:
    """What becomes of a plan hour by hour, where batteries run full or empty and the feeder protects itself.

    A battery has one mode an hour and keeps its net power as far as its stored energy allows; an appliance starts once,
    where its share is largest. Where the feeder would import too much it stops charging, then elastic blocks, all in
    proportion; where it would export too much, solar power, then discharging.
    """
    charge, discharge, stored = (np.zeros((market.hours, market.agents)) for _ in range(3))
    elastic, solar = np.clip(plan.elastic, 0.0, market.elastic), np.clip(plan.solar, 0.0, market.solar)
    allowed = np.where(np.asarray(market.startable) > 0, np.asarray(plan.starts), -1.0)
    starts = (np.arange(allowed.shape[0])[:, None] == allowed.argmax(axis=0)) * np.asarray(market.has_appliance)
    needed = (market.load + market.running @ starts * market.appliance).sum(axis=1)
    level = np.asarray(market.start, float)
    for t, net in enumerate(np.asarray(plan.charge) - np.asarray(plan.discharge)):
        room = (market.capacity - level) / market.charge_efficiency
        charge[t] = np.clip(net, 0.0, np.minimum(market.charge, room))
        discharge[t] = np.clip(-net, 0.0, np.minimum(market.discharge, level * market.discharge_efficiency))
        total = needed[t] + charge[t].sum() - discharge[t].sum() + elastic[t].sum() - solar[t].sum()
        _curtail(total - market.feeder[t], charge[t], elastic[t])
        _curtail(-total - market.feeder[t], solar[t], discharge[t])
        level = level + market.charge_efficiency * charge[t] - discharge[t] / market.discharge_efficiency
        stored[t] = level = np.clip(level, 0.0, market.capacity)
    return shared(market, Plan(charge, discharge, stored, elastic, solar, starts, plan.imports, plan.exports))


def _curtail(excess: float, *flows: Float[np.ndarray, " agents"]) -> None:
    """Take the excess, where positive, from the flows in turn, in place and from all agents in proportion."""
    for flow in flows:
        total = flow.sum()
        if excess > 0 and total > 0:
            cut = min(excess, total)
            flow *= 1.0 - cut / total
            excess -= cut


def worth(market: Market, plan: Plan, *, meters: bool = False, lost: float = 3000.0) -> float:
    """W in € of a plan that was carried out; load that the feeder cannot carry is lost at `lost` €/MWh.

    With `meters` every agent pays the tariff, π + φ drawn and π − φ fed in, at a meter of its own; else what neighbors
    trade pays no fee.
    """
    flow = drawn(market, plan)
    total = flow.sum(axis=1)
    metered = flow if meters else total[:, None]
    buy, sell = market.price + market.fee, market.price - market.fee
    paid = (buy[:, None] * np.maximum(metered, 0.0) - sell[:, None] * np.maximum(-metered, 0.0)).sum()
    shed = np.maximum(total - market.feeder, 0.0)
    return float((market.elastic_value * plan.elastic).sum() - paid - ((lost - buy) * shed).sum())
