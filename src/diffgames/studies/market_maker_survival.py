"""Who survives: five quoting strategies in five worlds, from calm to a predator with a hostile regime controller.

Every pair is simulated on the same random numbers; a path survives if neither the inventory limit nor the loss limit
is hit before T. Reported with 95% intervals: survival rate (Wilson's), mean and standard deviation of PnL, Sharpe ratio
(mean over standard deviation at T; its interval by the delta method), largest drawdown.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame
from diffgames.plotting import COLOURS, label, new_figure
from diffgames.simulation.market_maker import Outcomes, simulate_quotes, step_table
from diffgames.studies.context import RunContext
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of, unit_warnings
from diffgames.studies.market_maker_strategies import STRATEGIES, WORLDS, strategies, worlds
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class SurvivalConfig(MarketMakingParameters):
    """The game, the simulation and what counts as survival."""

    paths: Annotated[int, Parameter(unit="paths", meaning="simulated paths per pair", minimum=2)] = 100_000
    steps: Annotated[int, Parameter(unit="steps", meaning="time steps of the simulation", minimum=1)] = 400
    start_inventory: Annotated[int, Parameter(unit="inventory", meaning="inventory at t = 0")] = 0
    inventory_limit: Annotated[
        int | None, Parameter(unit="inventory", meaning="|q| that ends it; null: inventory_max", minimum=1)
    ] = None
    loss_limit: Annotated[float, Parameter(unit="price × inventory", meaning="loss that ends it", minimum=0.0)] = 5.0
    controller: Annotated[
        Literal["equilibrium", "full"], Parameter(meaning="the regime controller's efforts: f*, g* or all, none")
    ] = "equilibrium"


def run(config: SurvivalConfig, context: RunContext) -> StudyResult:
    """Solve for the strategies, simulate the table, count."""
    limit = config.inventory_limit if config.inventory_limit is not None else config.inventory_max
    if limit > config.inventory_max:
        raise InvalidInput("inventory_limit", limit, f"at most inventory_max = {config.inventory_max}")
    if abs(config.start_inventory) >= limit:
        raise InvalidInput("start_inventory", config.start_inventory, f"inside the inventory limit, {limit}")
    game = game_of(config, "strategic")
    context.progress.update("solving", 0.0)
    quotes, equilibrium = strategies(game_of(config, "exogenous"), game, config.steps)
    around = worlds(game, equilibrium, config.controller)
    outcomes = {}
    for index, world in enumerate(WORLDS):
        context.progress.update(f"simulating {world}", index / len(WORLDS))
        outcomes[world] = context.stage(
            world, lambda world=world: _simulate(config, context, game, quotes, around[world])
        )
    context.progress.update("simulating", 1.0)
    table = {
        strategy: {world: statistics(outcomes[world], row, limit, config.loss_limit) for world in WORLDS}
        for row, strategy in enumerate(STRATEGIES)
    }
    values = {key: _matrix(table, key) for key in table["naive"]["calm"]}
    return StudyResult(
        headline=values,
        warnings=unit_warnings(game),
        arrays={"pnl": _sample(outcomes)},
        figures={
            "survival": lambda: survival_map(values),
            "distributions": lambda: distributions(outcomes),
            "sharpe": lambda: sharpe_map(values),
        },
    )


def _simulate(config: SurvivalConfig, context: RunContext, game: MarketMakingGame, quotes: Any, around: Any) -> dict:
    tables = np.stack([step_table(game, quotes[name][0], quotes[name][1], around) for name in STRATEGIES])
    found: Outcomes = simulate_quotes(
        game,
        tables,
        context.key,
        paths=config.paths,
        start_regime=np.full(len(STRATEGIES), around.start),
        start_inventory=config.start_inventory,
    )
    names = ("wealth", "largest_inventory", "lowest_wealth", "drawdown", "fills", "turbulent")
    return {name: np.asarray(getattr(found, name)) for name in names}


def statistics(outcome: dict[str, np.ndarray], row: int, limit: int, loss: float) -> dict[str, float]:
    """The numbers of one cell of the table, with the ends of their 95% intervals."""
    wealth = np.asarray(outcome["wealth"][row], np.float64)
    n = wealth.size
    inside = outcome["largest_inventory"][row] < limit
    solvent = outcome["lowest_wealth"][row] > -loss
    low, high = wilson(int((inside & solvent).sum()), n)
    mean, deviation = float(wealth.mean()), float(wealth.std(ddof=1))
    centred = (wealth - mean) / deviation if deviation > 0 else np.zeros(n)
    sharpe = mean / deviation if deviation > 0 else float("nan")
    skewness, kurtosis = float((centred**3).mean()), float((centred**4).mean())
    error = np.sqrt(max(1 - sharpe * skewness + sharpe**2 * (kurtosis - 1) / 4, 0.0) / n)
    return {
        "survival": float((inside & solvent).mean()),
        "survival_low": low,
        "survival_high": high,
        "inventory_survival": float(inside.mean()),
        "loss_survival": float(solvent.mean()),
        "pnl": mean,
        "pnl_half_width": Z95 * deviation / np.sqrt(n),
        "pnl_deviation": deviation,
        "pnl_worst_percent": float(np.quantile(wealth, 0.01)),
        "sharpe": sharpe,
        "sharpe_half_width": float(Z95 * error),
        "drawdown": float(outcome["drawdown"][row].mean(dtype=np.float64)),
        "fills": float(outcome["fills"][row].mean(dtype=np.float64)),
    }


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion.

    >>> [round(end, 4) for end in wilson(95, 100)]
    [0.8882, 0.9785]
    """
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def _matrix(table: dict[str, dict[str, dict[str, float]]], key: str) -> list[list[float]]:
    return [[table[strategy][world][key] for world in WORLDS] for strategy in STRATEGIES]


