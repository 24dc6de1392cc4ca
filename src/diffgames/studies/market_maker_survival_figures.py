"""Figures of `market-maker-survival`: survival and ruin over strategies and worlds, the insurance, PnL densities."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffgames.plotting import COLOURS, colour_bar, label, legends, new_figure
from diffgames.studies.market_maker_strategies import STRATEGIES, WORLDS


def survival_map(values: Mapping[str, Any]) -> Figure:
    """Exact survival of the inventory limit, and below it what the simulation says."""
    mean, half = 100 * np.asarray(values["survival_simulated"]), 100 * np.asarray(values["survival_error"])
    texts = [[f"({m:.1f} ± {h:.1f})" for m, h in zip(*rows, strict=True)] for rows in zip(mean, half, strict=True)]
    title = "Survival of the inventory limit: exact (simulated, 95%)"
    return _heat_map(100 * np.asarray(values["survival"]), texts, "P(inside the limit) [%]", (0.0, 100.0), title)


def ruin_map(values: Mapping[str, Any]) -> Figure:
    """Share of paths ruined by loss, and what is earned where ruin ends the day."""
    ruin, half = 100 * np.asarray(values["ruin"]), 100 * np.asarray(values["ruin_error"])
    texts = [
        [f"± {h:.2g}, PnL {m:.1f}" for h, m in zip(*rows, strict=True)]
        for rows in zip(half, np.asarray(values["pnl_ended"]), strict=True)
    ]
    top = max(float(ruin.max()), 1.0)
    return _heat_map(ruin, texts, "ruined by loss [%]", (0.0, top), "Ruin by loss (95%), and mean PnL with forced sale")


def _heat_map(value: np.ndarray, texts: list[list[str]], words: str, limits: tuple[float, float], title: str) -> Figure:
    figure, (ax,) = new_figure(width=9.0, height=4.2)
    image = ax.imshow(value, cmap="cividis", vmin=limits[0], vmax=limits[1], aspect="auto")
    ax.grid(False)
    for i in range(value.shape[0]):
        for j in range(value.shape[1]):
            dark = value[i, j] < 0.5 * (limits[0] + limits[1])
            text = f"{value[i, j]:.3g}\n{texts[i][j]}"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ax.set_xticks(range(len(WORLDS)), WORLDS)
    ax.set_yticks(range(len(STRATEGIES)), STRATEGIES)
    label(ax, x=("world", ""), y=("strategy", ""), title=title)
    colour_bar(image, [ax], words)
    return figure


def insurance(values: Mapping[str, Any], threats: Sequence[str]) -> Figure:
    """What every strategy is worth under every threat, and the worst of it against the price paid in quiet times."""
    figure, axes = new_figure(1, 2, width=5.4)
    table, places = np.asarray(values["threatened"]), np.arange(len(threats))
    price, worst = np.asarray(values["insurance"]), np.asarray(values["worst_case"])
    for row, strategy in enumerate(STRATEGIES):  # curves that all but coincide: markers get smaller
        style = {"color": COLOURS[row], "marker": "o", "markersize": 12 - 2 * row, "linewidth": 2.5 - 0.4 * row}
        axes[0].plot(places, table[row], label=strategy, **style)
        axes[1].plot(price[row], worst[row], label=f"{strategy}: {worst[row]:.2f} for {price[row]:.2f}", **style)
    axes[0].set_xticks(places, threats)
    label(
        axes[0],
        x=("threat: rates ×, predator ×; the attacker answers the quotes", ""),
        y=("certainty equivalent", "price × inventory"),
        title="Worth under every threat",
    )
    label(
        axes[1],
        x=("price: given up where nobody attacks", "price × inventory"),
        y=("worst of them", "price × inventory"),
        title="Insurance: higher and further left is better",
    )
    legends(*axes)
    return figure


def distributions(outcomes: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """PnL densities of the strategies in the calm world and in the worst, forced sales included."""
    figure, axes = new_figure(1, 2, width=5.4)
    for ax, world in zip(axes, ("calm", "worst"), strict=True):
        wealth = outcomes[world]["ended"]
        low, high = np.quantile(wealth, [0.001, 0.999])
        edges = np.linspace(low, max(high, low + 1e-9), 60)
        for row, strategy in enumerate(STRATEGIES):
            density, _ = np.histogram(wealth[row], edges, density=True)
            ax.plot(0.5 * (edges[1:] + edges[:-1]), density, color=COLOURS[row], label=strategy)
        label(ax, x=("PnL at T", "price × inventory"), y=("density", "1/(price × inventory)"), title=f"World: {world}")
    legends(*axes)
    return figure
