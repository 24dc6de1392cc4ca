"""One front door: `solve(game)` picks the natural solver, `solve(game, solver)` is explicit.

| game | natural solver |
|---|---|
| `LinearQuadraticGame` | `Riccati` (finite horizon), `Recursion` (in discrete time), `Stationary` (without end) |
| `PartiallyObservedGame` | `kalman.separate`: the regulator's gains on a Kalman filter's estimate |
| `MarketMakingGame` | `solve_market_maker`, exact on the inventory grid |
| `PortfolioGame`, `InterBankGame`, `ExponentialAffineGame` | the equilibrium in closed form |
| `DistributedGame` with linear-quadratic costs | `potential_lq.exact`, the potential's optimum |
| `DiscreteMeanFieldGame` | `mean_field_discrete.solve_mean_field`, Newton's method |

Games that have no solver without further choices (a grid, a policy, a reading) are refused with the name of what takes
them. A solver of one's own is any function of the game.

>>> import math
>>> from diffgames.games.plain import regulator
>>> solution = solve(regulator(A=[[0.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], horizon=2.0))
>>> round(float(solution.gain("controller", "x")[0, 0]), 9), round(-math.tanh(2.0), 9)  # S = tanh(T − t)
(-0.96402758, -0.96402758)
"""

import dataclasses
from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame
from diffgames.games.distributed import DistributedGame
from diffgames.games.exponential_affine import ExponentialAffineGame
from diffgames.games.interbank import InterBankGame
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.market_making import MarketMakingGame
from diffgames.games.mean_field import TypedGame
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame
from diffgames.games.mean_field_grid import TypedMeanFieldGame
from diffgames.games.partial_observation import PartiallyObservedGame
from diffgames.games.portfolio import PortfolioGame
from diffgames.numerics.memory import DOUBLE, check_memory
from diffgames.numerics.precision import solving_in_double
from diffgames.solvers.kalman import separate
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.market_making import solve_market_maker
from diffgames.solvers.mean_field_discrete import solve_mean_field
from diffgames.solvers.potential_lq import exact, is_linear_quadratic
from diffgames.solvers.recursion import Recursion
from diffgames.solvers.riccati import Riccati, float64
from diffgames.solvers.stationary import Stationary

Solver = Callable[[Any], Any]

ACCEPTED = {
    Riccati: "continuous time, finite horizon",
    Recursion: "discrete time, finite horizon",
    Stationary: "infinite horizon",
}


@singledispatch
def natural_solver(game: Any) -> Solver:
    """The solver that fits the game; raises `InvalidInput` where none does without further choices."""
    raise InvalidInput("game", type(game).__name__, "a game of diffgames.games")


@natural_solver.register
def _(game: LinearQuadraticGame) -> Solver:
    if game.endless:
        return Stationary()
    return Recursion() if game.discrete else Riccati()


@natural_solver.register
def _(game: PartiallyObservedGame) -> Solver:
    return partial(separate, solve=solve)


@natural_solver.register
def _(game: MarketMakingGame) -> Solver:
    return solve_market_maker


@natural_solver.register
def _(game: PortfolioGame) -> Solver:
    return PortfolioGame.equilibrium


@natural_solver.register
def _(game: InterBankGame) -> Solver:
    return InterBankGame.equilibrium


@natural_solver.register
def _(game: ExponentialAffineGame) -> Solver:
    return ExponentialAffineGame.equilibrium


@natural_solver.register
def _(game: DistributedGame) -> Solver:
    if not is_linear_quadratic(game):
        raise InvalidInput(
            "game",
            type(game).__name__,
            "quadratic costs, or solver=…: one that learns, policy_gradient.learn_potential",
        )
    return exact


@natural_solver.register
def _(game: DifferentialGame) -> Solver:
    choices = "hjb.solve_hjb (one player) or isaacs.solve_isaacs (two adversaries), with a grid"
    raise InvalidInput(
        "game",
        type(game).__name__,
        f"a game that is solved in closed form, or solver=…: {choices}; or as_markov_game and train",
    )


