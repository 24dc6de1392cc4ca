"""How the recorded and the fitted exchange take a push: impact of an order and its decay, spread and depth coming back.

Recorded: the propagator G(h) of order flow and the local projections of `markets.resilience`. Simulated: the mid with a
planted order of a mean best level's lots less the mid without it, per lot, under common random numbers; and the same
projections on paths of the exchange alone.
"""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes

from diffgames.markets.ecn_scores import LevelPaths
from diffgames.markets.exchange import AbstractExchange
from diffgames.markets.level2 import Level2
from diffgames.markets.planted_order import response_to_orders
from diffgames.markets.resilience import (
    closing_of_spread,
    decay_of_shock,
    impact_of_flow,
    refilling_of_depth,
)
from diffgames.plotting import COLOURS, axes_or_new, label

LAGS, SHOWN = 30, (1, 5, 30)
EPISODES, PATHS = 400, 32


def resilience(
    data: Level2, model: AbstractExchange, mixture: AbstractExchange, paths: LevelPaths, key: PRNGKeyArray
) -> xr.Dataset:
    """Recorded and simulated curves at lags 0…30 steps; `impact` per lot also for the mixture, which has no memory."""
    lags = np.arange(LAGS + 1.0)
    recorded, error = impact_of_flow(data).response(lags)
    simulated, simulated_error = planted_impact(model, key)
    spread = np.asarray(paths.spread, float)[:PATHS].T
    best = np.asarray(paths.volume, float)[:PATHS][..., [0, paths.volume.shape[-1] // 2]]
    best = np.moveaxis(best, 1, 0).reshape(best.shape[1], -1)
    closing = (closing_of_spread(data, LAGS), decay_of_shock(spread, np.maximum(np.diff(spread, axis=0), 0), LAGS))
    refilling = (refilling_of_depth(data, LAGS), decay_of_shock(best, np.maximum(-np.diff(best, axis=0), 0), LAGS))
    both, per_lot = ("law", "lag"), {"units": "ticks/lot"}
    return xr.Dataset(
        {
            "impact": (both, [recorded, simulated], per_lot),
            "impact_error": (both, [error, simulated_error], per_lot),
            "impact_mixture": ("lag", planted_impact(mixture, key)[0], per_lot),
            "spread_stays": (both, [one.share for one in closing]),
            "spread_stays_error": (both, [one.error for one in closing]),
            "depth_missing": (both, [one.share for one in refilling]),
            "depth_missing_error": (both, [one.error for one in refilling]),
        },
        coords={"law": ["recorded", "simulated"], "lag": lags.astype(int)},
    )


def planted_impact(model: AbstractExchange, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """What a lot of a planted order does to the mid after 0, …, 30 steps, ticks, and its standard error."""
    levels = model.levels
    lots = float(jnp.round((model.mean_volume[0] + model.mean_volume[levels]) / 2))
    orders = jnp.zeros((LAGS + 1,), jnp.float32).at[0].set(lots)
    moved, _ = response_to_orders(model, orders, key, EPISODES, model.price_grid(LAGS + 1))
    moved = np.asarray(moved, float) / lots
    return moved.mean(axis=0), moved.std(axis=0, ddof=1) / np.sqrt(len(moved))


def at_lags(curves: xr.Dataset, name: str, law: str) -> dict[str, float]:
    """A curve at 1, 5 and 30 steps."""
    return {str(lag): float(curves[name].sel(law=law, lag=lag)) for lag in SHOWN}


def impact_panel(curves: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Impact per lot and its decay, with two standard errors."""
    ax = axes_or_new(ax)
    for colour, law in enumerate(("recorded", "simulated")):
        value, error = curves.impact.sel(law=law).values, curves.impact_error.sel(law=law).values
        ax.plot(curves.lag.values, value, color=COLOURS[colour], label=law)
        ax.fill_between(curves.lag.values, value - 2 * error, value + 2 * error, color=COLOURS[colour], alpha=0.2, lw=0)
    ax.plot(curves.lag.values, curves.impact_mixture.values, "--", color=COLOURS[2], label="mixture")
    ax.set_ylim(bottom=0.0)
    return label(
        ax, x=("time after the order", "steps"), y=("push of the mid", "ticks/lot"), title="Impact of an order"
    )


def return_panel(curves: xr.Dataset, ax: Axes | None = None) -> Axes:
    """What stays of a wide spread and of a hole at the best level."""
    ax = axes_or_new(ax)
    for colour, (name, words) in enumerate((("spread_stays", "wide spread"), ("depth_missing", "hole at the best"))):
        for law, style in (("recorded", "o"), ("simulated", "-")):
            values = curves[name].sel(law=law).values
            ax.plot(curves.lag.values, values, style, ms=3, color=COLOURS[colour], label=f"{words}, {law}")
    ax.axhline(0, color="0.5", lw=0.6)
    return label(
        ax, x=("time after the shock", "steps"), y=("share that stays", ""), title="Spread and depth come back"
    )
