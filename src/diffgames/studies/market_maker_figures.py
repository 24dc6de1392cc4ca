"""What the market-making studies store of a solution, and their figures of it: surfaces, premium, graph, mixing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from diffgames.games import switching_graph
from diffgames.games.market_making import MarketMakingGame
from diffgames.plotting import COLOURS, axes_or_new, colour_bar, label, new_figure
from diffgames.solvers.market_making import MarketMakerSolution


def regime_names(count: int) -> list[str]:
    """Calm, volatile, stressed where there are three, numbers else."""
    names = {1: ["the only regime"], 2: ["calm", "volatile"], 3: ["calm", "volatile", "stressed"]}
    return names.get(count, [f"regime {index}" for index in range(count)])


def dataset(
    game: MarketMakingGame, solution: MarketMakerSolution, *, price: str = "price", time: str = "time"
) -> xr.Dataset:
    """The solution with named axes; of the regimes σ, and their rates at t = 0, q = 0 without and with the game."""
    axes = ("time", "regime", "inventory")
    units = {"theta": f"{price} × inventory", "stress": f"stress × {time}", "attack_effort": "1"}
    units |= {"stabilize_effort": "1"}
    values: dict[str, Any] = {
        name: (axes, np.asarray(getattr(solution, name)), {"units": unit}) for name, unit in units.items()
    }
    for name in ("ask", "bid"):
        values[name] = ((*axes, "size"), np.asarray(getattr(solution, name)), {"units": price})
    base = np.array(np.asarray(game.generator))
    np.fill_diagonal(base, 0.0)
    played = np.asarray(solution.rates)[0, :, :, game.inventory_max]
    values |= {
        name: (("regime", "to"), rates, {"units": f"1/{time}"}) for name, rates in (("base", base), ("played", played))
    }
    values["sigma"] = ("regime", np.asarray(game.sigma))
    coords = {
        "time": ("time", np.asarray(solution.time), {"long_name": "time t", "units": "" if time == "time" else time})
    }
    coords |= {"regime": np.arange(game.regimes), "inventory": game.inventory, "size": np.asarray(game.sizes)}
    return xr.Dataset(values, coords=coords)


class Surface(NamedTuple):
    """One row of surfaces: a title, values [time, regime, inventory], a colour map, and what its colors mean."""

    title: str
    values: xr.DataArray
    colours: str
    words: str


def surfaces(rows: Sequence[Surface], limits: tuple[float, float] | None = None) -> Figure:
    """Values over time and inventory, a column for each regime; rows in colors of their own, or all within `limits`.

    Colour maps other than cividis have their middle at zero.
    """
    count = rows[0].values.sizes["regime"]
    figure, axes = new_figure(len(rows), count, width=3.8, height=3.0)
    for row, (title, values, colours, words) in enumerate(rows):
        low, high = limits or [float(np.nanquantile(values, share)) for share in (0.01, 0.99)]
        if colours != "cividis":
            low, high = -max(abs(low), abs(high), 1e-12), max(abs(low), abs(high), 1e-12)
        image: Any = None
        for i, name in enumerate(regime_names(count)):
            ax, table = axes[row * count + i], values.isel(regime=i)
            image = _surface(ax, table, (low, high), colours)
            label(
                ax,
                x=("time t", str(table.time.attrs.get("units", ""))),
                y=("inventory q", ""),
                title=f"{title}, {name}",
            )
        colour_bar(image, axes[row * count : (row + 1) * count], words, extend="both")
    return figure


def _surface(ax: Axes, table: xr.DataArray, limits: tuple[float, float], colours: str) -> Any:
    """Values [time, inventory] in colour with contours."""
    low, high = limits
    shown = (table.time.values, table.inventory.values, table.values.T)
    image = ax.pcolormesh(*shown, vmin=low, vmax=high, cmap=colours, rasterized=True)
    ax.grid(False)
    if high > low:
        ax.contour(
            *shown,
            levels=np.linspace(low, high, 8),
            colors="white" if colours == "cividis" else "black",
            linewidths=0.6,
        )
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return image


def quote_surfaces(data: xr.Dataset) -> Figure:
    """Ask and bid offsets over time and inventory, on one colour scale."""
    sides, words = [data[name].isel(size=0) for name in ("ask", "bid")], f"offset from the mid [{data.ask.units}]"
    low = min(float(np.nanquantile(side, 0.01)) for side in sides)
    high = max(float(np.nanquantile(side, 0.99)) for side in sides)
    rows = [Surface(name, side, "cividis", words) for name, side in zip(("ask", "bid"), sides, strict=True)]
    return surfaces(rows, (low, high))


def spread_and_skew(data: xr.Dataset) -> Figure:
    """Full spread (ask + bid offset) and skew (ask − bid offset) over time and inventory."""
    ask, bid, unit = data.ask.isel(size=0), data.bid.isel(size=0), data.ask.units
    skew = Surface("skew", ask - bid, "RdBu", f"ask − bid [{unit}]")
    return surfaces([Surface("spread", ask + bid, "cividis", f"ask + bid [{unit}]"), skew])


def gap_surface(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Spectral gap of the equilibrium generator over time and inventory."""
    ax = axes_or_new(ax)
    image = ax.pcolormesh(data.time, data.inventory, data.spectral_gap.T, cmap="cividis", rasterized=True)
    ax.grid(False)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    colour_bar(image, [ax], "λ₂ [1/time]")
    return label(ax, x=("time t", ""), y=("inventory q", ""), title="Spectral gap of the equilibrium generator")


def mixing(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Both constants of mixing at q = 0."""
    ax, middle = axes_or_new(ax), data.sel(inventory=0)
    ax.plot(data.time, middle.spectral_gap, color=COLOURS[0], label="spectral gap λ₂")
    ax.plot(data.time, middle.poincare, "--", color=COLOURS[1], label="Poincaré constant λ_P")
    ax.set_ylim(bottom=0)
    return label(ax, x=("time t", ""), y=("rate at q = 0", "1/time"), title="Mixing")


def premium(name: str, title: str):
    """The panel of one difference of spreads at q = 0 over time, per regime."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        if name not in data:
            ax.text(0.5, 0.5, "not defined for these parameters", ha="center", transform=ax.transAxes)
        else:
            for i, regime in enumerate(regime_names(data.sizes["regime"])):
                colour = COLOURS[i % len(COLOURS)]
                ax.plot(data.time, 1e3 * data[name].isel(regime=i), color=colour, label=regime)
        ax.axhline(0.0, color="black", linewidth=0.8)
        return label(ax, x=("time t", ""), y=("premium at q = 0", "price / 1000"), title=title)

    return panel


def regime_graph(name: str, title: str):
    """The panel of the switching graph with those rates, arrows as wide as their rates, `base` and `played` alike."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, rates = axes_or_new(ax), data[name].values
        most = max(float(data.base.max()), float(data.played.max()), 1e-12)
        _draw_graph(ax, rates, most, data.sigma.values)
        gap = switching_graph.spectral_gap(switching_graph.generator_of(rates))
        ax.set_title(f"{title}\nspectral gap {gap:.3g} {data[name].units}", loc="left")
        return ax

    return panel


GRAPH = (regime_graph("base", "Generator"), regime_graph("played", "Equilibrium at t = 0, q = 0"))


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
