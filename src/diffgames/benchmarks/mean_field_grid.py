"""The two crowds of `studies.mean_field` by Newton's method: seconds, and steps as cells and noise change.

Each game is solved to a residual of 1e-9 from the law at rest, cells and steps equal in number; seconds are those of a
whole solve, checks included, best of three. Compilation is not counted, and is told. `steps_by_viscosity` gives both
types the diffusion ½σ² = ν on 100 cells. The largest gain that is left, on the same grid, says that games were solved.
"""

import time
from typing import Any

import jax

from diffgames.solvers.mean_field_equations import FlowSystem
from diffgames.solvers.mean_field_newton import MeanFieldSolution, solve_mean_field
from diffgames.studies.mean_field import MeanFieldConfig, cells_of, game_of

CELLS, VISCOSITIES, MIDDLE = (50, 80, 100, 200, 400), (1.0, 0.3, 0.1, 0.03, 0.01), 100


def run(cells: tuple[int, ...] = CELLS, viscosities: tuple[float, ...] = VISCOSITIES, middle: int = MIDDLE) -> dict:
    """Seconds and Newton steps by the number of cells, and by the viscosity on `middle` cells."""
    found: dict[str, Any] = {"device": jax.devices()[0].device_kind}
    by_cells = {n: _timed(MeanFieldConfig(), n) for n in cells}
    by_noise = {nu: _timed(MeanFieldConfig(sigma=((2.0 * nu) ** 0.5,) * 2), middle, 1) for nu in viscosities}
    found["seconds"] = {str(n): min(seconds[1:]) for n, (seconds, _) in by_cells.items()}
    found["seconds_with_compilation"] = {str(n): seconds[0] for n, (seconds, _) in by_cells.items()}
    found["steps"] = {str(n): one.iterations for n, (_, one) in by_cells.items()}
    found["steps_by_viscosity"] = {f"{nu:g}": one.iterations for nu, (_, one) in by_noise.items()}
    solved = [one for _, one in (*by_cells.values(), *by_noise.values())]
    found["unsolved"] = sum(not one.converged for one in solved)
    smallest = by_cells[min(cells)][1]
    found["exploitability"] = float(abs(FlowSystem(smallest.scheme, min(cells)).exploitability(smallest.values)).max())
    return found


def _timed(config: MeanFieldConfig, count: int, again: int = 3) -> tuple[list[float], MeanFieldSolution]:
    """Seconds of every solve, the first with compilation, and the last solution."""
    seconds, game, cells = [], game_of(config), cells_of(count)
    while True:
        started = time.perf_counter()
        solution = solve_mean_field(game, cells, count)
        seconds.append(time.perf_counter() - started)
        if len(seconds) > again:
            return seconds, solution
