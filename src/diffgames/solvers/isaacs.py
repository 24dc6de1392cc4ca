"""Hamilton–Jacobi–Isaacs equations on grids: zero-sum games of any dynamics in one to three (or four) dimensions.

With one objective J, minimised by u and maximised by w, values V_i(t, x) in regime i solve

    −∂_t V_i + ρ V_i = min_u max_w { c + b·∇V_i + ½ σσᵀ:∇²V_i + Σ_l λ_l 𝒥_l V_i + Σ_j μ_ij (V_j − V_i) },  V_i(T) = g_i,

the upper value (`order="upper"`), or with max min the lower one. Isaacs' condition says they agree; it is not assumed:
`GridSolution.isaacs_gap` is the largest difference of the two Hamiltonians that was met. A game with one player is a
control problem, for which `solvers.hjb` is the front door.

The scheme is monotone, so that it converges to the viscosity solution (Barles & Souganidis 1991), of order one in the
spacing where drift dominates.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame, Profile
from diffgames.numerics.grid import ARTIFICIAL, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.control_search import AbstractControlSearch, Levels
from diffgames.solvers.grid_game import GridGame, grid_game, is_concrete, state_dtype
from diffgames.solvers.grid_solution import GridFeedback, GridSolution
from diffgames.solvers.grid_steps import Timing, timing, traced_timing
from diffgames.solvers.grid_sweep import Stopping, Sweep, Swept, steady_state, sweep_back


class Stepping(eqx.Module):
    """How time is stepped.

    - `method`: `explicit`, `implicit` (policy iteration, any step) or `stationary` (a discounted game without end)
    - `steps`: their number, or None: as many as stability wants (explicit) or 100 (implicit)
    - `keep`: number of equal intervals of the horizon at whose ends value and feedback are kept
    - `breaks`: times inside the horizon at which coefficients jump, or a pulse begins or ends: steps end there
    - `policy_iterations`: most of them in one implicit step, or to the steady state
    """

    method: str = eqx.field(static=True, default="explicit")
    steps: int | None = eqx.field(static=True, default=None)
    keep: int = eqx.field(static=True, default=10)
    policy_iterations: int = eqx.field(static=True, default=60)
    breaks: tuple[float, ...] = eqx.field(static=True, default=(), converter=tuple)

    def __check_init__(self):
        if self.method not in ("explicit", "implicit", "stationary"):
            raise InvalidInput("method", self.method, "explicit, implicit or stationary")
        if self.keep < 1:
            raise InvalidInput("keep", self.keep, "an integer, at least 1")
        if self.steps is not None and (self.steps < 1 or self.steps % self.keep):
            raise InvalidInput("steps", self.steps, f"a positive multiple of keep = {self.keep}")


def solve_isaacs(
    game: DifferentialGame,
    grid: Grid,
    *,
    search: AbstractControlSearch | None = None,
    stepping: Stepping | None = None,
    stopping: Stopping | None = None,
    order: str = "upper",
    others: Profile | None = None,
    leak_tolerance: float | None = 0.05,
) -> GridSolution:
    """Solve a zero-sum game with two adversaries on `grid`, whose axes are the components of the state.

    `search` finds the min–max at a point (`Levels` by default). `others` is what players without an objective (sign 0)
    play. `leak_tolerance` bounds the probability, from the game's initial law, of meeting an artificial end of the grid
    (None: it is not measured). Raises `InvalidInput` for an unstable step, a negative intensity or an unbounded
    control set, `RunFailed` where the grid is too narrow or policy iteration does not settle.
    """
    view = grid_game(game, grid, others)
    if view.minimiser is None or view.maximiser is None:
        raise InvalidInput("signs", game.signs, "two adversaries, signs (1, -1); solve_hjb takes games with one player")
    return solve_on_grid(view, search, stepping, stopping, order, leak_tolerance)


def solve_on_grid(
    view: GridGame,
    search: AbstractControlSearch | None,
    stepping: Stepping | None,
    stopping: Stopping | None,
    order: str,
    leak_tolerance: float | None,
) -> GridSolution:
    """Solve a game prepared by `grid_game`; see `solve_isaacs`."""
    if order not in ("upper", "lower"):
        raise InvalidInput("order", order, "upper (the maximiser answers) or lower (the minimiser answers)")
    search, stepping = search or Levels(), stepping or Stepping()
    concrete = is_concrete((view.game, view.others))
    if isinstance(search, Affine):
        if any(axis.boundary == "constrained" for axis in view.grid.axes):
            raise InvalidInput("search", "Affine", "Levels where an axis is constrained")
        if concrete:
            search = search.fitted(view)
    sweep = Sweep(view, search, stopping or Stopping(), order, not uses_time(view, stopping or Stopping()))
    if stepping.method == "stationary":
        return _stationary(sweep, stepping)
    horizon = view.game.horizon
    if concrete and not np.isfinite(np.asarray(horizon)):
        raise InvalidInput("horizon", float(np.asarray(horizon)), "a finite one, or the method stationary")
    timed = _timed(sweep, stepping, concrete)
    if concrete:
        check_monotone(view, float(timed.slack))
    leaking = leaks(view.grid, leak_tolerance)
    swept = sweep_back(sweep, timed.mesh, stepping.method == "implicit", leaking)
    if not concrete and stepping.method == "explicit":  # nobody can be told: an unstable value is no number
        swept = swept._replace(value=jnp.where(timed.stability <= 1 + 1e-6, swept.value, jnp.nan))
    solution = _solution(sweep, swept, timed.steps, stepping.method, timed.stability)
    if concrete:
        check_solution(solution, leak_tolerance)
    return solution


def _timed(sweep: Sweep, stepping: Stepping, concrete: bool) -> Timing:
    least = math.ceil(100 / stepping.keep) * stepping.keep if stepping.method == "implicit" else None
    if concrete:
        return timing(sweep, stepping.keep, stepping.steps, stepping.breaks, least, remedy=", or the method implicit")
    steps = stepping.steps or least
    if steps is None:
        raise InvalidInput("steps", None, "a number, where parameters of the game are traced")
    if stepping.breaks:
        raise InvalidInput("breaks", stepping.breaks, "none, where parameters of the game are traced")
    return traced_timing(sweep, steps, stepping.keep)


def check_monotone(view: GridGame, slack: float) -> None:
    """`InvalidInput` where correlated noise and the spacings break the scheme's monotonicity."""
    if view.cross and slack < -1e-9:
        words = "spacings for which a_dd/h_d ≥ Σ_e |a_de|/h_e (covariance a): change the sizes of the axes or the state"
        raise InvalidInput("grid", [f"{a.name}: h = {a.spacing:.4g}" for a in view.grid.axes], words)


