"""Feedbacks on grids held to account by best responses on finer grids: hardly a gap where found, and planted errors."""

import equinox as eqx
import jax.numpy as jnp
import pytest

from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.isaacs import Stepping, solve_isaacs
from diffgames.verification.grid_response import grid_gaps

GRID = Grid((Axis("x", -2.4, 2.4, 31),))


@pytest.fixture(scope="module")
def played():
    """A controller against a disturbance, in two regimes with jumps, and the feedback found."""

    def cost(t, x, u, i):
        return jnp.broadcast_to((1.0 + i.astype(x.dtype)) * x[0] ** 2 + u[0][0] ** 2 - 2 * u[1][0] ** 2, (2,))

    game = DifferentialGame(
        players=("controller", "disturbance"),
        control_sizes=(1, 1),
        drift=lambda t, x, u, i: 0.3 * x + u[0] + 0.5 * u[1],
        diffusion=lambda t, x, u, i: jnp.full((1, 1), 0.4),
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.broadcast_to(x[0] ** 2, (2,)),
        initial=PointLaw(jnp.array([0.6])),
        horizon=0.5,
        generator=jnp.array([[-1.0, 1.0], [2.0, -2.0]]),
        jumps=(JumpLaw(lambda t, x, u, i: jnp.asarray(0.5), lambda t, x, u, z, i: z, FixedMark(jnp.array([0.2]))),),
        signs=(1, -1),
        bounds=((-5.0, 5.0), (-2.0, 2.0)),
    )
    solution = solve_isaacs(game, GRID, search=Affine(), stepping=Stepping(keep=30), leak_tolerance=0.01)
    return game, solution


def test_nobody_gains_against_the_feedback_found(played):
    game, solution = played
    found = grid_gaps(game, solution.feedback, GRID, search=Affine())
    assert [entry.label for entry in found.entries] == ["controller", "disturbance"]
    fine = solve_isaacs(game, GRID.refined(), search=Affine(), stepping=Stepping(keep=30), leak_tolerance=None)
    value = float(fine.at(jnp.array([0.6])))
    assert -found["controller"].value == pytest.approx(value, abs=2e-3)
    assert found["disturbance"].value == pytest.approx(value, abs=2e-3)
    assert all(-1e-9 < entry.gain < 5e-3 * value for entry in found.entries), found
    finer = grid_gaps(game, fine.feedback, GRID, search=Affine())
    assert 0 <= finer.gap < 0.1 * found.gap, "feedback from a finer grid has less to gain by"


@pytest.mark.parametrize(("name", "label"), [("u", "controller"), ("w", "disturbance")])
def test_a_side_that_errs_is_found(played, name, label):
    game, solution = played
    wrong = eqx.tree_at(lambda f: getattr(f, name), solution.feedback, 0.5 * getattr(solution.feedback, name))
    found = grid_gaps(game, wrong, GRID, search=Affine())
    assert found[label].lower > 1e-3 and label in found.significant
    assert max(found.entries, key=lambda entry: entry.gap).label == label
