"""Values of hj_reachability (extra `twins`) point by point: other parameters than the benchmark's, other dynamics.

The peer freezes a value that would rise and takes steps of 0.75 of its bound, ours takes the better of the value and
the goal and steps of 0.9: differences of a few thousandths, where cells are 0.1 to 0.5 wide, that shrink with them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.grid_sweep import Stopping
from diffgames.solvers.isaacs import Stepping, solve_isaacs

hj = pytest.importorskip("hj_reachability")
pytestmark = pytest.mark.slow  # `make slow` installs the peer


def ours(drift, bounds, goal, grid, horizon):
    """Value of the maximiser of the least goal over the horizon, by the peer's scheme."""
    n = len(grid.axes)
    game = DifferentialGame(
        players=("evader", "pursuer"),
        control_sizes=(1, 1),
        drift=drift,
        diffusion=lambda t, x, u, i: jnp.zeros((n, 1)),
        running_cost=lambda t, x, u, i: jnp.zeros(2),
        terminal_cost=lambda x, i: jnp.broadcast_to(goal(x), (2,)),
        initial=PointLaw(jnp.zeros(n)),
        horizon=horizon,
        signs=(-1, 1),
        bounds=bounds,
    )
    options = {"stepping": Stepping(keep=1), "stopping": Stopping(minimiser=lambda t, x, i: goal(x))}
    found = solve_isaacs(game, grid, search=Affine("lax_friedrichs"), leak_tolerance=None, **options)
    return np.asarray(found.value[0, 0])


def theirs(make, grid, goal, horizon):
    """The same by the peer, first order, in single precision as it works."""
    low, high = (np.array([getattr(axis, end) for axis in grid.axes], np.float32) for end in ("low", "high"))
    periodic = [d for d, axis in enumerate(grid.axes) if axis.periodic]
    lax = (jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"))  # the peer is not strict
    with jax.enable_x64(False), lax[0], lax[1]:
        dims = periodic[0] if periodic else None
        lattice = hj.Grid.from_lattice_parameters_and_boundary_conditions(
            hj.sets.Box(low, high), grid.shape, periodic_dims=dims
        )
        start = np.asarray(goal(np.moveaxis(np.asarray(lattice.states), -1, 0)), np.float32)
        tube = hj.solver.backwards_reachable_tube
        settings = hj.SolverSettings.with_accuracy("low", hamiltonian_postprocessor=tube)
        value = hj.step(settings, make(), lattice, 0.0, jnp.asarray(start), -horizon, progress_bar=False)
        return np.asarray(value)


def agree(make, drift, bounds, goal, grids, horizon):
    """Both values, an eighth of the first two axes at either end left out, where the peer extrapolates otherwise."""
    off = []
    for grid in grids:
        rim = grid.shape[0] // 8
        inside = np.s_[rim:-rim, rim:-rim]
        mine, peer = ours(drift, tuple(bounds), goal, grid, horizon), theirs(make, grid, goal, horizon)
        off.append(np.abs(mine - peer)[inside].max())
    assert off[1] < off[0] and off[1] < 5e-3, off


def test_planes_of_unequal_speed():
    speeds, turns, radius = (4.0, 6.0), (1.5, 0.8), 3.0

    def drift(t, x, u, i):
        a, b = u[0][0], u[1][0]
        return jnp.stack(
            [speeds[1] * jnp.cos(x[2]) - speeds[0] + a * x[1], speeds[1] * jnp.sin(x[2]) - a * x[0], b - a]
        )

    def goal(x):
        return (x[0] ** 2 + x[1] ** 2) ** 0.5 - radius

    def make():
        return hj.systems.Air3d(*speeds, *turns)

    def grid(size):
        angle = Axis("ψ", 0.0, 2 * np.pi, size - 1, "periodic")
        return Grid((Axis("x", -8.0, 12.0, size, "linear"), Axis("y", -9.0, 9.0, size, "linear"), angle))

    agree(make, drift, [(-most, most) for most in turns], goal, [grid(21), grid(41)], 1.0)


def test_a_double_integrator_against_a_disturbance():
    """Where braking at 1 against pushes of up to 0.4 cannot keep away from the origin."""

    class Pushed(hj.dynamics.ControlAndDisturbanceAffineDynamics):
        def __init__(self):
            box = [hj.sets.Box(jnp.array([-m], jnp.float32), jnp.array([m], jnp.float32)) for m in (1.0, 0.4)]
            super().__init__("max", "min", *box)

        def open_loop_dynamics(self, state, time):
            return jnp.stack([state[1], jnp.zeros_like(state[1])])

        def control_jacobian(self, state, time):
            return jnp.array([[0.0], [1.0]], jnp.float32)

        def disturbance_jacobian(self, state, time):
            return jnp.array([[0.0], [1.0]], jnp.float32)

    def goal(x):
        return abs(x[0]) - 0.5

    def grid(size):
        return Grid((Axis("x", -4.0, 4.0, size, "linear"), Axis("v", -2.5, 2.5, size, "linear")))

    def drift(t, x, u, i):
        return jnp.stack([x[1], u[0][0] + u[1][0]])

    agree(Pushed, drift, [(-1.0, 1.0), (-0.4, 0.4)], goal, [grid(41), grid(81)], 1.5)