@natural_solver.register
def _(game: DiscreteMeanFieldGame) -> Solver:
    return solve_mean_field


@natural_solver.register
def _(game: TypedMeanFieldGame) -> Solver:
    choices = "partial(mean_field_newton.solve_mean_field, cells=Cells(…), steps=…)"
    if not np.isfinite(game.horizon):
        choices = "partial(mean_field_ergodic.solve_ergodic, cells=Cells(…))"
    raise InvalidInput("solver", "natural", f"solver={choices}: a crowd needs cells")


@natural_solver.register
def _(game: TypedGame) -> Solver:
    raise InvalidInput("game", "TypedGame", "mean_field.typed_linear_quadratic(game, reading) of it")


def solve(game: Any, solver: Solver | None = None, *, throw: bool = True) -> Any:
    """Solve a game, a linear-quadratic one in float64.

    A failure (finite escape, a stage game without equilibrium, …) raises `RunFailed`, which says why and what to try.
    With `throw=False`, and always inside `jax.jit` and `jax.vmap`, that of a linear-quadratic game is in the solution's
    `outcome` instead. Raises `InvalidInput` where the solver does not take the game.
    """
    if isinstance(game, LinearQuadraticGame):
        return _linear_quadratic(game, solver or natural_solver(game), throw)
    if type(solver) in ACCEPTED:
        raise InvalidInput("solver", type(solver).__name__, f"a solver of {type(game).__name__}")
    return (solver or natural_solver(game))(game)


def _linear_quadratic(game: LinearQuadraticGame, solver: Solver, throw: bool) -> LinearQuadraticSolution:
    wanted = type(natural_solver(game))
    if type(solver) in ACCEPTED and type(solver) is not wanted:
        allowed = f"{wanted.__name__} for this game ({ACCEPTED[wanted]})"
        raise InvalidInput("solver", type(solver).__name__, allowed)
    _check_memory(game, solver)
    solution = _in_float64(solver, game)
    if throw and solution.outcome.known and (failure := solution.outcome.failure) is not None:
        raise failure
    return solution


def _check_memory(game: LinearQuadraticGame, solver: Solver) -> None:
    """`InvalidInput` where the values at all times, or the matrix of Newton's method, are more than memory holds."""
    count, m, n, total = len(game.players), game.regime_count, game.size, sum(game.control_sizes)
    values = count * m * n * n
    if isinstance(solver, Stationary):
        held, what = (count * m * n * (n + 1) / 2) ** 2, "Newton's matrix"
    elif isinstance(game.horizon, Tracer):
        return
    else:
        times = solver.nodes if isinstance(solver, Riccati) else float(np.max(np.asarray(game.horizon))) + 1
        held, what = times * (2.0 * values + 4.0 * m * total * (n + total)), f"values and gains at {times:.0f} times"
    sizes = f"{count} players, {n - 1} states, {m} regimes"
    key = "horizon" if game.discrete and held > 1e3 * values * count else "game"
    needed = DOUBLE * (held + count * m * total**2)
    check_memory(key, game.horizon if key == "horizon" else sizes, needed, f"{what} of {sizes}")


@solving_in_double
def _in_float64(solver: Solver, game: LinearQuadraticGame) -> LinearQuadraticSolution:
    wide = float64(game)
    solution = solver(_with_numbers(wide))
    return dataclasses.replace(solution, game=wide) if isinstance(solution, LinearQuadraticSolution) else solution


def _with_numbers(game: LinearQuadraticGame) -> LinearQuadraticGame:
    """The game with horizon and discount as arrays, so that another value is no other program (steps shape one)."""
    fixed = game.discrete or game.endless
    horizon = game.horizon if fixed else jnp.asarray(game.horizon, jnp.float64)
    return dataclasses.replace(game, horizon=horizon, discount=jnp.asarray(game.discount, jnp.float64))
