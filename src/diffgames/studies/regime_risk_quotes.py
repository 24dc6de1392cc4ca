"""What regime risk is worth: quotes that know none of it, its chances, or its attack, each in every world.

Three quote sets solve the same market: *alone*, every regime as if it lasted for ever; *chance*, regimes switching by
themselves; *attack*, the game over regimes. Each is then played where it is wrong: where regimes stand still, switch by
chance, are fought over in equilibrium, and where an attacker without opponent answers the very quotes it meets at
switching rates as given and four times that. Certainty equivalents are exact (`simulation.market_maker_exact`), from
regime 0 without inventory, against the predator; of quotes kept over a step at their value in its middle.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from diffgames.games.market_making import MarketMakingGame
from diffgames.numerics.precision import in_double
from diffgames.plotting import colour_bar, label, new_figure
from diffgames.simulation.market_maker_exact import certainty_equivalents
from diffgames.solvers.market_making import MarketMakerSolution, solve_market_maker
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of
from diffgames.studies.market_maker_strategies import middles, threatened, worlds

QUOTES = ("alone", "chance", "attack")
WORLDS = ("still", "chance", "equilibrium", "worst reply", "worst, rates ×4")
_SWITCHING = ("none", "exogenous", "strategic")


@in_double
def quote_sets(config: MarketMakingParameters, steps: int) -> dict[str, MarketMakerSolution]:
    """The three solutions at starts, middles and ends of steps, 2·steps + 1 times."""
    regimes = game_of(config, "strategic").regimes
    games = [game_of(config, switching) for switching in _SWITCHING]
    games = [one if one.regimes == regimes else _spread_out(one, regimes) for one in games]
    return {name: solve_market_maker(one, steps=2 * steps) for name, one in zip(QUOTES, games, strict=True)}


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


def spread_surfaces(game: MarketMakingGame, found: dict[str, MarketMakerSolution]) -> Figure:
    """Spreads over time and inventory in every regime: alone, and what chance and attack put on top."""
    figure, axes = new_figure(game.regimes, 3, width=4.4, height=2.8)
    spreads = [(np.asarray(found[name].ask) + np.asarray(found[name].bid))[..., 0] for name in QUOTES]
    panels = [spreads[0], spreads[1] - spreads[0], spreads[2] - spreads[1]]
    words = ("spread without regime risk", "added for chance", "added for the attack")
    time = np.asarray(found["attack"].time)
    for column, (values, title) in enumerate(zip(panels, words, strict=True)):
        for regime in range(game.regimes):
            ax = axes[3 * regime + column]
            shades = "cividis" if column == 0 else "PuOr"
            top = float(np.nanmax(np.abs(values[:, regime])))
            limits = {} if column == 0 else {"vmin": -max(top, 1e-12), "vmax": max(top, 1e-12)}
            image = ax.pcolormesh(
                time, game.inventory, values[:, regime].T, cmap=shades, shading="nearest", rasterized=True, **limits
            )
            ax.grid(False)
            colour_bar(image, [ax], "price")
            label(ax, x=("time", ""), y=("inventory q", ""), title=f"regime {regime}: {title}")
    return figure


def wrong_worlds(table: np.ndarray) -> Figure:
    """What every quote set gives up against the best of the three in each world, and its certainty equivalent."""
    figure, (ax,) = new_figure(width=8.2, height=3.2)
    lost = table.max(axis=0) - table
    image = ax.imshow(np.maximum(lost, 0.0), cmap="cividis_r", aspect="auto", vmin=0.0, vmax=max(lost.max(), 1e-12))
    ax.grid(False)
    for i in range(lost.shape[0]):
        for j in range(lost.shape[1]):
            dark = lost[i, j] > 0.5 * lost.max()
            words = f"{table[i, j]:.2f}\n" + (f"(−{lost[i, j]:.3f})" if lost[i, j] > 0 else "(best)")
            ax.text(j, i, words, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    ax.set_xticks(range(len(WORLDS)), WORLDS)
    ax.set_yticks(range(len(QUOTES)), QUOTES)
    title = "Certainty equivalent (and loss against the best) in right and wrong worlds"
    label(ax, x=("world", ""), y=("quotes know of", ""), title=title)
    colour_bar(image, [ax], "lost [price × inventory]")
    return figure
