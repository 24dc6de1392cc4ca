"""Seconds to solve the game of two planes on a grid of three dimensions, against hj_reachability on the same grid.

The game, grid (x −6…20, y −10…10, heading 0…2π, 51 points each), horizon 2.8 and scheme (first order Lax–Friedrichs,
explicit Euler steps under the same kind of step bound) are the peer's; both are given the tube as the set of values ≤ 0
and must agree on its size. The peer works in single precision as it does by default; ours is timed in single and in
double precision, and with the less diffusive upwind flux. Solves are timed after a first one that compiles, the best of
three, in wall and in CPU seconds (those of all threads together).

Without the peer (extra `bench`) the twin is `plain_solve` below: the same scheme in NumPy, whole arrays at once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.benchmarks.timing import best_of
from diffgames.errors import RunFailed
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.grid_game import grid_game
from diffgames.solvers.grid_steps import even_mesh
from diffgames.solvers.grid_sweep import Stopping, Sweep, sweep_back
from diffgames.studies.reach_avoid import ReachAvoidConfig, distance, grid_of, pursuit_game

POINTS = 51
STEPS = 345
"""Explicit steps of both schemes of ours and of the twin: 0.9 of the stability bound on this grid."""


def run() -> dict[str, Any]:
    """Seconds of ours and of the peer (or of the NumPy twin), their ratios, and the sizes of the tubes."""
    figures: dict[str, Any] = {"device": jax.devices()[0].device_kind, "points_per_axis": POINTS, "steps": STEPS}
    wall: dict[str, float] = {}
    cpu: dict[str, float] = {}
    tube: dict[str, float] = {}
    for precision in ("float32", "float64"):
        for flux in ("lax_friedrichs", "upwind"):
            name = f"ours_{flux}_{precision}"
            wall[name], cpu[name], tube[name] = _timed(lambda p=precision, f=flux: _ours(f, p))
    peer = "hj_reachability"
    try:
        wall[peer], cpu[peer], tube[peer] = _timed(_peer())
    except ImportError:
        peer = "numpy_twin"
        wall[peer], cpu[peer], tube[peer] = _timed(lambda: plain_solve(POINTS, STEPS))
    ours = "ours_lax_friedrichs_float32"
    if abs(tube[ours] - tube[peer]) > 1e-3:
        raise RunFailed(f"the tubes differ: {tube[ours]:.5f} and {tube[peer]:.5f} of the grid", "compare the schemes")
    figures |= {"peer": peer, "wall_seconds": wall, "cpu_seconds": cpu, "tube_fraction": tube}
    figures["wall_ratio"] = {name: wall[peer] / seconds for name, seconds in wall.items() if name != peer}
    figures["cpu_ratio"] = {name: cpu[peer] / seconds for name, seconds in cpu.items() if name != peer}
    return figures


def _timed(solve: Callable[[], np.ndarray]) -> tuple[float, float, float]:
    """Best wall and CPU seconds of three solves after a first one, and the share of values ≤ 0."""
    wall, cpu, _, values = best_of(3, solve)
    return wall, cpu, float((values <= 0).mean())


def _ours(flux: str, precision: str) -> np.ndarray:
    config = ReachAvoidConfig(points=(POINTS, POINTS, POINTS))
    with jax.enable_x64(True):
        sweep = _SWEEPS.get((flux, precision))
        if sweep is None:
            view = grid_game(pursuit_game(config, precision), grid_of(config))
            stopping = Stopping(minimiser=lambda t, x, i: distance(config, x))
            sweep = _SWEEPS[flux, precision] = Sweep(view, Affine(flux).fitted(view), stopping, "upper", True)
        mesh = even_mesh(jnp.asarray(view.game.horizon, sweep.dtype), STEPS, 1)
        return np.asarray(sweep_back(sweep, mesh, False, False).value[0])


_SWEEPS: dict[tuple[str, str], Sweep] = {}


def _peer() -> Callable[[], np.ndarray]:
    import hj_reachability as hj  # pyright: ignore[reportMissingImports] - the extra `bench`

    with jax.enable_x64(False):
        box = hj.sets.Box(np.array([-6.0, -10.0, 0.0]), np.array([20.0, 10.0, 2 * np.pi]))
        grid = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, (POINTS,) * 3, periodic_dims=2)
        start = np.linalg.norm(np.asarray(grid.states[..., :2]), axis=-1).astype(np.float32) - np.float32(5.0)
        tube = hj.solver.backwards_reachable_tube
        settings = hj.SolverSettings.with_accuracy("low", hamiltonian_postprocessor=tube)
        planes = hj.systems.Air3d()

    def solve() -> np.ndarray:
        with jax.enable_x64(False):
            return np.asarray(hj.step(settings, planes, grid, 0.0, jax.numpy.asarray(start), -2.8, progress_bar=False))

    return solve


def plain_solve(points: int, steps: int, horizon: float = 2.8) -> np.ndarray:
    """The same game and scheme with NumPy: [points, points, points] values."""
    axes = [np.linspace(-6, 20, points), np.linspace(-10, 10, points), np.arange(points) * 2 * np.pi / points]
    x, y, angle = np.meshgrid(*axes, indexing="ij")
    spacing = [float(axis[1] - axis[0]) for axis in axes]
    goal = np.hypot(x, y) - 5.0
    forth, across = 5.0 * (np.cos(angle) - 1.0), 5.0 * np.sin(angle)
    alpha = [np.abs(forth) + np.abs(y), np.abs(across) + np.abs(x), 2.0]
    values = goal.copy()
    for _ in range(steps):
        values = plain_step(values, horizon / steps, spacing, (forth, across, x, y), alpha)
        values = np.minimum(values, goal)
    return values


def plain_step(values: np.ndarray, dt: float, spacing: list[float], terms: Any, alpha: list) -> np.ndarray:
    """One explicit Lax–Friedrichs step."""
    forth, across, x, y = terms
    means, spread = [], 0.0
    for d, h in enumerate(spacing):
        first, last = np.take(values, [0], d), np.take(values, [-1], d)
        if d == 2:
            padded = np.concatenate([last, values, first], d)
        else:
            before, after = 2 * first - np.take(values, [1], d), 2 * last - np.take(values, [-2], d)
            padded = np.concatenate([before, values, after], d)
        step = np.diff(padded, axis=d) / h
        size = values.shape[d]
        behind, ahead = np.take(step, range(size), d), np.take(step, range(1, size + 1), d)
        means.append(0.5 * (ahead + behind))
        spread = spread + 0.5 * alpha[d] * (ahead - behind)
    evader = np.abs(means[0] * y - means[1] * x - means[2])
    return values + dt * (means[0] * forth + means[1] * across + evader - np.abs(means[2]) + spread)
