"""Five ways to quote and five worlds to quote in: the rows and columns of the survival table.

Strategies, each knowing one thing more than the one before:

- naive: one constant half spread, the time average of Avellaneda and Stoikov's in regime 0, no skew, in every regime,
- classical: Avellaneda and Stoikov's quotes at the volatility of the present regime,
- robust: the same against the predator, σ²_eff in the place of σ²,
- regime-aware: exact quotes on the inventory grid against the predator, regimes switching by themselves,
- hyper-alert: the equilibrium of the whole game, regimes under attack.

Worlds: calm (regime 0 for ever), exogenous switching, predator only (in regime 0), regime controller only, both. The
controller plays its equilibrium efforts at the market maker's present inventory, or its full effort against none of
the stabilizer's (`controller="full"`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.games.market_making import MarketMakingGame
from diffgames.simulation.market_maker import Surroundings
from diffgames.solvers.market_making import MarketMakerSolution, solve_market_maker
from diffgames.solvers.market_making_closed import short_horizon_quotes

STRATEGIES = ("naive", "classical", "robust", "regime-aware", "hyper-alert")
WORLDS = ("calm", "exogenous", "predator", "controller", "both")

Quotes = tuple[np.ndarray, np.ndarray]


def strategies(
    exogenous: MarketMakingGame, strategic: MarketMakingGame, steps: int
) -> tuple[dict[str, Quotes], MarketMakerSolution]:
    """Ask and bid tables [steps, N, K, Z] of every strategy at the start of each step, and the equilibrium."""
    aware = solve_market_maker(exogenous, steps=steps)
    alert = solve_market_maker(strategic, steps=steps)
    with jax.enable_x64(True):
        tau = alert.time[::-1][:steps]
        classical = _quotes(short_horizon_quotes(exogenous, tau, predator=False, switching=False), exogenous)
        robust = _quotes(short_horizon_quotes(exogenous, tau, predator=True, switching=False), exogenous)
    half = 0.5 * (classical[0] + classical[1])[:, :1].mean(axis=0, keepdims=True)
    naive = np.broadcast_to(half, classical[0].shape)
    found = {"naive": (naive, naive), "classical": classical, "robust": robust}
    for name, solution in (("regime-aware", aware), ("hyper-alert", alert)):
        found[name] = (np.asarray(solution.ask)[:-1], np.asarray(solution.bid)[:-1])
    return found, alert


def worlds(game: MarketMakingGame, equilibrium: MarketMakerSolution, controller: str) -> dict[str, Surroundings]:
    """What the strategies meet, in the order of `WORLDS`."""
    played = np.asarray(equilibrium.rates)[:-1]
    still = np.zeros_like(played)
    base = np.array(np.asarray(game.generator))
    np.fill_diagonal(base, 0.0)
    chance = np.broadcast_to(base[None, :, :, None], played.shape)
    if controller == "full":
        full = base + float(game.attack_max) * np.asarray(game.attack)
        played = np.broadcast_to(full[None, :, :, None], played.shape)
    count = game.inventory.size
    push = -float(game.predator_drift) * np.broadcast_to(game.inventory.astype(float), (game.regimes, count))
    quiet = np.zeros_like(push)
    pairs: dict[str, tuple[Any, Any]] = {
        "calm": (still, quiet),
        "exogenous": (chance, quiet),
        "predator": (still, push),
        "controller": (played, quiet),
        "both": (played, push),
    }
    with jax.enable_x64(True):
        return {name: Surroundings(rates=jnp.asarray(r), push=jnp.asarray(w)) for name, (r, w) in pairs.items()}


def _quotes(pair: Any, game: MarketMakingGame) -> Quotes:
    """Quotes for the first trade size, offered for every size."""
    ask, bid = (np.repeat(np.asarray(table)[..., None], len(game.sizes), axis=-1) for table in pair)
    return ask, bid
