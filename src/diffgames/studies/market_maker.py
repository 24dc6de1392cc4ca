"""The adversarial market maker: quotes against a predator and a hostile regime controller (Pan & Zhu 2025).

Inside every regime a market maker quotes against a predator that pushes the price; over the regimes an attacker lures
the market into worse ones and a stabilizer holds it back. The game is solved exactly on the inventory grid and
certified by one-sided best responses of every player, computed by another integrator from the stored quotes. The
pre-emptive premium is the full spread (ask + bid offset) at zero inventory with strategic switching minus that with
exogenous switching: what the market maker charges for the regime being under attack.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame
from diffgames.games.switching_graph import generator_of, poincare_constant, spectral_gap, stationary_law
from diffgames.solvers.market_making import MarketMakerSolution, solve_market_maker
from diffgames.solvers.market_making_committed import solve_committed
from diffgames.studies import market_maker_figures as figures
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of, solution_memory, unit_warnings
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.market_maker import certify_committed, certify_market_maker


@dataclass(frozen=True, kw_only=True)
class MarketMakerConfig(MarketMakingParameters):
    """The game, who switches its regimes, and the grid on which quotes are stored."""

    switching: Annotated[
        Literal["none", "exogenous", "strategic"], Parameter("what moves the regimes: nothing, chance, a game")
    ] = "strategic"
    reading: Annotated[
        Literal["feedback", "committed"],
        Parameter("efforts take the market maker's value as given, or are policies that it answers"),
    ] = "feedback"
    steps: Annotated[int, Parameter("intervals of the stored time grid", "steps", minimum=1)] = 200


OnGrid = partial(Headline, shape="regimes × inventory −Q…Q")


@dataclass(frozen=True, kw_only=True)
class MarketMakerHeadline:
    """What is charged and done at t = 0, and what the attack on the regimes adds to it."""

    theta0: Annotated[Any, OnGrid("certainty equivalent θ at t = 0", "price × inventory")]
    ask: Annotated[
        Any,
        OnGrid("ask offset of the first trade size at t = 0, null where the side is closed", "price", optional=True),
    ]
    bid: Annotated[
        Any,
        OnGrid("bid offset of the first trade size at t = 0, null where the side is closed", "price", optional=True),
    ]
    attack_effort: Annotated[Any, OnGrid("attacker's effort f* at t = 0")]
    stabilize_effort: Annotated[Any, OnGrid("stabilizer's effort g* at t = 0")]
    spectral_gap: Annotated[Any, Headline("λ₂ of the equilibrium generator at t = 0", "1/time", shape="inventory −Q…Q")]
    poincare: Annotated[
        Any,
        Headline(
            "Poincaré constant of the same, null where a regime has no stationary weight",
            "1/time",
            shape="inventory −Q…Q",
            optional=True,
        ),
    ]
    premium: Annotated[
        Any,
        Headline(
            "full spread at q = 0, t = 0: strategic − exogenous switching; null where one is not defined",
            "price",
            shape="regimes",
            optional=True,
        ),
    ]
    premium_exogenous: Annotated[
        Any, Headline("the same: exogenous switching − none", "price", shape="regimes", optional=True)
    ]
    stress0: Annotated[Any, OnGrid("value U of the game over regimes at t = 0; zero without one", "stress × time")]


def run(config: MarketMakerConfig, context: RunContext) -> StudyResult:
    """Solve, compare with the quieter games, certify."""
    game = game_of(config, config.switching)
    context.progress.update("solving", 0.0)
    solution = _solve(config, game)
    spreads = {config.switching: np.asarray(solution.spread())}
    warnings = unit_warnings(game)
    if float(solution.sliding) > 0:
        warnings.append(
            "free efforts slide between nothing and all: found as the limit of small costs, the last of which moved "
            f"theta by at most {float(solution.sliding):.2g}"
        )
    for index, switching in enumerate(("none", "exogenous", "strategic")):
        context.progress.update("solving", (index + 1) / 4)
        if switching in spreads:
            continue
        try:
            other = game_of(config, switching)
        except InvalidInput as error:
            if config.switching == "strategic":
                raise
            warnings.append(f"no spread with {switching} switching to compare with: {error}")
            continue
        if other.regimes == game.regimes:
            spreads[switching] = np.asarray(_solve(config, other).spread())
    profile = profile_of(game, solution)
    certificate = verify(config, profile, context)
    context.log(str(certificate))
    mixing = mixing_of(game, solution)
    premium, ahead = _difference(spreads, "strategic", "exogenous"), _difference(spreads, "exogenous", "none")
    data = figures.dataset(game, solution).assign(
        {name: (("time", "inventory"), mixing[name], {"units": "1/time"}) for name in ("spectral_gap", "poincare")}
        | {
            "risk_difference": (
                "time",
                mixing["risk_difference"],
                {"units": "stress × time", "long_name": "risk difference at q = 0"},
            )
        }
        | {
            name: (("time", "regime"), table, {"units": "price"})
            for name, table in (("premium", premium), ("premium_exogenous", ahead))
            if table is not None
        }
    )
    return StudyResult(
        MarketMakerHeadline(
            theta0=np.asarray(solution.theta)[0],
            ask=np.asarray(solution.ask)[0, :, :, 0],
            bid=np.asarray(solution.bid)[0, :, :, 0],
            attack_effort=np.asarray(solution.attack_effort)[0],
            stabilize_effort=np.asarray(solution.stabilize_effort)[0],
            spectral_gap=mixing["spectral_gap"][0],
            poincare=[None if np.isnan(value) else value for value in mixing["poincare"][0]],
            premium=None if premium is None else premium[0],
            premium_exogenous=None if ahead is None else ahead[0],
            stress0=np.asarray(solution.stress)[0],
        ),
        certificate=certificate,
        warnings=warnings,
        arrays={"solution": data},
        profile=profile,
    )


def verify(config: MarketMakerConfig, profile: Any, context: RunContext) -> Certificate:
    """The certificate of a stored profile."""
    game = game_of(config, config.switching)
    committed = config.reading == "committed" and config.switching == "strategic"
    return certify_committed(game, profile) if committed else certify_market_maker(game, profile)


def _solve(config: MarketMakerConfig, game: MarketMakingGame) -> MarketMakerSolution:
    if config.reading == "committed" and game.switching == "strategic":
        return solve_committed(game, steps=config.steps)
    return solve_market_maker(game, steps=config.steps)


def profile_of(game: MarketMakingGame, solution: MarketMakerSolution) -> dict[str, np.ndarray]:
    """What the players do, as arrays: quotes and efforts on the time grid, the predator's push."""
    names = ("time", "theta", "stress", "ask", "bid", "attack_effort", "stabilize_effort")
    push = -float(game.predator_drift) * np.broadcast_to(game.inventory, (game.regimes, game.inventory.size))
    return {name: np.asarray(getattr(solution, name)) for name in names} | {"predator": push.astype(float)}


