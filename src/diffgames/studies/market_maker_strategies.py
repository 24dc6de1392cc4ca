"""Five ways to quote, six worlds to quote in, and the threats that a quote is insured against.

Strategies, each knowing one thing more than the one before:

- naive: one constant half spread, the time average of Avellaneda and Stoikov's in regime 0, no skew, in every regime,
- classical: Avellaneda and Stoikov's quotes at the volatility of the present regime,
- robust: the same against the predator, σ²_eff in the place of σ²,
- regime-aware: exact quotes on the inventory grid against the predator, regimes switching by themselves,
- hyper-alert: the equilibrium of the whole game, regimes under attack.

Worlds: calm (regime 0 for ever), exogenous switching, predator only (in regime 0), regime controller only, both, worst.
The controller plays its equilibrium efforts at the market maker's present inventory, or its full effort against none of
the stabilizer's (`controller="full"`). In the worst world it answers the very strategy it meets (`worst_reply`),
without a stabilizer, where regimes switch faster and the predator is stronger than thought: the harshest threat.

Tables are kept at starts, middles and ends of steps, 2S + 1 times.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.games.market_making import MarketMakingGame
from diffgames.numerics.precision import in_double
from diffgames.simulation.market_maker import Surroundings, predator_push
from diffgames.simulation.market_maker_exact import worst_reply
from diffgames.solvers.market_making import MarketMakerSolution, solve_market_maker
from diffgames.solvers.market_making_closed import short_horizon_quotes

STRATEGIES = ("naive", "classical", "robust", "regime-aware", "hyper-alert")
WORLDS = ("calm", "exogenous", "predator", "controller", "both", "worst")

Quotes = tuple[np.ndarray, np.ndarray]


def strategies(
    exogenous: MarketMakingGame, strategic: MarketMakingGame, steps: int
) -> tuple[dict[str, Quotes], MarketMakerSolution]:
    """Ask and bid tables [2·steps + 1, N, K, Z] of every strategy, and the equilibrium on the same times."""
    aware = solve_market_maker(exogenous, steps=2 * steps)
    alert = solve_market_maker(strategic, steps=2 * steps)
    with jax.enable_x64(True):
        tau = alert.time[::-1]
        classical = _quotes(short_horizon_quotes(exogenous, tau, predator=False, switching=False), exogenous)
        robust = _quotes(short_horizon_quotes(exogenous, tau, predator=True, switching=False), exogenous)
    half = middles(0.5 * (classical[0] + classical[1]))[:, :1].mean(axis=0, keepdims=True)
    naive = np.broadcast_to(half, classical[0].shape)
    found = {"naive": (naive, naive), "classical": classical, "robust": robust}
    for name, solution in (("regime-aware", aware), ("hyper-alert", alert)):
        found[name] = (np.asarray(solution.ask), np.asarray(solution.bid))
    return found, alert


def starts(table: Any) -> np.ndarray:
    """The rows of a table [2S + 1, …] at the starts of steps."""
    return np.asarray(table)[:-1:2]


def middles(table: Any) -> np.ndarray:
    """The rows of a table [2S + 1, …] in the middles of steps."""
    return np.asarray(table)[1::2]


def worlds(game: MarketMakingGame, equilibrium: MarketMakerSolution, controller: str) -> dict[str, Surroundings]:
    """What all strategies meet alike, in the order of `WORLDS`: rates at starts, middles and ends of steps."""
    played = np.asarray(equilibrium.rates)
    still, chance = np.zeros_like(played), _by_chance(game, played.shape[0])
    if controller == "full":
        played = chance + float(game.attack_max) * np.asarray(game.attack)[None, :, :, None]
    predator = predator_push(game)
    quiet = (np.zeros_like(predator[0]), np.zeros_like(predator[1]))
    return {
        "calm": _surroundings(still, quiet),
        "exogenous": _surroundings(chance, quiet),
        "predator": _surroundings(still, predator),
        "controller": _surroundings(played, quiet),
        "both": _surroundings(played, predator),
    }


@in_double
def threatened(
    game: MarketMakingGame, quotes: Quotes, rates: float, predator: float
) -> tuple[np.ndarray, Surroundings]:
    """Certainty equivalents [N, K] of quotes [S, …] that the attacker answers, and what it makes of the market.

    All switching, the attacker's included, is `rates` times as fast as in the game, the predator `predator` times as
    strong.
    """
    faster = dataclasses.replace(game, attack=rates * game.attack)
    around = _surroundings(rates * _by_chance(game, quotes[0].shape[0]), predator_push(game, predator))
    value, made = worst_reply(faster, *quotes, around)
    return np.asarray(value), dataclasses.replace(around, rates=made)


def threats(rates: Sequence[float], predators: Sequence[float]) -> list[tuple[float, float]]:
    """Every pair of factors on switching rates and on the predator's strength, the harshest last."""
    return [(rate, predator) for rate in sorted(rates) for predator in sorted(predators)]


def _by_chance(game: MarketMakingGame, times: int) -> np.ndarray:
    base = np.array(np.asarray(game.generator))
    np.fill_diagonal(base, 0.0)
    return np.broadcast_to(base[None, :, :, None], (times, *base.shape, game.inventory.size))


def _surroundings(rates: np.ndarray, predator: tuple[np.ndarray, np.ndarray]) -> Surroundings:
    with jax.enable_x64(True):
        return Surroundings(*(jnp.asarray(table) for table in (rates, *predator)))


def _quotes(pair: Any, game: MarketMakingGame) -> Quotes:
    """Quotes for the first trade size, offered for every size."""
    ask, bid = (np.repeat(np.asarray(table)[..., None], len(game.sizes), axis=-1) for table in pair)
    return ask, bid
