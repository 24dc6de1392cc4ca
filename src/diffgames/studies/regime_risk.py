"""Risk and the switching graph: the spectral gap of the equilibrium generator against how much regimes differ.

Regimes are made alike or unlike by one number, the contrast c: σ_i(c) = σ̄ (σ_i/σ̄)^c and the same for A and k, with bars
for geometric means, so that c = 0 makes all regimes equal and c = 1 is the market as given. For every contrast the game
over regimes is solved (all of them in one mapped solve); reported at t = 0 and q = 0 are the risk difference, the
standard deviation of U over regimes under the stationary law of the generator, and the spectral gap λ₂ of the
equilibrium generator. That an attack enlarges the gap is no theorem (more switching in one direction may lower it):
`predicted` is the change to first order, Σ_ij ∂λ₂/∂μ_ij δμ_ij, of the rates that the game adds.

What the risk of regimes does to quotes, and what it costs to be wrong about it, is in `regime_risk_quotes`, for the
market as given.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame, stack_games
from diffgames.games.switching_graph import (
    gap_sensitivity,
    generator_of,
    poincare_constant,
    spectral_gap,
    stationary_law,
)
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.solvers.market_making import solve_many, solve_market_maker
from diffgames.studies.context import RunContext
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of, solution_memory, unit_warnings
from diffgames.studies.regime_risk_quotes import QUOTES, played, quote_sets, spread_surfaces, wrong_worlds
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_maker import certify_market_maker


@dataclass(frozen=True, kw_only=True)
class RegimeRiskConfig(MarketMakingParameters):
    """The game, and the contrasts at which it is solved."""

    contrasts: Annotated[
        tuple[float, ...], Parameter("how unlike the regimes are; 1: as given", shape="contrasts", minimum=0.0)
    ] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
    tolerance: Annotated[float, Parameter("tolerance of the integration", minimum=1e-12, maximum=1e-3)] = 1e-9
    steps: Annotated[int, Parameter("how often the three quote sets move", "steps", minimum=1)] = 100


def run(config: RegimeRiskConfig, context: RunContext) -> StudyResult:
    """Solve at every contrast, measure the graph."""
    if not config.contrasts:
        raise InvalidInput("contrasts", config.contrasts, "a list of at least one number")
    game = game_of(config, "strategic")
    if game.regimes < 2:
        raise InvalidInput("generator", config.generator, "at least two regimes")
    context.progress.update("solving", 0.1)
    found = _solve_all(config)
    rates, stress = found["rates"], found["stress"]
    middle, base = config.inventory_max, np.asarray(game.generator)
    law = stationary_law(base)
    spread = np.sqrt(np.einsum("i,ciq->cq", law, (stress - np.einsum("i,ciq->cq", law, stress)[:, None]) ** 2))
    gaps = np.array([[spectral_gap(generator_of(one[:, :, j])) for j in range(one.shape[2])] for one in rates])
    added = rates[:, :, :, middle] - (base - np.diag(np.diag(base)))[None]
    predicted = np.einsum("ij,cij->c", gap_sensitivity(base), added)
    poincare = [poincare_constant(generator_of(one[:, :, middle])) for one in rates]
    contrast = np.asarray(config.contrasts)
    context.progress.update("playing quotes in wrong worlds", 0.5)
    sets = quote_sets(config, config.steps)
    table = played(game, sets)
    profile = profile_of(game, sets["attack"])
    return StudyResult(
        headline={
            "contrast": contrast,
            "risk_difference": spread[:, middle],
            "spectral_gap": gaps[:, middle],
            "gap_base": spectral_gap(base),
            "gap_predicted": spectral_gap(base) + predicted,
            "poincare": poincare,
            "attack_effort": found["attack_effort"][:, :, middle],
            "stabilize_effort": found["stabilize_effort"][:, :, middle],
            "rank_correlation": _rank_correlation(spread[:, middle], gaps[:, middle]),
            "spread": {name: np.asarray(sets[name].spread())[0] for name in QUOTES},
            "certainty_equivalent": dict(zip(QUOTES, table, strict=True)),
        },
        certificate=verify(config, profile, context),
        profile=profile,
        warnings=unit_warnings(game),
        arrays={
            "graph": xarray.Dataset(
                {
                    "spectral_gap": (("contrast", "inventory"), gaps, {"units": "1/time"}),
                    "risk_difference": (("contrast", "inventory"), spread, {"units": "stress × time"}),
                },
                coords={"contrast": contrast, "inventory": game.inventory},
            )
        },
        figures={"gap": lambda: gap_figure(contrast, spread, gaps, predicted, spectral_gap(base), game)}
        | {
            "spreads": lambda: spread_surfaces(game, sets),
            "wrong_worlds": lambda: wrong_worlds(table),
        },
    )


def verify(config: RegimeRiskConfig, profile: Any, context: RunContext) -> Certificate:
    """The equilibrium of the market as given, by best responses of every player."""
    return certify_market_maker(game_of(config, "strategic"), profile)


def _solve_all(config: RegimeRiskConfig) -> dict[str, np.ndarray]:
    """Tables at t = 0, [contrasts, …]: one mapped solve, and by itself what did not get there in it."""
    games = [contrasted(config, c) for c in config.contrasts]
    solution = solve_many(stack_games(games), tolerance=config.tolerance)
    names = ("rates", "stress", "attack_effort", "stabilize_effort")
    tables = {name: np.array(getattr(solution, name))[:, 0] for name in names}
    for index in np.flatnonzero(~np.asarray(solution.finished)):  # free efforts that slide, stiff equations
        alone = solve_market_maker(games[index], steps=1, tolerance=config.tolerance)
        for name, table in tables.items():
            table[index] = np.asarray(getattr(alone, name))[0]
    return tables


def contrasted(config: RegimeRiskConfig, contrast: float) -> MarketMakingGame:
    """The game whose regimes differ by this contrast."""
    return game_of(
        config, "strategic", **{name: _drawn(getattr(config, name), contrast) for name in ("sigma", "A", "k")}
    )


def _drawn(values: float | tuple[float, ...], contrast: float) -> tuple[float, ...]:
    row = np.atleast_1d(np.asarray(values, float))
    if row.size > 1 and row.min() <= 0:
        raise InvalidInput("sigma, A, k", row.tolist(), "positive numbers, whose geometric mean exists")
    centre = float(np.exp(np.log(row).mean())) if row.min() > 0 else float(row[0])
    return tuple((centre * (row / centre) ** contrast).tolist()) if centre > 0 else tuple(row.tolist())


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's; none where either does not vary."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (x, y)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def gap_figure(
    contrast: np.ndarray,
    spread: np.ndarray,
    gaps: np.ndarray,
    predicted: np.ndarray,
    base: float,
    game: MarketMakingGame,
) -> Figure:
    """Spectral gap against risk difference at q = 0, and against inventory."""
    figure, axes = new_figure(1, 2, width=5.2)
    middle = game.inventory_max
    axes[0].plot(spread[:, middle], gaps[:, middle], "o-", color=COLOURS[0], label="equilibrium")
    axes[0].plot(spread[:, middle], base + predicted, "--", color=COLOURS[1], label="to first order")
    axes[0].axhline(base, color="black", linewidth=0.8, label="generator alone")
    label(
        axes[0],
        x=("risk difference (deviation of U over regimes)", "stress × time"),
        y=("spectral gap", "1/time"),
        title="t = 0, q = 0",
    )
    chosen = np.unique(np.linspace(0, contrast.size - 1, min(contrast.size, 5)).astype(int))
    for row, index in enumerate(chosen):
        axes[1].plot(game.inventory, gaps[index], color=COLOURS[row], label=f"contrast {contrast[index]:g}")
    label(axes[1], x=("inventory q", ""), y=("spectral gap", "1/time"), title="t = 0")
    legends(*axes)
    return figure


def memory(config: RegimeRiskConfig) -> dict[str, float]:
    """Three sets of quotes at all times."""
    return {"steps, inventory_max": 3 * solution_memory(config, config.steps)}


STUDY = Study(
    name="regime-risk",
    source="Pan & Zhu 2025 (arXiv 2512.18098), risk and the spectral gap of the switching graph",
    shows="how the game over regimes moves the spectral gap of the switching graph as regimes differ more in risk, and "
    "what quotes pay for knowing of it or not",
    config=RegimeRiskConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"contrasts": tuple(round(0.05 * i, 2) for i in range(31))}},
    minutes={"quick": 1, "paper": 1},
    headline={
        "contrast": Headline("how unlike the regimes are; 1: as given", shape="contrasts"),
        "risk_difference": Headline(
            "deviation of U over regimes (stationary law), q = 0, t = 0", "stress × time", shape="contrasts"
        ),
        "spectral_gap": Headline("λ₂ of the equilibrium generator there", "1/time", shape="contrasts"),
        "gap_base": Headline("λ₂ of the generator without the game", "1/time"),
        "gap_predicted": Headline("λ₂ to first order in the added rates", "1/time", shape="contrasts"),
        "poincare": Headline("Poincaré constant, null where not defined", "1/time", shape="contrasts", optional=True),
        "attack_effort": Headline("attacker's effort, q = 0, t = 0", shape="contrasts × regimes"),
        "stabilize_effort": Headline("stabilizer's effort, q = 0, t = 0", shape="contrasts × regimes"),
        "rank_correlation": Headline(
            "Spearman correlation of gap and risk difference, null where one is constant", optional=True
        ),
        "spread": Headline(
            "full spread at q = 0, t = 0: without regime risk, with switching by chance, and by attack",
            "price",
            shape="{alone, chance, attack: regimes}",
        ),
        "certainty_equivalent": Headline(
            shape="{alone, chance, attack: worlds}",
            unit="price × inventory",
            meaning="exact, of each quote set where regimes stand still, switch by chance, are fought over, and where "
            "an attacker answers the quotes, at rates as given and four times that; from regime 0, q = 0",
        ),
    },
    example="diffgames run regime-risk --set contrasts=[0,0.5,1] effort_attack=5",
    published="the isomorphism of risk and spectral gap in words, no numbers",
    figures={
        "gap": "the spectral gap moves as regimes differ more in risk",
    },
)
