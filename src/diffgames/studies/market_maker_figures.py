"""Figures of the market-making studies: quote surfaces, spread and skew, premium by regime, the regime graph."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from diffgames.games import switching_graph
from diffgames.games.market_making import MarketMakingGame
from diffgames.plotting import COLOURS, colour_bar, label, legends, new_figure
from diffgames.solvers.market_making import MarketMakerSolution


def regime_names(count: int) -> list[str]:
    """Calm, volatile, stressed where there are three, numbers else."""
    names = {1: ["the only regime"], 2: ["calm", "volatile"], 3: ["calm", "volatile", "stressed"]}
    return names.get(count, [f"regime {index}" for index in range(count)])


def quote_surfaces(game: MarketMakingGame, solution: MarketMakerSolution) -> Figure:
    """Ask and bid offsets over time and inventory, one column per regime, on one colour scale."""
    count = game.regimes
    figure, axes = new_figure(2, count, width=3.8, height=3.0)
    tables = (np.asarray(solution.ask)[..., 0], np.asarray(solution.bid)[..., 0])
    low = min(float(np.nanquantile(table, 0.01)) for table in tables)
    high = max(float(np.nanquantile(table, 0.99)) for table in tables)
    image: Any = None
    for row, (side, table) in enumerate(zip(("ask", "bid"), tables, strict=True)):
        for i, name in enumerate(regime_names(count)):
            ax = axes[row * count + i]
            image = _surface(ax, game, solution, table[:, i], (low, high), "cividis")
            label(ax, x=("time t", ""), y=("inventory q", ""), title=f"{side}, {name}")
    colour_bar(image, axes, "offset from the mid [price]", shrink=0.8, extend="both")
    return figure


def spread_and_skew(
    game: MarketMakingGame, solution: MarketMakerSolution, *, price: str = "price", time: str = ""
) -> Figure:
    """Full spread (ask + bid offset) and skew (ask − bid offset) over time and inventory, one column per regime."""
    count = game.regimes
    ask, bid = np.asarray(solution.ask)[..., 0], np.asarray(solution.bid)[..., 0]
    figure, axes = new_figure(2, count, width=3.8, height=3.0)
    rows = (
        ("spread", ask + bid, "cividis", f"ask + bid [{price}]"),
        ("skew", ask - bid, "RdBu", f"ask − bid [{price}]"),
    )
    for row, (what, table, colours, words) in enumerate(rows):
        low, high = (float(np.nanquantile(table, share)) for share in (0.01, 0.99))
        if what == "skew":
            low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
        images = []
        for i, name in enumerate(regime_names(count)):
            ax = axes[row * count + i]
            images.append(_surface(ax, game, solution, table[:, i], (low, high), colours))
            label(ax, x=("time t", time), y=("inventory q", ""), title=f"{what}, {name}")
        colour_bar(images[-1], axes[row * count : (row + 1) * count], words, extend="both")
    return figure


def _surface(
    ax: Axes,
    game: MarketMakingGame,
    solution: MarketMakerSolution,
    table: np.ndarray,
    limits: tuple[float, float],
    colours: str,
) -> Any:
    """Values [times, inventories] in colour with contours."""
    low, high = limits
    times, inventory = np.asarray(solution.time), game.inventory
    image = ax.pcolormesh(times, inventory, table.T, vmin=low, vmax=high, cmap=colours, rasterized=True)
    ax.grid(False)
    if high > low:
        colour = "white" if colours == "cividis" else "black"
        ax.contour(times, inventory, table.T, levels=np.linspace(low, high, 8), colors=colour, linewidths=0.6)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return image


def mixing(
    game: MarketMakingGame,
    time: np.ndarray,
    spectral_gap: np.ndarray,
    poincare: np.ndarray,
    risk_difference: np.ndarray,
) -> Figure:
    """Spectral gap over time and inventory; at q = 0 both constants, and how unequal the regimes' risks still are."""
    figure, axes = new_figure(1, 2, width=5.2)
    image = axes[0].pcolormesh(time, game.inventory, spectral_gap.T, cmap="cividis", rasterized=True)
    axes[0].grid(False)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    label(axes[0], x=("time t", ""), y=("inventory q", ""), title="Spectral gap of the equilibrium generator")
    colour_bar(image, axes[:1], "λ₂ [1/time]")
    middle = game.inventory_max
    axes[1].plot(time, spectral_gap[:, middle], color=COLOURS[0], label="spectral gap λ₂")
    axes[1].plot(time, poincare[:, middle], "--", color=COLOURS[1], label="Poincaré constant λ_P")
    label(axes[1], x=("time t", ""), y=("rate at q = 0", "1/time"), title="Mixing, and the risk that is left to mix")
    axes[1].set_ylim(bottom=0)
    twin = axes[1].twinx()
    twin.plot(time, risk_difference, ":", color=COLOURS[2], label="deviation of U over regimes (right)")
    twin.set_ylabel("risk difference at q = 0 [stress × time]")
    twin.set_ylim(bottom=0)
    twin.grid(False)
    handles = [*axes[1].get_lines(), *twin.get_lines()]
    axes[1].legend(handles, [str(line.get_label()) for line in handles], loc="lower left", fontsize=8)
    return figure


