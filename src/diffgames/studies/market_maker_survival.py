"""Who survives: five quoting strategies in six worlds, from calm to an attacker that answers the very quotes it meets.

Everything that hangs on the (regime, inventory) chain alone is exact, by linear equations (`market_maker_exact`):
survival of the inventory limit, mean and deviation of PnL, certainty equivalents. Loss is not, and is simulated event
by event: a path is ruined where its wealth falls by the loss limit from its height; the inventory is then sold at the
book's price, and the day is over. Reaching the inventory limit is no ruin: a side closes, that is all.

Strategies are compared by what they are worth in the worst case, over attackers that answer them, switching rates and
predators other than assumed (`worst_case`), and by the price of that insurance, what they give up where nobody attacks.
Quotes are renewed at the starts of `steps` equal steps; `survival_continuous` is what moving all the time would make of
it, and the interval of the simulated survival holds the distance between the two.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import xarray
from scipy.stats import binomtest

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame
from diffgames.simulation.market_maker import Outcomes, Surroundings, simulate_quotes, step_table
from diffgames.simulation.market_maker_exact import certainty_equivalents, inventory_survival, wealth_moments
from diffgames.studies import market_maker_survival_figures as figures
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of, solution_memory, unit_warnings
from diffgames.studies.market_maker_strategies import (
    STRATEGIES,
    WORLDS,
    Quotes,
    middles,
    starts,
    strategies,
    threatened,
    threats,
    worlds,
)
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_maker import certify_market_maker

Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class SurvivalConfig(MarketMakingParameters):
    """The game, the simulation, what counts as survival and as ruin, and the threats."""

    paths: Annotated[int, Parameter("simulated paths per pair", "paths", minimum=2)] = 100_000
    steps: Annotated[int, Parameter("how often quotes are renewed over T", "steps", minimum=1)] = 400
    start_inventory: Annotated[int, Parameter("inventory at t = 0", "inventory")] = 0
    inventory_limit: Annotated[
        int | None, Parameter("|q| that ends survival; null: inventory_max", "inventory", minimum=1)
    ] = None
    loss_limit: Annotated[
        float, Parameter("loss from the highest wealth that is ruin", "price × inventory", minimum=0.0)
    ] = 5.0
    book_half_spread: Annotated[
        float, Parameter("forced sale: best price's distance from the mid", "price", minimum=0.0)
    ] = 0.65
    book_slope: Annotated[
        float, Parameter("forced sale: how much deeper every unit goes", "price/inventory", minimum=0.0)
    ] = 0.1
    controller: Annotated[
        Literal["equilibrium", "full"], Parameter("the regime controller's efforts: f*, g* or all, none")
    ] = "equilibrium"
    rate_factors: Annotated[
        tuple[float, ...], Parameter("threats: switching this often faster", shape="rate factors", minimum=0.0)
    ] = (0.5, 1.0, 2.0, 4.0)
    predator_factors: Annotated[
        tuple[float, ...], Parameter("threats: predator this often stronger", shape="predator factors", minimum=0.0)
    ] = (1.0, 4.0)


Table = partial(Headline, shape="strategies × worlds")


def _half(of: str, unit: str = "") -> Headline:
    return Table(f"half-width of the 95% interval of {of}", unit)


@dataclass(frozen=True, kw_only=True)
class SurvivalHeadline:
    """What every strategy is worth in every world, exact and simulated, and the price of insurance."""

    survival: Annotated[Any, Table("P(inventory stays inside its limit), exact; quotes as renewed")]
    survival_continuous: Annotated[Any, Table("the same for quotes that move all the time")]
    survival_simulated: Annotated[Any, Table("share of simulated paths inside the inventory limit")]
    survival_error: Annotated[Any, _half("survival_simulated, with what renewing quotes costs")]
    certainty_equivalent: Annotated[
        Any, Table("of the game's objective, the predator's payments included; exact", figures.MONEY)
    ]
    theta: Annotated[Any, Headline("θ of the equilibrium: hyper-alert in the world `both`, unrenewed", figures.MONEY)]
    worst_case: Annotated[
        Any, Headline("least certainty equivalent over the threats, exact", figures.MONEY, shape="strategies")
    ]
    threatened: Annotated[
        Any,
        Headline(
            "certainty equivalents when attackers answer the quotes; threats: each of rate_factors with each "
            "of predator_factors, in rising order",
            figures.MONEY,
            shape="strategies × threats",
        ),
    ]
    insurance: Annotated[
        Any,
        Headline(
            "price of insurance: certainty equivalent given up against the best strategy in world exogenous",
            figures.MONEY,
            shape="strategies",
        ),
    ]
    pnl: Annotated[Any, Table("mean PnL m + qS at T without ruin, exact", figures.MONEY)]
    pnl_deviation: Annotated[Any, Table("standard deviation of PnL, exact", figures.MONEY)]
    sharpe: Annotated[Any, Table("mean over standard deviation of PnL at T, exact", optional=True)]
    pnl_simulated: Annotated[Any, Table("mean PnL of the simulated paths", figures.MONEY)]
    pnl_error: Annotated[Any, _half("pnl_simulated", figures.MONEY)]
    ruin: Annotated[Any, Table("share of paths ruined by loss")]
    ruin_error: Annotated[Any, _half("ruin")]
    pnl_ended: Annotated[Any, Table("mean PnL where ruin forces a sale and ends the day", figures.MONEY)]
    pnl_ended_error: Annotated[Any, _half("pnl_ended", figures.MONEY)]
    drawdown: Annotated[Any, Table("mean of the largest drawdown", figures.MONEY)]
    drawdown_error: Annotated[Any, _half("drawdown", figures.MONEY)]
    fills: Annotated[Any, Table("mean number of fills", "fills")]
    fills_error: Annotated[Any, _half("fills", "fills")]


def run(config: SurvivalConfig, context: RunContext) -> StudyResult:
    """Solve for the strategies, work out what is exact, simulate loss, certify the equilibrium."""
    limit = _checked_limit(config)
    game = game_of(config, "strategic")
    context.progress.update("solving", 0.0)
    quotes, equilibrium = strategies(game_of(config, "exogenous"), game, config.steps)
    held = {name: (starts(ask), starts(bid)) for name, (ask, bid) in quotes.items()}
    around = worlds(game, equilibrium, config.controller)
    dangers = threats(config.rate_factors, config.predator_factors)
    middle = config.inventory_max + config.start_inventory
    threat = np.zeros((len(STRATEGIES), len(dangers)))
    met: dict[str, list[Surroundings]] = {
        name: [dataclasses.replace(one, rates=starts(one.rates))] * len(STRATEGIES) for name, one in around.items()
    }
    met["worst"] = []
    for row, name in enumerate(STRATEGIES):
        context.progress.update("threatening", 0.1 + 0.2 * row / len(STRATEGIES))
        for column, danger in enumerate(dangers):
            value, made = threatened(game, held[name], *danger)
            threat[row, column] = value[0, middle]
        met["worst"].append(made)
    context.progress.update("solving the chains", 0.3)
    exact = _exact(game, held, met, limit, middle)
    moving = {name: (middles(ask), middles(bid)) for name, (ask, bid) in quotes.items()}
    continuous = _continuous(game, moving, around, limit, middle, dangers[-1])
    outcomes = {}
    for index, world in enumerate(WORLDS):
        context.progress.update(f"simulating {world}", 0.4 + 0.6 * index / len(WORLDS))
        outcomes[world] = context.stage(
            f"{world}.events", lambda world=world: _simulate(config, context, game, held, met[world])
        )
    simulated = _simulated(outcomes, limit, np.abs(exact["survival"] - continuous))
    profile = profile_of(game, equilibrium)
    certificate = verify(config, profile, context)
    context.log(str(certificate))
    insurance = exact["certainty_equivalent"][:, 1].max() - exact["certainty_equivalent"][:, 1]
    headline = SurvivalHeadline(
        **exact,
        **simulated,
        survival_continuous=continuous,
        theta=float(equilibrium.theta[0, 0, middle]),
        threatened=threat,
        worst_case=threat.min(axis=1),
        insurance=insurance,
    )
    return StudyResult(
        headline,
        certificate=certificate,
        warnings=unit_warnings(game),
        arrays={"pnl": _sample(outcomes), "outcomes": _outcomes(headline, dangers)},
        profile=profile,
    )


def verify(config: SurvivalConfig, profile: Any, context: RunContext) -> Certificate:
    """The equilibrium among the strategies, by best responses of every player (`certify_market_maker`)."""
    return certify_market_maker(game_of(config, "strategic"), profile)


def _checked_limit(config: SurvivalConfig) -> int:
    limit = config.inventory_limit if config.inventory_limit is not None else config.inventory_max
    if limit > config.inventory_max:
        raise InvalidInput("inventory_limit", limit, f"at most inventory_max = {config.inventory_max}")
    if abs(config.start_inventory) >= limit:
        raise InvalidInput("start_inventory", config.start_inventory, f"inside the inventory limit, {limit}")
    for name in ("rate_factors", "predator_factors"):
        if not getattr(config, name):
            raise InvalidInput(name, getattr(config, name), "a list of at least one number")
    return limit


def _exact(
    game: MarketMakingGame, quotes: dict[str, Quotes], met: dict[str, list[Surroundings]], limit: int, middle: int
) -> dict[str, np.ndarray]:
    """What the chain says, from regime 0 and the start inventory: strategies × worlds."""
    names = ("survival", "certainty_equivalent", "pnl", "pnl_deviation")
    found = {name: np.zeros((len(STRATEGIES), len(WORLDS))) for name in names}
    for row, strategy in enumerate(STRATEGIES):
        for column, world in enumerate(WORLDS):
            pair, around = quotes[strategy], met[world][row]
            moments = wealth_moments(game, *pair, around)
            tables = (
                inventory_survival(game, *pair, around, limit=limit),
                certainty_equivalents(game, *pair, around),
                moments.mean,
                moments.deviation,
            )
            for name, table in zip(names, tables, strict=True):
                found[name][row, column] = float(table[0, middle])
    return found | {"sharpe": found["pnl"] / np.where(found["pnl_deviation"] > 0, found["pnl_deviation"], np.nan)}


def _continuous(
    game: MarketMakingGame,
    quotes: dict[str, Quotes],
    around: dict[str, Surroundings],
    limit: int,
    middle: int,
    danger: tuple[float, float],
) -> np.ndarray:
    """Survival where quotes and efforts move all the time, to second order in the step."""
    found = np.zeros((len(STRATEGIES), len(WORLDS)))
    for row, strategy in enumerate(STRATEGIES):
        worst = threatened(game, quotes[strategy], *danger)[1]
        for column, world in enumerate(WORLDS):
            one = worst if world == "worst" else dataclasses.replace(around[world], rates=middles(around[world].rates))
            found[row, column] = float(inventory_survival(game, *quotes[strategy], one, limit=limit)[0, middle])
    return found


def _simulate(
    config: SurvivalConfig,
    context: RunContext,
    game: MarketMakingGame,
    quotes: dict[str, Quotes],
    met: list[Surroundings],
) -> dict[str, np.ndarray]:
    held = np.abs(game.inventory.astype(float))
    cost = np.broadcast_to(config.book_half_spread * held + 0.5 * config.book_slope * held**2, met[0].push.shape)
    pairs = zip(STRATEGIES, met, strict=True)
    tables = np.stack([step_table(game, *quotes[name], around, cost=cost) for name, around in pairs])
    found: Outcomes = simulate_quotes(
        game,
        tables,
        context.key,
        paths=config.paths,
        start_inventory=config.start_inventory,
        loss_limit=config.loss_limit,
    )
    names = ("wealth", "largest_inventory", "drawdown", "fills", "ruined", "ended")
    return {name: np.asarray(getattr(found, name)) for name in names}


def _simulated(outcomes: dict[str, dict[str, np.ndarray]], limit: int, step: np.ndarray) -> dict[str, np.ndarray]:
    """Means of the simulated paths and their 95% half-widths, strategies × worlds; `step` widens survival's."""
    found: dict[str, np.ndarray] = {}
    shape = (len(STRATEGIES), len(WORLDS))
    for column, world in enumerate(WORLDS):
        paths = outcomes[world]
        for name, sample in (
            ("survival_simulated", paths["largest_inventory"] < limit),
            ("ruin", paths["ruined"]),
            ("pnl_simulated", paths["wealth"]),
            ("pnl_ended", paths["ended"]),
            ("drawdown", paths["drawdown"]),
            ("fills", paths["fills"]),
        ):
            share = name in ("survival_simulated", "ruin")
            error = f"{name.removesuffix('_simulated')}_error"
            mean, half = interval(np.asarray(sample, np.float64), share)
            found.setdefault(name, np.zeros(shape))[:, column] = mean
            found.setdefault(error, np.zeros(shape))[:, column] = half + (
                step[:, column] if name == "survival_simulated" else 0.0
            )
    return found


