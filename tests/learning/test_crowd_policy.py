"""Learning in a finite crowd: what agents see, the law that a policy leads to, a game whose optimum is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import (
    AgentType,
    MeanSpeed,
    MixtureDensity,
    Moment,
    NormalDensity,
    QuadraticControl,
    TypedMeanFieldGame,
)
from diffgames.learning.crowd_policy import CrowdLearning, law_under, learn_in_crowd, observed
from diffgames.learning.two_timescales import TwoTimescales
from diffgames.numerics.cells import CellAxis, Cells


def tracking(k=0.0, features=None):
    """One type on a wide line, ½u² + ½k(x − mean)² and ½x² at the end."""
    agents = AgentType(
        share=1.0,
        start=NormalDensity(0.8, 0.3),
        diffusion=0.4,
        control_cost=QuadraticControl(1.0),
        running_cost=lambda x, felt: 0.5 * k * (x[0] - felt["mean"]) ** 2,
        terminal_cost=lambda x, felt: 0.5 * x[0] ** 2,
    )
    return TypedMeanFieldGame((agents,), features or {"mean": Moment()}, 1.0)


CELLS = Cells((CellAxis("x", -3.0, 3.0, 120, "line"),))


def test_the_law_under_a_linear_feedback_has_its_closed_form():
    """u = −2x: an Ornstein–Uhlenbeck process."""
    control, mass = law_under(lambda seen: -2.0 * 3.0 * seen[..., 1], tracking(), CELLS, 400)
    x = CELLS.points()[0]
    mean = mass[-1, 0] @ x
    variance = mass[-1, 0] @ x**2 - mean**2
    assert mass.min() > -1e-30 and abs(mass.sum(axis=-1) - 1).max() < 1e-12
    assert mean == pytest.approx(0.8 * np.exp(-2.0), rel=0.02)
    assert variance == pytest.approx(0.09 * np.exp(-4.0) + 0.04 * (1 - np.exp(-4.0)), rel=0.03)
    np.testing.assert_allclose(control[0, 0], -2.0 * x, atol=1e-12)


def test_agents_see_their_place_type_and_the_moments_of_the_law():
    mass = np.stack([np.exp(-2.0 * (CELLS.points()[0] - 0.6) ** 2)])
    mass /= mass.sum()
    at, kind = jnp.asarray([-3.0, 0.0, 1.5]), jnp.ones((3, 1))
    seen, felt = observed(tracking(), CELLS, jnp.asarray(0.25), at, kind, jnp.asarray(mass))
    np.testing.assert_allclose(seen[:, 0], -0.5)
    np.testing.assert_allclose(seen[:, 1], [-1.0, 0.0, 0.5])
    np.testing.assert_allclose(seen[:, 3:5], np.tile([0.2, 0.5 / 3.0], (3, 1)), atol=1e-3)
    np.testing.assert_allclose(felt["mean"], 0.6, atol=1e-3)
    np.testing.assert_allclose(seen[:, 5], felt["mean"] / (1 + felt["mean"]), atol=1e-6)


@pytest.mark.slow
def test_a_crowd_learns_the_feedback_of_its_quadratic_game():
    """½u² and ½x_T²: the optimum is u = −x/(1 + T − t), −x/2 at first. Twenty crowds play side by side."""
    with jax.enable_x64(True):
        budget = CrowdLearning(
            updates=250, steps=10, timescales=TwoTimescales(actor=0.03, rounds=50.0, modulation=0.5, critic=0.03)
        )
        learned = learn_in_crowd(
            tracking(), Cells((CellAxis("x", -3.0, 3.0, 24, "line"),)), 100, jax.random.key(0), budget
        )
        control, mass = law_under(learned.policy.mean, tracking(), CELLS, 100)
    x, t = CELLS.points()[0], np.arange(100) / 100
    best = -x / (2.0 - t[:, None])
    error = np.sqrt(np.mean(np.sum(mass[:-1, 0] * (control[:, 0] - best) ** 2, axis=1)))
    idle = np.sqrt(np.mean(np.sum(mass[:-1, 0] * best**2, axis=1)))
    assert error < 0.25 * idle
    assert np.mean(learned.cost[-20:]) < np.mean(learned.cost[:3])
    assert learned.step[-1] < 0.25 * learned.step[0] and learned.distance[0] == 0.0


def test_wrong_crowds_are_refused():
    with pytest.raises(InvalidInput, match="agents"):
        learn_in_crowd(tracking(), CELLS, 0, jax.random.key(0))
    with pytest.raises(InvalidInput, match="speed"):
        learn_in_crowd(tracking(features={"speed": MeanSpeed()}), CELLS, 10, jax.random.key(0))
    plane = Cells((CellAxis("x", 0.0, 1.0, 4), CellAxis("y", 0.0, 1.0, 4)))
    with pytest.raises(InvalidInput, match="one axis"):
        learn_in_crowd(tracking(features={"crowd": MixtureDensity()}), plane, 10, jax.random.key(0))