def mixing_of(game: MarketMakingGame, solution: MarketMakerSolution) -> dict[str, np.ndarray]:
    """How the equilibrium mixes regime risks: λ₂ and λ_P over time and inventory (NaN where not defined), and what is
    left to mix at q = 0, the deviation of U over regimes under the stationary law of the generator."""
    rates = np.moveaxis(np.asarray(solution.rates), 3, 1)  # [time, inventory, regime, regime]
    found = {
        name: np.array([[function(generator_of(one)) for one in row] for row in rates], float)
        for name, function in (("spectral_gap", spectral_gap), ("poincare", poincare_constant))
    }
    law = stationary_law(generator_of(np.asarray(game.generator)))
    stress = np.asarray(solution.stress)[:, :, game.inventory_max]
    centred = stress - (stress @ law)[:, None]
    return found | {"risk_difference": np.sqrt(np.maximum(centred**2 @ law, 0.0))}


def _difference(spreads: dict[str, np.ndarray], left: str, right: str) -> np.ndarray | None:
    return spreads[left] - spreads[right] if left in spreads and right in spreads else None


def memory(config: MarketMakerConfig) -> dict[str, float]:
    """The solution at all times."""
    return {"steps, inventory_max": solution_memory(config, config.steps)}


STUDY = Study(
    name="market-maker",
    source="Pan & Zhu 2025 (arXiv 2512.18098), cross-layer Avellaneda–Stoikov, its printed formulas corrected",
    shows="spreads rise before trouble: the premium that a market maker charges for regimes under attack",
    config=MarketMakerConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"steps": 1000}},
    minutes={"quick": 0.5, "paper": 1},
    headline=MarketMakerHeadline,
    example="diffgames run market-maker --set switching=strategic xi=1.0 predator=ce effort_attack=0",
    published="no numbers that are at hand (abstract and notes of the paper only)",
    figures={
        "premium": Drawing(
            "left: above zero in the regimes under attack, before anything has happened",
            "solution",
            figures.premium("premium", "Strategic − exogenous switching"),
            figures.premium("premium_exogenous", "Exogenous − no switching"),
        ),
        "spread_and_skew": Drawing(
            "spreads widen with inventory and regime; the skew leans against the inventory",
            "solution",
            whole=figures.spread_and_skew,
        ),
        "quotes": Drawing("ask and bid by time, inventory and regime", "solution", whole=figures.quote_surfaces),
        "regimes": Drawing(
            "arrows are as wide as their rates: the attacker thickens those into worse regimes",
            "solution",
            *figures.GRAPH,
            width=4.6,
            height=4.4,
        ),
        "mixing": Drawing(
            "the game moves the spectral gap where regimes' risks differ",
            "solution",
            figures.gap_surface,
            figures.mixing,
            lines("risk_difference", title="The risk that is left to mix"),
        ),
    },
)
