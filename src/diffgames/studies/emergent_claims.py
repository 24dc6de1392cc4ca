"""The 24 claims of Vadori et al., Section 5.2, as data: claim → statistic, attribute, the paper's sign.

Two need words. "As ω rises, the flow from PnL takers falls more abruptly than that from flow takers" is read as a
falling difference of the two flows per connected taker; the slope of their ratio is stored beside it. "PnL takers make
F(ε) convex" (Section 2.2.2, Figure 3) is read as a coefficient c of F(ε) ≈ a + bε + cε² that grows with their number.
Of the average price against risk aversion the paper says nothing; its slope is measured and stored, and is no claim.
The text says that with ω the objective turns to market share; by equation (4) it turns to PnL, and the claims that
follow (share falls, PnL rises) are of that reading.
"""

from diffgames.verification.claims import Claim

CLAIMS: dict[str, Claim] = {
    "inventory_down_in_risk_aversion": Claim("inventory", "risk_aversion", -1),
    "skew_stronger_in_flow_connectivity": Claim("skew_intensity", "flow_connectivity", -1),
    "skew_stronger_in_pnl_connectivity": Claim("skew_intensity", "pnl_connectivity", -1),
    "skew_stronger_in_risk_aversion": Claim("skew_intensity", "risk_aversion", -1),
    "skew_weaker_in_pnl_weight": Claim("skew_intensity", "pnl_weight", +1),
    "hedging_up_in_risk_aversion": Claim("hedge_fraction", "risk_aversion", +1),
    "hedging_up_in_pnl_connectivity": Claim("hedge_fraction", "pnl_connectivity", +1),
    "hedging_down_in_pnl_weight": Claim("hedge_fraction", "pnl_weight", -1),
    "hedging_down_in_flow_connectivity": Claim("hedge_fraction", "flow_connectivity", -1),
    "price_up_in_pnl_weight": Claim("average_price", "pnl_weight", +1),
    "price_up_in_pnl_connectivity": Claim("average_price", "pnl_connectivity", +1),
    "price_down_in_flow_connectivity": Claim("average_price", "flow_connectivity", -1),
    "holding_up_in_pnl_weight": Claim("holding_time", "pnl_weight", +1),
    "holding_down_in_risk_aversion": Claim("holding_time", "risk_aversion", -1),
    "holding_down_in_flow_connectivity": Claim("holding_time", "flow_connectivity", -1),
    "holding_up_in_pnl_connectivity": Claim("holding_time", "pnl_connectivity", +1),
    "pnl_takers_leave_faster_in_pnl_weight": Claim("flow_difference", "pnl_weight", -1),
    "pnl_taker_flow_down_in_flow_connectivity": Claim("pnl_taker_flow", "flow_connectivity", -1),
    "share_down_in_pnl_weight": Claim("market_share", "pnl_weight", -1),
    "share_down_in_pnl_connectivity": Claim("market_share", "pnl_connectivity", -1),
    "pnl_up_in_pnl_weight": Claim("pnl", "pnl_weight", +1),
    "pnl_down_in_pnl_connectivity": Claim("pnl", "pnl_connectivity", -1),
    "pnl_down_in_risk_aversion": Claim("pnl", "risk_aversion", -1),
    "convexity_up_in_pnl_takers": Claim("convexity", "pnl_takers", +1),
}

WORDS: dict[str, tuple[str, str]] = {
    "inventory": ("mean |q|", "lots"),
    "skew_intensity": ("skew intensity", "spreads per lot"),
    "hedge_fraction": ("hedge fraction", ""),
    "holding_time": ("holding time", "steps"),
    "average_price": ("average price ε", "market spreads"),
    "flow_taker_flow": ("flow takers", "lots per step and taker"),
    "pnl_taker_flow": ("PnL takers", "lots per step and taker"),
    "flow_difference": ("PnL less flow takers", "lots per step and taker"),
    "flow_ratio": ("PnL over flow takers", ""),
    "market_share": ("market share", ""),
    "pnl": ("PnL", "ticks × lots"),
    "convexity": ("convexity of F(ε)", "lots per squared market spread"),
    "flow_connectivity": ("connectivity to flow takers", ""),
    "pnl_connectivity": ("connectivity to PnL takers", ""),
    "pnl_weight": ("PnL weight ω", ""),
    "risk_aversion": ("risk aversion γ", ""),
    "pnl_takers": ("PnL takers", ""),
}
"""Name and unit of every statistic and attribute, for axes."""
