"""How games are solved. `solve(game)` is the front door for linear-quadratic games."""

from diffgames.solvers.base import Outcome, Status
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.recursion import Recursion
from diffgames.solvers.riccati import Riccati, escape_time
from diffgames.solvers.solve import solve
from diffgames.solvers.stationary import Stationary, mean_square_abscissa
from diffgames.solvers.stationary_equilibria import stationary_equilibria

__all__ = [
    "LinearQuadraticSolution",
    "Outcome",
    "Recursion",
    "Riccati",
    "Stationary",
    "Status",
    "escape_time",
    "mean_square_abscissa",
    "solve",
    "stationary_equilibria",
]