def uses_time(view: GridGame, stopping: Stopping) -> bool:
    """Whether coefficients or stopping costs read the time (conservative: they may yet not depend on it)."""
    dtype, sizes = state_dtype(view.game), [view.box(player)[0].size for player in (view.minimiser, view.maximiser)]

    def everything(t: Array, x: Array, i: Array) -> Any:
        stops = [cost(t, x, i) for cost in (stopping.minimiser, stopping.maximiser) if cost is not None]
        return view.coefficients(t, x, i, *(jnp.zeros(size, x.dtype) for size in sizes)), stops

    start = (jnp.zeros((), dtype), jnp.zeros(len(view.grid.axes), dtype), jnp.int32(0))
    traced = jax.make_jaxpr(everything)(*start).jaxpr
    time = traced.invars[0]
    return time in traced.outvars or any(time is read for equation in traced.eqns for read in equation.invars)


def _stationary(sweep: Sweep, stepping: Stepping) -> GridSolution:
    discount = sweep.view.game.discount
    if is_concrete(discount) and not np.all(np.asarray(discount) > 0):
        raise InvalidInput("discount", discount, "a positive rate, for a stationary problem")
    if not sweep.autonomous:
        raise InvalidInput("method", "stationary", "explicit or implicit: the game depends on time")
    swept = steady_state(sweep, stepping.policy_iterations)
    solution = _solution(sweep, swept, 0, "stationary", jnp.zeros((), sweep.dtype))
    if is_concrete(solution.residual):
        check_solution(solution, None)
    return solution


