"""The market maker's game in other units, written out from its docstring: for tests of invariance."""

import dataclasses

import numpy as np

from diffgames.games.market_making import MarketMakingGame

POWERS = {  # of price and of time in the unit of each number
    "gamma": (-1, 0),
    "k": (-1, 0),
    "ask_flow": (0, -1),
    "bid_flow": (0, -1),
    "sigma": (1, -0.5),
    "drift": (1, -1),
    "jump_rate": (0, -1),
    "jump_mean": (1, 0),
    "jump_deviation": (1, 0),
    "running_penalty": (1, -1),
    "terminal_penalty": (1, 0),
    "terminal_quadratic": (1, 0),
    "horizon": (0, 1),
    "generator": (0, -1),
    "attack": (0, -1),
    "stabilize": (0, -1),
    "effort_attack": (1, 0),
    "effort_stabilize": (1, 0),
}


def in_units(game: MarketMakingGame, price: float, time: float) -> MarketMakingGame:
    """The game with every price multiplied by `price` and every time by `time`."""
    powers = POWERS | {"xi": (2, -1) if game.predator == "utility" else (1, -1)}
    fields = {name: getattr(game, name) * np.float64(price**p * time**t) for name, (p, t) in powers.items()}
    return dataclasses.replace(game, **fields)
