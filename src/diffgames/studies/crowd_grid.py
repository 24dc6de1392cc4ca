"""The minimum of a small crowd's potential by equation 4.3 on a grid: an answer that shares nothing with learning.

One or two players on a line, or one in the plane: the states are all positions, the planner's controls all velocities.
Where the weights of two players differ the states are (X − Y, Y), four axes: what the players would do without
controls, and the sensitivities, which follow the controls alone. The grid spans where the learned paths go with room
for noise and jumps, and controls may be twice as large as the learned ones. What the last halving of the cells changed
tells the error. Along the sensitivities, which have no noise, it is of first order in the cells, as is that of the time
steps, and extrapolated; without them the two have opposite signs where noise is small, so that values are not.
"""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from diffgames.games.crowd import CrowdCosts
from diffgames.games.distributed import DistributedGame
from diffgames.games.interaction import Pairs
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.distributed_paths import draw_noise, graded_grid, trajectory
from diffgames.solvers.hjb import solve_hjb
from diffgames.solvers.potential_control import potential_control

MOVED = {False: (65, 129), True: (21, 41)}
"""Points per axis that controls move, of the two grids: without sensitivities, and with them."""
FREE = 11
"""Points per axis of what the players would do without controls."""


def fits_a_grid(game: DistributedGame) -> bool:
    """Whether `potential_on_grid` takes the game: a crowd of two coordinates in all, velocities controlled."""
    small = game.player_count * game.state_size <= 2 and game.input is None
    return small and isinstance(game.costs, CrowdCosts) and isinstance(game.costs.interaction, Pairs)


def potential_on_grid(game: DistributedGame, paths: xr.Dataset) -> tuple[float, float] | None:
    """Φ̂'s minimum from the initial states, and what the last halving of cells changed; `paths` as of `sample_paths`.

    None where the grid's ends are felt.
    """
    samples, deviation = paths["sample"].values, float(paths["deviation"].values.max())
    steps = np.diff(paths["time"].values)[:, None, None]
    fastest = float(np.abs(np.diff(paths["mean"].values, axis=0) / steps).max())
    speed = 2.0 * max(fastest, float(np.sqrt(paths["effort"].values.max())))
    assert isinstance(game.costs, CrowdCosts) and isinstance(game.costs.interaction, Pairs)  # see `fits_a_grid`
    targets = np.asarray(game.costs.targets, float)
    sensitivity = game.costs.interaction.antisymmetric
    start, room = np.asarray(game.initial, float).reshape(-1), 3.0 * deviation + 0.2
    low = (np.minimum(samples.min(axis=(0, 1)), targets) - room).reshape(-1)
    high = (np.maximum(samples.max(axis=(0, 1)), targets) + room).reshape(-1)
    if sensitivity:
        spread = np.maximum(4.0 * _free_deviation(game), 0.05 * (high - low))  # also where there is no noise
        low, high = np.concatenate([start - spread, low - start]), np.concatenate([start + spread, high - start])
        start = np.concatenate([start, np.zeros_like(start)])
    values = []
    for moved in MOVED[sensitivity]:
        cells = [FREE] * (start.size // 2) + [moved] * (start.size // 2) if sensitivity else [moved] * start.size
        ends = enumerate(zip(low, high, cells, strict=True))
        grid = Grid(tuple(Axis(f"x{k + 1}", float(a), float(b), points) for k, (a, b, points) in ends))
        planner = potential_control(game, sensitivity=sensitivity, bound=speed)
        found = solve_hjb(planner, grid, search=Affine(), leak_tolerance=1.0)
        if found.leak_at_start is None or not float(found.leak_at_start) < 0.01:
            return None
        values.append(float(found.at(jnp.asarray(start))))
    change = values[1] - values[0]
    return values[1] + (change if sensitivity else 0.0), change


def _free_deviation(game: DistributedGame) -> np.ndarray:
    """Standard deviation of every coordinate at T without controls."""
    grid = graded_grid(float(game.horizon), 20)
    still = trajectory(game, lambda t, x, y: jnp.zeros_like(x), grid, draw_noise(game, grid, jax.random.key(0), 4000))
    return np.asarray(still.x[-1], float).std(axis=-1).T.reshape(-1)
