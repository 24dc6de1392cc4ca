"""Hamilton–Jacobi–Bellman equations on grids: stochastic control, stopping and valuation, with jumps and regimes.

    −∂_t V_i + ρ V_i = min_u { c + b·∇V_i + ½ σσᵀ:∇²V_i + Σ_l λ_l 𝒥_l V_i + Σ_j μ_ij (V_j − V_i) },  V_i(T) = g_i

(max for a player that maximises), the case of one player of `solvers.isaacs`, which see for the scheme. With a right to
stop at cost ψ the equation becomes a variational inequality, V = min(V, ψ). A game whose only player has no control
(`control_sizes=(0,)`) is a linear equation: the expected cost itself.
"""

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, Profile
from diffgames.numerics.grid import Grid
from diffgames.solvers.control_search import AbstractControlSearch
from diffgames.solvers.grid_game import grid_game
from diffgames.solvers.grid_solution import GridSolution
from diffgames.solvers.grid_sweep import Stopping
from diffgames.solvers.isaacs import Stepping, solve_on_grid


def solve_hjb(
    game: DifferentialGame,
    grid: Grid,
    *,
    search: AbstractControlSearch | None = None,
    stepping: Stepping | None = None,
    stopping: Stopping | None = None,
    others: Profile | None = None,
    leak_tolerance: float | None = 0.05,
) -> GridSolution:
    """Solve a control problem (one player with an objective) on `grid`; arguments as of `solve_isaacs`."""
    view = grid_game(game, grid, others)
    if view.minimiser is not None and view.maximiser is not None:
        raise InvalidInput("signs", game.signs, "one player with an objective; solve_isaacs takes two adversaries")
    return solve_on_grid(view, search, stepping, stopping, "upper", leak_tolerance)