def interval(sample: np.ndarray, share: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean of every row and how far the ends of its 95% interval are from it: Wilson's for shares, Student's normal."""
    n = sample.shape[1]
    mean = sample.mean(axis=1)
    if not share:
        return mean, Z95 * sample.std(axis=1, ddof=1) / np.sqrt(n)
    found = [binomtest(int(count), n).proportion_ci(method="wilson") for count in sample.sum(axis=1).round()]
    ends = np.array(found)
    return mean, np.abs(ends - mean[:, None]).max(axis=1)


def _sample(outcomes: dict[str, dict[str, np.ndarray]]) -> xarray.Dataset:
    """PnL of the first 20,000 paths of every cell, with forced sales at ruin."""
    pnl = np.stack([outcomes[world]["ended"][:, :20_000] for world in WORLDS], axis=1)
    return xarray.Dataset(
        {"pnl": (("strategy", "world", "path"), pnl, {"units": "price × inventory"})},
        coords={"strategy": list(STRATEGIES), "world": list(WORLDS)},
    )


def _outcomes(headline: SurvivalHeadline, dangers: list[tuple[float, float]]) -> xarray.Dataset:
    """The tables behind the figures."""
    both, money = ("strategy", "world"), {"units": figures.MONEY, "long_name": "certainty equivalent"}
    tables = ("survival", "survival_simulated", "survival_error", "ruin", "ruin_error", "pnl_ended")
    return xarray.Dataset(
        {name: (both, getattr(headline, name)) for name in tables}
        | {
            "threatened": (("strategy", "threat"), headline.threatened, money),
            "insurance": ("strategy", headline.insurance, money),
            "worst_case": ("strategy", headline.worst_case, money),
        },
        coords={
            "strategy": list(STRATEGIES),
            "world": list(WORLDS),
            "threat": (
                "threat",
                [f"{rate:g}, {predator:g}" for rate, predator in dangers],
                {"long_name": "threat: rates ×, predator ×; the attacker answers the quotes"},
            ),
        },
    )


def memory(config: SurvivalConfig) -> dict[str, float]:
    """Wealth and loss of every path and pair, and every strategy's quotes."""
    pairs = len(STRATEGIES) * len(WORLDS)
    return {
        "paths": 8.0 * 2 * pairs * config.paths,
        "steps, inventory_max": len(STRATEGIES) * solution_memory(config, config.steps) / 3,
    }


STUDY = Study(
    name="market-maker-survival",
    source="Pan & Zhu 2025 (arXiv 2512.18098), future work (a): survival under a malicious regime controller",
    shows="which of five quoting strategies (naive, classical, robust, regime-aware, hyper-alert) survives in six "
    "worlds (calm, exogenous, predator, controller, both, worst), and what insurance against the worst costs",
    config=SurvivalConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {"paths": 20_000, "steps": 200}, "paper": {}},
    minutes={"quick": 1, "paper": 4},
    headline=SurvivalHeadline,
    example="diffgames run market-maker-survival --set controller=full loss_limit=2",
    published="survival as work to do, no numbers",
    figures={
        "survival": Drawing(
            "which strategy survives in which world", "outcomes", figures.survival, width=9.0, height=4.2
        ),
        "ruin": Drawing("which loses most on the way", "outcomes", figures.ruin, width=9.0, height=4.2),
        "insurance": Drawing(
            "what is lost in the worst case, and what not losing it costs",
            "outcomes",
            lines("threatened", by="strategy", marker="o", title="Worth under every threat"),
            figures.insurance,
            width=5.4,
        ),
        "distributions": Drawing(
            "who loses rarely and much", "pnl", figures.densities("calm"), figures.densities("worst"), width=5.4
        ),
    },
)