def premium(time: np.ndarray, strategic: np.ndarray | None, exogenous: np.ndarray | None) -> Figure:
    """Spread at q = 0 over time: strategic − exogenous switching, and exogenous − none, per regime."""
    figure, axes = new_figure(1, 2)
    parts = (("Strategic − exogenous switching", strategic), ("Exogenous − no switching", exogenous))
    for ax, (title, table) in zip(axes, parts, strict=True):
        if table is None:
            ax.text(0.5, 0.5, "not defined for these parameters", ha="center", transform=ax.transAxes)
        else:
            for i, name in enumerate(regime_names(table.shape[1])):
                ax.plot(time, 1e3 * table[:, i], color=COLOURS[i % len(COLOURS)], label=name)
        ax.axhline(0.0, color="black", linewidth=0.8)
        label(ax, x=("time t", ""), y=("premium at q = 0", "price / 1000"), title=title)
    legends(*axes)
    return figure


def regime_graph(game: MarketMakingGame, solution: MarketMakerSolution, *, rate: str = "per unit of time") -> Figure:
    """The switching graph at t = 0 and q = 0 without and with the game over regimes; arrows as wide as their rates."""
    figure, axes = new_figure(1, 2, width=4.6, height=4.4)
    middle = game.inventory_max
    base = np.array(np.asarray(game.generator))
    np.fill_diagonal(base, 0.0)
    played = np.asarray(solution.rates)[0, :, :, middle]
    most = max(float(base.max()), float(played.max()), 1e-12)
    for ax, rates, title in ((axes[0], base, "Generator"), (axes[1], played, "Equilibrium at t = 0, q = 0")):
        _draw_graph(ax, rates, most, np.asarray(game.sigma))
        gap = switching_graph.spectral_gap(switching_graph.generator_of(rates))
        ax.set_title(f"{title}\nspectral gap {gap:.3g} {rate}", loc="left")
    return figure


def _draw_graph(ax: Axes, rates: np.ndarray, most: float, sigma: np.ndarray) -> None:
    count = rates.shape[0]
    angle = (np.pi if count == 2 else np.pi / 2) + 2 * np.pi * np.arange(count) / count
    place = np.column_stack([np.cos(angle), np.sin(angle)]) if count > 1 else np.zeros((1, 2))
    for i in range(count):
        for j in range(count):
            if i == j or rates[i, j] <= 0:
                continue
            arrow = FancyArrowPatch(
                tuple(place[i]),
                tuple(place[j]),
                connectionstyle="arc3,rad=0.18",
                arrowstyle="-|>",
                mutation_scale=14,
                shrinkA=34,
                shrinkB=36,
                linewidth=0.6 + 3.4 * rates[i, j] / most,
                color=COLOURS[i % len(COLOURS)],
            )
            ax.add_patch(arrow)
            along, across = place[j] - place[i], np.array([place[j][1] - place[i][1], place[i][0] - place[j][0]])
            spot = place[i] + 0.5 * along + (0.17 + 0.06 * rates[i, j] / most) * across  # clear of the arrow's width
            ax.text(
                spot[0],
                spot[1],
                f"{rates[i, j]:.3g}",
                ha="center",
                va="center",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )
    for i, name in enumerate(regime_names(count)):
        ax.scatter(*place[i], s=3200, color="white", edgecolor=COLOURS[i % len(COLOURS)], linewidth=2, zorder=3)
        ax.text(place[i][0], place[i][1], f"{name}\nσ = {sigma[i]:.3g}", ha="center", va="center", fontsize=9, zorder=4)
    ax.set_xlim(-1.7, 1.7)
    ax.set_ylim(-1.6, 1.6)
    ax.set_aspect("equal")
    ax.axis("off")
