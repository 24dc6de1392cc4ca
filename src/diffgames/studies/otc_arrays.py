"""What a run of the over-the-counter market stores: the evaluated episodes, the training, the exchange's scores."""

from typing import Any

import numpy as np
import xarray as xr

from diffgames.markets.ecn_samples import PARTS
from diffgames.markets.fit_report import FitReport
from diffgames.markets.market_state import StepRecord


def evaluation_of(record: StepRecord) -> xr.Dataset:
    """The recorded episodes that the figures show: [step, episode] and [step, episode, provider]."""
    units = {
        "price": "ticks",
        "provider_ask": "ticks",
        "provider_bid": "ticks",
        "spread_tweak": "market spreads",
        "skew_tweak": "market spreads",
        "hedge_fraction": "1",
        "inventory": "lots",
        "hedged": "lots",
        "pnl_spread": "ticks lots",
        "pnl_inventory": "ticks lots",
        "running_share": "1",
    }
    axes = ("step", "episode", "provider")
    arrays = {name: np.asarray(getattr(record, name)) for name in units}
    return xr.Dataset({name: (axes[: a.ndim], a, {"units": units[name]}) for name, a in arrays.items()})


def learning_of(curves: dict[str, np.ndarray], history: dict[str, Any]) -> xr.Dataset:
    """Rewards by supertype, and what PPO says of every role, by update."""
    variables = {f"reward_{name}": ("update", curve) for name, curve in curves.items()}
    for field in ("kl", "entropy", "value_loss", "kl_coefficient"):
        variables |= {f"{field}_{role}": ("update", np.asarray(v)) for role, v in history.get(field, {}).items()}
    return xr.Dataset(variables)


def scores_of(reports: list[FitReport]) -> xr.Dataset:
    """The fits' scores on their training, validation and test parts."""
    rows = [vars(report) for report in reports]
    names = [name for name, value in rows[0].items() if isinstance(value, dict) and set(value) == set(PARTS)]
    values = {name: [[float(row[name][part]) for part in PARTS] for row in rows] for name in names}
    sources = [report.source for report in reports]
    return xr.Dataset(
        {name: (("data", "part"), value) for name, value in values.items()},
        coords={"data": sources, "part": list(PARTS)},
    )
