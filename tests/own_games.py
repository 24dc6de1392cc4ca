"""Games of a user's own, as they stand in a file: `diffgames run own_games.py:NAME`."""

import jax.numpy as jnp
import numpy as np

from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.plain import nash_game, regulator

REGULATOR = regulator(A=[[0.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], noise=[[0.3]], horizon=2.0)
DUEL = nash_game(
    A=[[0.9, 0.4], [-0.3, 0.8]],
    B=[np.eye(2), 0.5 * np.eye(2)],
    Q=[np.eye(2), 2 * np.eye(2)],
    R=[np.diag([1.0, 1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0, 1.0])],
    noise=0.3 * np.eye(2),
    horizon=6,
    discrete=True,
)
ENDLESS = regulator(A=[[0.1]], B=[[1.0]], Q=[[1.0]], R=[[0.5]], noise=[[0.3]])
ESCAPING = nash_game(
    A=[[0.0]],
    B=[[[1.0]], [[2.0]]],
    Q=[[[1.0]], [[1.0]]],
    R=[np.diag([1.0, -1.0])] * 2,
    signs=(1, -1),
    horizon=2.0,
)
MODULATED = LinearQuadraticGame(
    drift=jnp.zeros((2, 2, 2)),
    players=tuple(
        one.__class__(
            name=one.name,
            own_input=jnp.repeat(one.own_input, 2, axis=0),
            state_cost=jnp.stack([one.state_cost[0], 3.0 * one.state_cost[0]]),
            control_cost=jnp.repeat(one.control_cost, 2, axis=0),
            terminal_cost=jnp.repeat(one.terminal_cost, 2, axis=0),
        )
        for one in REGULATOR.players
    ),
    horizon=2.0,
    generator=lambda t, values: (
        jnp.asarray([[-1.0, 1.0], [0.0, 0.0]]) * jnp.where(values[0, 1, 0, 0] > values[0, 0, 0, 0], 2.0, 0.5)
    ),
)
PAIR = DifferentialGame(
    players=("left", "right"),
    control_sizes=(1, 1),
    drift=lambda t, x, u, i: u[0] + u[1],
    diffusion=lambda t, x, u, i: 0.2 * jnp.eye(1),
    running_cost=lambda t, x, u, i: jnp.concatenate([(x + 1) ** 2 + u[0] ** 2, (x - 1) ** 2 + u[1] ** 2]),
    terminal_cost=lambda x, i: jnp.zeros(2),
    initial=PointLaw(jnp.zeros(1)),
    horizon=1.0,
)
