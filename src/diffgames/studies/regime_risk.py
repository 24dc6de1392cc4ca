"""Risk and the switching graph: the spectral gap of the equilibrium generator against how much regimes differ.

Regimes are made alike or unlike by one number, the contrast c: σ_i(c) = σ̄ (σ_i/σ̄)^c and the same for A and k, with bars
for geometric means, so that c = 0 makes all regimes equal and c = 1 is the market as given. For every contrast the game
over regimes is solved (all of them in one mapped solve); reported at t = 0 and q = 0 are the risk difference, the
standard deviation of U over regimes under the stationary law of the generator, and the spectral gap λ₂ of the
equilibrium generator. That an attack enlarges the gap is no theorem (more switching in one direction may lower it):
`predicted` is the change to first order, Σ_ij ∂λ₂/∂μ_ij δμ_ij, of the rates that the game adds.

What regime risk is worth: quotes that know none of it, its chances, or its attack, each in every world. Three quote
sets solve the same market: *alone*, every regime as if it lasted for ever; *chance*, regimes switching by themselves;
*attack*, the game over regimes. Each is then played where it is wrong: where regimes stand still, switch by chance, are
fought over in equilibrium, and where an attacker without opponent answers the very quotes it meets at switching rates
as given and four times that. Certainty equivalents are exact (`simulation.market_maker_exact`), from regime 0 without
inventory, against the predator; of quotes kept over a step at their value in its middle.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib.axes import Axes
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
from diffgames.numerics.precision import in_double
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.simulation.market_maker_exact import certainty_equivalents
from diffgames.solvers.market_making import MarketMakerSolution, solve_many, solve_market_maker
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines, number_table
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_figures import Surface, surfaces
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of, solution_memory, unit_warnings
from diffgames.studies.market_maker_strategies import middles, threatened, worlds
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_maker import certify_market_maker

QUOTES = ("alone", "chance", "attack")
WORLDS = ("still", "chance", "equilibrium", "worst reply", "worst, rates ×4")
_SWITCHING = ("none", "exogenous", "strategic")


@dataclass(frozen=True, kw_only=True)
class RegimeRiskConfig(MarketMakingParameters):
    """The game, and the contrasts at which it is solved."""

    contrasts: Annotated[
        tuple[float, ...], Parameter("how unlike the regimes are; 1: as given", shape="contrasts", minimum=0.0)
    ] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
    tolerance: Annotated[float, Parameter("tolerance of the integration", minimum=1e-12, maximum=1e-3)] = 1e-9
    steps: Annotated[int, Parameter("how often the three quote sets move", "steps", minimum=1)] = 100


@dataclass(frozen=True, kw_only=True)
class RegimeRiskHeadline:
    """The switching graph at every contrast, and what quotes are worth that know of it or not."""

    contrast: Annotated[Any, Headline("how unlike the regimes are; 1: as given", shape="contrasts")]
    risk_difference: Annotated[
        Any, Headline("deviation of U over regimes (stationary law), q = 0, t = 0", "stress × time", shape="contrasts")
    ]
    spectral_gap: Annotated[Any, Headline("λ₂ of the equilibrium generator there", "1/time", shape="contrasts")]
    gap_base: Annotated[Any, Headline("λ₂ of the generator without the game", "1/time")]
    gap_predicted: Annotated[Any, Headline("λ₂ to first order in the added rates", "1/time", shape="contrasts")]
    poincare: Annotated[
        Any, Headline("Poincaré constant, null where not defined", "1/time", shape="contrasts", optional=True)
    ]
    attack_effort: Annotated[Any, Headline("attacker's effort, q = 0, t = 0", shape="contrasts × regimes")]
    stabilize_effort: Annotated[Any, Headline("stabilizer's effort, q = 0, t = 0", shape="contrasts × regimes")]
    rank_correlation: Annotated[
        Any, Headline("Spearman correlation of gap and risk difference, null where one is constant", optional=True)
    ]
    spread: Annotated[
        Any,
        Headline(
            "full spread at q = 0, t = 0: without regime risk, with switching by chance, and by attack",
            "price",
            shape="{alone, chance, attack: regimes}",
        ),
    ]
    certainty_equivalent: Annotated[
        Any,
        Headline(
            "exact, of each quote set where regimes stand still, switch by chance, are fought over, and where "
            "an attacker answers the quotes, at rates as given and four times that; from regime 0, q = 0",
            "price × inventory",
            shape="{alone, chance, attack: worlds}",
        ),
    ]


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
    sets = quote_sets(config)
    table = played(game, sets)
    profile = profile_of(game, sets["attack"])
    return StudyResult(
        RegimeRiskHeadline(
            contrast=contrast,
            risk_difference=spread[:, middle],
            spectral_gap=gaps[:, middle],
            gap_base=spectral_gap(base),
            gap_predicted=spectral_gap(base) + predicted,
            poincare=poincare,
            attack_effort=found["attack_effort"][:, :, middle],
            stabilize_effort=found["stabilize_effort"][:, :, middle],
            rank_correlation=_rank_correlation(spread[:, middle], gaps[:, middle]),
            spread={name: np.asarray(sets[name].spread())[0] for name in QUOTES},
            certainty_equivalent=dict(zip(QUOTES, table, strict=True)),
        ),
        certificate=verify(config, profile, context),
        profile=profile,
        warnings=unit_warnings(game),
        arrays={
            "graph": xarray.Dataset(
                {
                    "spectral_gap": (("contrast", "inventory"), gaps, {"units": "1/time", "long_name": "spectral gap"}),
                    "risk_difference": (("contrast", "inventory"), spread, {"units": "stress × time"}),
                    "predicted": ("contrast", spectral_gap(base) + predicted, {"units": "1/time"}),
                },
                coords={
                    "contrast": contrast,
                    "inventory": ("inventory", game.inventory, {"long_name": "inventory q"}),
                },
                attrs={"base": spectral_gap(base)},
            ),
            "quotes": _quotes(game, sets, table),
        },
    )


def _quotes(game: MarketMakingGame, sets: dict[str, MarketMakerSolution], table: np.ndarray) -> xarray.Dataset:
    """Spreads of the quote sets for the first trade size, and what each is worth in every world."""
    spreads = np.stack([(np.asarray(one.ask) + np.asarray(one.bid))[..., 0] for one in sets.values()])
    return xarray.Dataset(
        {
            "spread": (("quotes", "time", "regime", "inventory"), spreads, {"units": "price"}),
            "certainty_equivalent": (("quotes", "world"), table, {"units": "price × inventory"}),
        },
        coords={
            "quotes": ("quotes", list(sets), {"long_name": "quotes know of"}),
            "world": list(WORLDS),
            "time": np.asarray(sets["attack"].time),
            "inventory": game.inventory,
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


@in_double
def quote_sets(config: RegimeRiskConfig) -> dict[str, MarketMakerSolution]:
    """The three solutions at starts, middles and ends of steps, 2·steps + 1 times."""
    regimes = game_of(config, "strategic").regimes
    games = [game_of(config, switching) for switching in _SWITCHING]
    games = [one if one.regimes == regimes else _spread_out(one, regimes) for one in games]
    return {name: solve_market_maker(one, steps=2 * config.steps) for name, one in zip(QUOTES, games, strict=True)}


def _spread_out(game: MarketMakingGame, regimes: int) -> MarketMakingGame:
    """A market without switching whose regimes are all alike, with as many of them as the game has."""
    per_regime = ("k", "ask_flow", "bid_flow", "sigma", "drift", "jump_rate", "jump_mean", "jump_deviation")
    return dataclasses.replace(game, **{name: jnp.repeat(getattr(game, name), regimes, axis=0) for name in per_regime})


def played(game: MarketMakingGame, found: dict[str, MarketMakerSolution]) -> np.ndarray:
    """Certainty equivalents, quote sets × worlds."""
    around = worlds(game, found["attack"], "equilibrium")
    still, chance, both = (around[name] for name in ("predator", "exogenous", "both"))
    chance = dataclasses.replace(chance, push=both.push, pay=both.pay)  # the predator is everywhere
    fixed = [dataclasses.replace(one, rates=middles(one.rates)) for one in (still, chance, both)]
    table = np.zeros((len(QUOTES), len(WORLDS)))
    for row, name in enumerate(QUOTES):
        quotes = middles(found[name].ask), middles(found[name].bid)
        values = [certainty_equivalents(game, *quotes, one) for one in fixed]
        values += [threatened(game, quotes, rates, 1.0)[0] for rates in (1.0, 4.0)]
        table[row] = [float(value[0, game.inventory_max]) for value in values]
    return table


def _gap_against_risk(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Spectral gap against risk difference at q = 0, beside the change to first order."""
    ax, middle = axes_or_new(ax), data.sel(inventory=0)
    ax.plot(middle.risk_difference, middle.spectral_gap, "o-", color=COLOURS[0], label="equilibrium")
    ax.plot(middle.risk_difference, data.predicted, "--", color=COLOURS[1], label="to first order")
    ax.axhline(data.attrs["base"], color="black", linewidth=0.8, label="generator alone")
    words = ("risk difference (deviation of U over regimes)", "stress × time")
    return label(ax, x=words, y=("spectral gap", "1/time"), title="t = 0, q = 0")


