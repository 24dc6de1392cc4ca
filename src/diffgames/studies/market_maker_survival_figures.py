"""Figures of `market_maker_survival` from its stored arrays: who survives, what ruins, what insurance costs."""

import numpy as np
import xarray
from matplotlib.axes import Axes

from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.drawing import Panel, number_table

MONEY = "price × inventory"


def survival(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Exact survival of the inventory limit, and below it what the simulation says."""
    rows = (100 * data[name] for name in ("survival", "survival_simulated", "survival_error"))
    texts = _texts("{:.3g}\n({:.1f} ± {:.1f})", *rows)
    title = "Survival of the inventory limit: exact (simulated, 95%)"
    return number_table(axes_or_new(ax), 100 * data.survival, texts, "P(inside the limit) [%]", title, top=100.0)


def ruin(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Share of paths ruined by loss, and what is earned where ruin ends the day."""
    ruin, title = 100 * data.ruin, "Ruin by loss (95%), and mean PnL with forced sale"
    texts = _texts("{:.3g}\n± {:.2g}, PnL {:.1f}", ruin, 100 * data.ruin_error, data.pnl_ended)
    return number_table(axes_or_new(ax), ruin, texts, "ruined by loss [%]", title, top=max(float(ruin.max()), 1.0))


def _texts(form: str, *tables: xarray.DataArray) -> np.ndarray:
    return np.vectorize(form.format)(*(table.values for table in tables))


def insurance(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """The worst of it against the price paid in quiet times."""
    ax = axes_or_new(ax)
    for row, strategy in enumerate(data.strategy.values):
        price, worst = float(data.insurance[row]), float(data.worst_case[row])
        ax.plot(price, worst, "o", color=COLOURS[row], label=f"{strategy}: {worst:.2f} for {price:.2f}")
    words = ("price: given up where nobody attacks", MONEY)
    return label(ax, x=words, y=("worst of them", MONEY), title="Insurance: higher and further left is better")


def densities(world: str) -> Panel:
    """The panel of PnL densities in a world, forced sales included."""

    def panel(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
        ax, wealth = axes_or_new(ax), data.pnl.sel(world=world)
        low, high = np.quantile(wealth, [0.001, 0.999])
        edges = np.linspace(low, max(high, low + 1e-9), 60)
        for row, strategy in enumerate(data.strategy.values):
            density, _ = np.histogram(wealth[row], edges, density=True)
            ax.plot(0.5 * (edges[1:] + edges[:-1]), density, color=COLOURS[row], label=strategy)
        return label(ax, x=("PnL at T", MONEY), y=("density", f"1/({MONEY})"), title=f"World: {world}")

    return panel
