"""The minimum of a small crowd's potential by equation 4.3 on a grid: an answer that shares nothing with learning.

One or two players on a line, or one in the plane: the states are all positions, the planner's controls all velocities.
Where the weights of two players differ the sensitivities Y, which follow the controls alone, are states too: four axes,
whose ends are the positions' less the start. The grid spans where the learned paths go with room for noise and jumps,
and controls may be twice as large as the learned ones. What the last refinement of the cells changed tells the error;
errors of cells and of time steps have opposite signs where noise is small, so that values are not extrapolated.
"""

import jax.numpy as jnp
import numpy as np
import xarray as xr

from diffgames.games.crowd import CrowdCosts
from diffgames.games.distributed import DistributedGame
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.hjb import solve_hjb
from diffgames.solvers.potential_control import potential_control

CELLS = {1: (65, 129), 2: (65, 129), 4: (17, 25)}
"""Points per axis of the two grids, by the number of axes."""


def fits_a_grid(game: DistributedGame) -> bool:
    """Whether `potential_on_grid` takes the game: a crowd of two coordinates in all, velocities controlled."""
    small = game.player_count * game.state_size <= 2 and game.input is None
    return small and isinstance(game.costs, CrowdCosts) and hasattr(game.costs.interaction, "antisymmetric")


def potential_on_grid(game: DistributedGame, paths: xr.Dataset) -> tuple[float, float] | None:
    """Φ̂'s minimum from the initial states, and what the last refinement changed; `paths` as of `sample_paths`.

    None where the grid's ends are felt.
    """
    samples, deviation = paths["sample"].values, float(paths["deviation"].values.max())
    steps = np.diff(paths["time"].values)[:, None, None]
    fastest = float(np.abs(np.diff(paths["mean"].values, axis=0) / steps).max())
    speed = 2.0 * max(fastest, float(np.sqrt(paths["effort"].values.max())))
    assert isinstance(game.costs, CrowdCosts)
    targets = np.asarray(game.costs.targets, float)
    low = (np.minimum(samples.min(axis=(0, 1)), targets) - 3.0 * deviation - 0.2).reshape(-1)
    high = (np.maximum(samples.max(axis=(0, 1)), targets) + 3.0 * deviation + 0.2).reshape(-1)
    start = np.asarray(game.initial, float).reshape(-1)
    sensitivity = bool(getattr(game.costs.interaction, "antisymmetric"))  # noqa: B009 - see `fits_a_grid`
    if sensitivity:
        low, high = np.concatenate([low, low - start]), np.concatenate([high, high - start])
        start = np.concatenate([start, np.zeros_like(start)])
    values = []
    for cells in CELLS[start.size]:
        ends = enumerate(zip(low, high, strict=True))
        grid = Grid(tuple(Axis(f"z{k + 1}", float(a), float(b), cells) for k, (a, b) in ends))
        planner = potential_control(game, sensitivity=sensitivity, bound=speed)
        found = solve_hjb(planner, grid, search=Affine(), leak_tolerance=1.0)
        if found.leak_at_start is None or not float(found.leak_at_start) < 0.01:
            return None
        values.append(float(found.at(jnp.asarray(start))))
    return values[1], values[1] - values[0]
