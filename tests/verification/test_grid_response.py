"""Feedbacks on grids held to account by best responses on finer grids: hardly a gap where found, and planted errors."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.isaacs import Stepping, solve_isaacs
from diffgames.verification.grid_response import grid_gaps

GRID = Grid((Axis("x", -2.4, 2.4, 31),))
FINE = GRID.refined()


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


@pytest.fixture(scope="module")
def fine(played):
    """The feedback found with a quarter of the spacing."""
    return solve_isaacs(
        played[0], FINE.refined(), search=Affine(), stepping=Stepping(keep=30), leak_tolerance=None
    ).feedback


def riccati_value() -> float:
    """V = P_i x² + r_i at the start: u = −P x, w = P x/4 lie within their bounds, the jumps are compensated."""
    generator = np.array([[-1.0, 1.0], [2.0, -2.0]])

    def rate(_, flat):
        p, r = flat.reshape(2, 2)
        slope = np.array([1.0, 2.0]) + 0.6 * p - (1 - 1 / 8) * p**2 + generator @ p
        return np.concatenate([slope, p * (0.4**2 + 0.5 * 0.2**2) + generator @ r])

    found = solve_ivp(rate, (0.0, 0.5), [1.0, 1.0, 0.0, 0.0], rtol=1e-10, atol=1e-12).y[:, -1]
    return float(found[0] * 0.6**2 + found[2])


def test_nobody_gains_against_the_feedback_found(played, fine):
    """The values lie where the Riccati equation says, up to what the certificate's last refinement changed."""
    game, _ = played
    value, coarse, found = riccati_value(), *(grid_gaps(game, fine, g, search=Affine()) for g in (GRID, FINE))
    assert [entry.label for entry in found.entries] == ["controller", "disturbance"]
    for label, sign in (("controller", -1.0), ("disturbance", 1.0)):
        change = abs(found[label].value - coarse[label].value)
        assert abs(sign * found[label].value - value) < change < 0.01 * value
    assert all(-1e-9 < entry.gain < 2e-5 * value for entry in found.entries), found


@pytest.mark.slow
def test_what_the_certificate_finds_is_the_feedbacks_own_loss(played, fine):
    """It is the same on every grid that resolves it, and falls at least as the square of the feedback's spacing:
    controls off by ε cost ε², and they are off by the spacing or less."""
    game, solution = played
    middle = solve_isaacs(game, FINE, search=Affine(), stepping=Stepping(keep=30), leak_tolerance=None).feedback
    losses = [grid_gaps(game, one, FINE, search=Affine())["controller"] for one in (solution.feedback, middle, fine)]
    assert losses[0].lower > 0.95 * losses[0].gain, "the interval is the gain ± what refining the grid changed"
    assert losses[1].gain < losses[0].gain / 4 and losses[2].gain < losses[1].gain / 4, losses


@pytest.mark.parametrize(("name", "label"), [("u", "controller"), ("w", "disturbance")])
def test_a_side_that_errs_is_found(played, name, label):
    game, solution = played
    wrong = eqx.tree_at(lambda f: getattr(f, name), solution.feedback, 0.5 * getattr(solution.feedback, name))
    found = grid_gaps(game, wrong, GRID, search=Affine())
    assert found[label].lower > 1e-3 and label in found.significant
    assert max(found.entries, key=lambda entry: entry.gap).label == label