def _solution(sweep: Sweep, swept: Swept, steps: int, method: str, stability: Array) -> GridSolution:
    view, dtype = sweep.view, sweep.dtype
    grid, game, kept = view.grid, view.game, swept.value.shape[0]
    time = jnp.zeros(1, dtype)
    if steps:
        time = jnp.linspace(0.0, 1.0, kept, dtype=dtype) * jnp.asarray(game.horizon, dtype)
    feedback = GridFeedback(
        grid=grid,
        time=time,
        u=swept.u,
        w=swept.w,
        others=view.others,
        minimiser=view.minimiser,
        maximiser=view.maximiser,
        control_sizes=game.control_sizes,
    )
    leak = leak_at_start = None
    if swept.leak is not None:
        leak = swept.leak.reshape(-1, *grid.shape)
        leak_at_start = mean_leak(game, grid, swept.leak)
    return GridSolution(
        grid=grid,
        time=time,
        value=swept.value.reshape(kept, view.regimes, *grid.shape),
        feedback=feedback,
        isaacs_gap=jnp.max(swept.gap),
        leak=leak,
        leak_at_start=leak_at_start,
        stability=stability,
        iterations=swept.iterations,
        residual=swept.residual,
        players=game.players,
        objective=view.objective,
        steps=steps,
        method=method,
    )


def leaks(grid: Grid, leak_tolerance: float | None) -> bool:
    """Whether the leak is to be measured: it is asked for, and the grid has ends that are not the game's own."""
    return leak_tolerance is not None and bool(grid.edge(ARTIFICIAL).any())


def mean_leak(game: DifferentialGame, grid: Grid, leak: Float[Array, "regimes points"], draws: int = 256) -> Array:
    """Leak averaged over draws from the initial law."""
    x, i = jax.vmap(game.initial)(jax.random.split(jax.random.key(0), draws))
    indices, weights = grid.locate(x.T.astype(leak.dtype))
    return jnp.mean(jnp.sum(leak[i[None], indices] * weights, axis=0))


def check_solution(solution: GridSolution, leak_tolerance: float | None) -> None:
    """`RunFailed` for policy iteration that did not settle, and as `check_values`."""
    if float(solution.residual) > 1e-6:
        reason = f"policy iteration left a residual of {float(solution.residual):.2g} after {int(solution.iterations)}"
        raise RunFailed(reason, "more policy_iterations, smaller implicit steps, or the explicit method")
    check_values(solution.grid, solution.value, solution.leak_at_start, leak_tolerance)


def check_values(grid: Grid, value: Array, leak_at_start: Array | None, leak_tolerance: float | None) -> None:
    """`RunFailed` for values that are not finite, or a grid that leaks."""
    if not bool(jnp.all(jnp.isfinite(value))):
        raise RunFailed("the value on the grid is not finite", "check the costs at the ends of the grid, or more steps")
    if leak_tolerance is not None and leak_at_start is not None and float(leak_at_start) > leak_tolerance:
        ends = ", ".join(f"{a.name} {a.low:g}…{a.high:g}" for a in grid.axes if a.boundary in ARTIFICIAL)
        reason = f"the grid is too narrow: with probability {float(leak_at_start):.3g} the state meets an end of {ends}"
        raise RunFailed(reason, f"widen these axes, or allow more leak (now leak_tolerance = {leak_tolerance:g})")
