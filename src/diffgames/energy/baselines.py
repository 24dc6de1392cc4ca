"""What a market is compared with: nobody negotiates, hour by hour, everybody alone, everybody alone but netted.

    no negotiation   batteries idle, appliances start as early as they may, elastic blocks and solar face the tariff;
    myopic           hour by hour: batteries store surplus, or what one is paid to take, and cover their owner's needs;
    autarky          every agent plans its whole day against the tariff (one linear program each), at its own meter;
    pooled netting   those same plans, flows between neighbors netted before the tariff;
    negotiated       all of it at once (`energy.clearing`, `energy.negotiation`).

The efficiency of a plan of welfare W is (W − W_no) / (W* − W_no), W* that of the MILP, or its bound where that is open.
"""

import numpy as np

from diffgames.energy.exact_clearing import linear_optimum
from diffgames.energy.market import Market
from diffgames.energy.plan import Plan, carried_out, drawn, worth


def efficiency(welfare: float, none: float, best: float) -> float:
    """(W − W_no) / (W* − W_no)."""
    return (welfare - none) / (best - none)


def baseline_welfare(market: Market) -> dict[str, float]:
    """W in € of the four ways of not negotiating."""
    alone = carried_out(market, linear_optimum(market, meters=True).plan)
    return {
        "none": worth(market, carried_out(market, unplanned(market, battery=False)), meters=True),
        "myopic": worth(market, carried_out(market, unplanned(market, battery=True)), meters=True),
        "autarky": worth(market, alone, meters=True),
        "pooled": worth(market, alone),
    }


def unplanned(market: Market, *, battery: bool) -> Plan:
    """Agents that look at the tariff of this hour alone; with `battery` they use it for what is their own."""
    nothing = np.zeros((market.hours, market.agents))
    first = np.asarray(market.startable).argmax(axis=0)
    starts = (np.arange(market.startable.shape[0])[:, None] == first) * np.asarray(market.has_appliance)
    plan = Plan(nothing, nothing, nothing, nothing, nothing, starts, nothing[:, 0], nothing[:, 0])
    buy, sell = ((market.price + sign * market.fee)[:, None] for sign in (1.0, -1.0))
    need = drawn(market, plan)
    solar = np.where(sell >= 0, market.solar, np.minimum(market.solar, np.where(buy > 0, np.maximum(need, 0.0), 0.0)))
    surplus = np.maximum(solar - need, 0.0)
    wanted = np.where(market.elastic_value > buy, market.elastic, np.minimum(market.elastic, surplus))
    elastic = np.where(market.elastic_value > sell, wanted, 0.0)
    plan = plan._replace(solar=solar, elastic=elastic)
    if battery:
        left = drawn(market, plan)
        free = np.where(buy < 0, market.charge, np.maximum(-left, 0.0))
        used = np.where(buy < 0, 0.0, np.maximum(left, 0.0))
        return plan._replace(charge=free, discharge=used)
    return plan