def _gap_by_inventory(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Spectral gap against inventory at up to five contrasts."""
    chosen = np.unique(np.linspace(0, data.sizes["contrast"] - 1, min(data.sizes["contrast"], 5)).astype(int))
    return lines("spectral_gap", by="contrast", title="t = 0")(data.isel(contrast=chosen), ax)


def spread_surfaces(data: xarray.Dataset) -> Figure:
    """Spreads over time and inventory in every regime: alone, and what chance and attack put on top."""
    alone, chance, attack = (data.spread.sel(quotes=name) for name in QUOTES)
    return surfaces(
        [
            Surface("without regime risk", alone, "cividis", "spread [price]"),
            Surface("added for chance", chance - alone, "PuOr", "spread [price]"),
            Surface("added for the attack", attack - chance, "PuOr", "spread [price]"),
        ]
    )


def _wrong_worlds(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """What every quote set gives up against the best of the three in each world, and its certainty equivalent."""
    table = data.certainty_equivalent
    lost = table.max("quotes") - table
    texts = np.array(
        [
            [f"{value:.2f}\n" + (f"(−{less:.3f})" if less > 0 else "(best)") for value, less in zip(*row, strict=True)]
            for row in zip(table.values, lost.transpose(*table.dims).values, strict=True)
        ]
    )
    title = "Certainty equivalent (and loss against the best) in right and wrong worlds"
    top = max(float(lost.max()), 1e-12)
    shown = lost.transpose(*table.dims)
    return number_table(axes_or_new(ax), shown, texts, "lost [price × inventory]", title, top=top, colours="cividis_r")


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
    headline=RegimeRiskHeadline,
    example="diffgames run regime-risk --set contrasts=[0,0.5,1] effort_attack=5",
    published="the isomorphism of risk and spectral gap in words, no numbers",
    figures={
        "gap": Drawing(
            "the spectral gap moves as regimes differ more in risk", "graph", _gap_against_risk, _gap_by_inventory
        ),
        "spreads": Drawing("what quotes add for the risk of regimes", "quotes", whole=spread_surfaces),
        "wrong_worlds": Drawing(
            "who knows less of the world it meets loses more", "quotes", _wrong_worlds, width=8.2, height=3.2
        ),
    },
)
