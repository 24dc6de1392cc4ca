"""One front door: `solve(game)` picks the natural solver, `solve(game, solver)` is explicit.

    finite horizon, continuous time: `Riccati`    discrete time: `Recursion`    without end: `Stationary`

>>> import jax.numpy as jnp
>>> from diffgames.games.plain import regulator
>>> solution = solve(regulator(A=[[0.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], horizon=2.0))
>>> round(float(solution.gain("controller", "x")[0, 0]), 9), round(-float(jnp.tanh(2.0)), 9)  # S = tanh(T − t)
(-0.96402758, -0.96402758)
"""

from collections.abc import Callable

import jax

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.recursion import Recursion
from diffgames.solvers.riccati import Riccati, float64
from diffgames.solvers.stationary import Stationary


def natural_solver(game: LinearQuadraticGame) -> Callable[[LinearQuadraticGame], LinearQuadraticSolution]:
    """The solver that fits the game's time and horizon."""
    if game.endless:
        return Stationary()
    return Recursion() if game.discrete else Riccati()


def solve(
    game: LinearQuadraticGame,
    solver: Callable[[LinearQuadraticGame], LinearQuadraticSolution] | None = None,
    *,
    throw: bool = True,
) -> LinearQuadraticSolution:
    """Solve a linear-quadratic game in float64.

    A failure (finite escape, a stage game without equilibrium, …) raises `RunFailed`, which says why and what to try;
    with `throw=False`, and always inside `jax.jit` and `jax.vmap`, it is in the solution's `outcome` instead.
    """
    if not isinstance(game, LinearQuadraticGame):
        raise InvalidInput("game", type(game).__name__, "a LinearQuadraticGame")
    solver = natural_solver(game) if solver is None else solver
    _check_fit(game, solver)
    with jax.enable_x64(True):
        solution = solver(float64(game))
    if throw and solution.outcome.known and (failure := solution.outcome.failure) is not None:
        raise failure
    return solution


def _check_fit(game: LinearQuadraticGame, solver: Callable) -> None:
    accepted = {Riccati: "continuous time, finite horizon", Recursion: "discrete time, finite horizon"}
    accepted[Stationary] = "infinite horizon"
    wanted = type(natural_solver(game))
    if type(solver) in accepted and type(solver) is not wanted:
        own = accepted[wanted]
        raise InvalidInput("solver", type(solver).__name__, f"{wanted.__name__} for this game ({own})")