def _sample(outcomes: dict[str, dict[str, np.ndarray]]) -> xarray.Dataset:
    """PnL of the first 20,000 paths of every cell."""
    pnl = np.stack([outcomes[world]["wealth"][:, :20_000] for world in WORLDS], axis=1)
    return xarray.Dataset(
        {"pnl": (("strategy", "world", "path"), pnl, {"units": "price × inventory"})},
        coords={"strategy": list(STRATEGIES), "world": list(WORLDS)},
    )


def survival_map(values: dict[str, Any]) -> Figure:
    """Survival rates, strategies × worlds, with their intervals."""
    low, high = np.asarray(values["survival_low"]), np.asarray(values["survival_high"])
    texts = [
        [f"[{100 * a:.1f}, {100 * b:.1f}]" for a, b in zip(*rows, strict=True)] for rows in zip(low, high, strict=True)
    ]
    return _heat_map(
        100 * np.asarray(values["survival"]), texts, "survival rate [%]", (0.0, 100.0), "Survival, 95% interval"
    )


def sharpe_map(values: dict[str, Any]) -> Figure:
    """Sharpe ratios, strategies × worlds, with mean PnL."""
    texts = [[f"PnL {mean:.1f}" for mean in row] for row in values["pnl"]]
    sharpe = np.asarray(values["sharpe"], float)
    return _heat_map(sharpe, texts, "Sharpe ratio at T", (0.0, float(np.nanmax(sharpe))), "Sharpe ratio and mean PnL")


def _heat_map(value: np.ndarray, texts: list[list[str]], words: str, limits: tuple[float, float], title: str) -> Figure:
    figure, (ax,) = new_figure(width=7.6, height=4.2)
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
    figure.colorbar(image, ax=ax, label=words)
    return figure


def distributions(outcomes: dict[str, dict[str, np.ndarray]]) -> Figure:
    """PnL densities of the strategies in the calm world and in the worst."""
    figure, axes = new_figure(1, 2, width=5.4)
    for ax, world in zip(axes, ("calm", "both"), strict=True):
        wealth = outcomes[world]["wealth"]
        low, high = np.quantile(wealth, [0.001, 0.999])
        edges = np.linspace(low, high, 60)
        for row, strategy in enumerate(STRATEGIES):
            density, _ = np.histogram(wealth[row], edges, density=True)
            ax.plot(0.5 * (edges[1:] + edges[:-1]), density, color=COLOURS[row], label=strategy)
        label(ax, x=("PnL at T", "price × inventory"), y=("density", ""), title=f"World: {world}")
    axes[0].legend()
    return figure


_SHAPE = "strategies × worlds"
STUDY = Study(
    name="market-maker-survival",
    source="Pan & Zhu 2025 (arXiv 2512.18098), future work (a): survival under a malicious regime controller",
    shows="which of five quoting strategies (naive, classical, robust, regime-aware, hyper-alert) survives in five "
    "worlds (calm, exogenous, predator, controller, both)",
    config=SurvivalConfig,
    run=run,
    presets={"quick": {"paths": 20_000, "steps": 200}, "paper": {}},
    minutes={"quick": 0.5, "paper": 1},
    headline={
        "survival": Headline(shape=_SHAPE, meaning="share of paths that hit neither limit"),
        "survival_low": Headline(shape=_SHAPE, meaning="lower end of its 95% interval"),
        "survival_high": Headline(shape=_SHAPE, meaning="upper end of its 95% interval"),
        "inventory_survival": Headline(shape=_SHAPE, meaning="share of paths inside the inventory limit"),
        "loss_survival": Headline(shape=_SHAPE, meaning="share of paths inside the loss limit"),
        "pnl": Headline(shape=_SHAPE, unit="price × inventory", meaning="mean PnL m + qS at T"),
        "pnl_half_width": Headline(shape=_SHAPE, unit="price × inventory", meaning="half-width of its 95% interval"),
        "pnl_deviation": Headline(shape=_SHAPE, unit="price × inventory", meaning="standard deviation of PnL"),
        "pnl_worst_percent": Headline(shape=_SHAPE, unit="price × inventory", meaning="1% quantile of PnL"),
        "sharpe": Headline(shape=_SHAPE, meaning="mean over standard deviation of PnL at T", optional=True),
        "sharpe_half_width": Headline(shape=_SHAPE, meaning="half-width of its 95% interval", optional=True),
        "drawdown": Headline(shape=_SHAPE, unit="price × inventory", meaning="mean of the largest drawdown"),
        "fills": Headline(shape=_SHAPE, unit="fills", meaning="mean number of fills"),
    },
    example="diffgames run market-maker-survival --set controller=full loss_limit=2",
)
