"""The coupled equations of a crowd: known digits, duality, limits, the other readings by finite differences."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from congestion import Aim, Bump, Crowded, Effort, congestion, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import AgentType, MeanSpeed, Moment, TypedMeanFieldGame
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_equations import FlowSystem
from diffgames.solvers.mean_field_newton import solve_mean_field
from diffgames.solvers.mean_field_scheme import MeanFieldScheme, least


@pytest.fixture(scope="module")
def solved():
    return solve_mean_field(congestion(), unit_interval(80), 80)


def test_the_two_type_game_has_its_known_digits(solved):
    mean, variance = solved.moments()
    np.testing.assert_allclose(solved.cost, (0.69250354, 1.22313829), atol=6e-9)
    np.testing.assert_allclose(mean[-1], (0.35732423, 0.74026767), atol=6e-9)
    np.testing.assert_allclose(variance[-1], (0.04734795, 0.02826601), atol=6e-9)
    assert solved.converged and solved.iterations <= 10


def test_mass_is_kept_to_rounding_and_nowhere_negative(solved):
    assert solved.mass_error < 1e-13
    assert solved.mass.min() >= 0


def test_values_are_what_the_policies_cost_and_the_best_reply(solved):
    system = FlowSystem(solved.scheme, 80)
    np.testing.assert_allclose(system.paid(solved.values, solved.mass), solved.values, atol=1e-9)
    np.testing.assert_allclose(system.reply(0 * solved.values, solved.mass), solved.values, atol=1e-9)
    assert np.abs(system.exploitability(solved.values)).max() < 1e-9
    assert system.exploitability(1.1 * solved.values).min() > 1e-4


def test_little_noise_is_reached_along_games_of_more():
    quiet = solve_mean_field(congestion(0.1), unit_interval(40), 20)
    assert quiet.converged
    assert np.abs(FlowSystem(quiet.scheme, 20).exploitability(quiet.values)).max() < 1e-8


def test_damped_picard_cycles_on_the_same_game_and_says_so():
    found = solve_mean_field(congestion(), unit_interval(40), 20, method="picard", damping=0.5, longest=24)
    assert found.status == "cycles" and not found.converged and found.residuals[-1] > 1.0


def test_mirror_descent_agrees_with_newton():
    game, cells = congestion(), unit_interval(40)
    newton = solve_mean_field(game, cells, 20)
    mirror = solve_mean_field(game, cells, 20, method="mirror", damping=0.1, longest=300)
    assert mirror.converged
    np.testing.assert_allclose(mirror.cost, newton.cost, rtol=1e-6)


def linear_quadratic(reading):
    """One type, ½u² + ½x² + x̄ x/2 on the line: Gaussian, with P, Π of scalar Riccati equations."""
    return AgentType(
        share=1.0,
        start=Bump(0.5, 0.4),
        diffusion=0.5,
        control_cost=Effort(1.0),
        running_cost=lambda x, felt: 0.5 * x[0] ** 2 + 0.5 * x[0] * felt["mean"],
    )


SLOW_READINGS = [
    ("game", 0.5),
    pytest.param("control", 1.0, marks=pytest.mark.slow),
    pytest.param("typed", 1.0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("reading", "weight"), SLOW_READINGS)
def test_linear_quadratic_crowds_follow_their_riccati_equations(reading, weight):
    game = TypedMeanFieldGame((linear_quadratic(reading),), {"mean": Moment()}, 1.0)
    # p = Π m with Π' = Π² − (1 + weight): Π(0) = √q tanh(√q), and m(T)/m(0) = 1/cosh(√q)
    root = np.sqrt(1.0 + weight)
    errors = []
    for n in (1, 2):
        cells = Cells((CellAxis("x", -3.0, 3.0, 60 * n, "line"),))
        found = solve_mean_field(game, cells, 40 * n, reading=reading, differences="central")
        assert found.converged
        errors.append(found.moments()[0][-1, 0] - 0.5 / np.cosh(root))
    assert abs(errors[1]) < 0.6 * abs(errors[0]) and abs(errors[1]) < 3e-3


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["control", "typed"])
def test_planners_have_no_better_law_nearby(reading):
    game, cells, steps = congestion(), unit_interval(20), 20
    found = solve_mean_field(game, cells, steps, reading=reading)
    plain = solve_mean_field(game, cells, steps)
    share = np.asarray(game.share)
    if reading == "control":
        assert share @ found.cost < share @ plain.cost - 1e-3
    system = FlowSystem(found.scheme, steps)
    rng = np.random.default_rng(1)
    bump = rng.normal(size=(1, 2, 1)) * np.sin(np.pi * np.arange(steps)[:, None, None] / steps + cells.points()[0])
    if reading == "typed":
        bump[:, 1] = 0.0
    costs = []
    for size in (-1e-2, 0.0, 1e-2):
        values = found.values + size * bump
        mass = found.mass
        for _ in range(2):
            mass = system.law(system.local(values, mass))
        each = np.einsum("kn,kn->k", system.start, system.paid(values, mass)[0])
        costs.append(share @ each if reading == "control" else each[0])
    assert costs[0] > costs[1] and costs[2] > costs[1]
    assert abs(costs[2] - costs[0]) < 0.05 * (costs[0] + costs[2] - 2 * costs[1]) + 1e-9


def test_the_law_may_enter_by_what_the_crowd_does():
    base = congestion()
    types = tuple(
        dataclasses.replace(one, running_cost=lambda x, felt, d=d: (x[0] - d) ** 2 + 0.5 * x[0] * felt["speed"])
        for one, d in zip(base.types, (0.25, 0.75), strict=True)
    )
    game = TypedMeanFieldGame(types, {"speed": MeanSpeed()}, 1.0)
    found = solve_mean_field(game, unit_interval(20), 20)
    assert found.converged
    assert np.abs(FlowSystem(found.scheme, 20).exploitability(found.values)).max() < 1e-8
    with pytest.raises(InvalidInput, match="feels the controls"):
        solve_mean_field(game, unit_interval(20), 20, reading="control")


@pytest.mark.slow
def test_two_dimensions_and_periodic_axes_are_the_same_code():
    def start(x):
        return jnp.exp(-20.0 * (x[0] - 0.5) ** 2)

    flat = AgentType(1.0, start, 0.3, Effort(1.0), Crowded(0.5, 0.5, 0.25), Aim(0.25))
    line = solve_mean_field(TypedMeanFieldGame((flat,), congestion().features, 1.0), unit_interval(12), 8)
    plane = Cells((CellAxis("x", 0.0, 1.0, 12), CellAxis("y", 0.0, 1.0, 5, "periodic")))
    wide = solve_mean_field(TypedMeanFieldGame((flat,), congestion().features, 1.0), plane, 8)
    np.testing.assert_allclose(wide.cost, line.cost, rtol=1e-9)
    np.testing.assert_allclose(wide.mass.reshape(9, 1, 12, 5).sum(axis=-1), line.mass, atol=1e-9)


def test_controls_stay_in_their_box_and_no_control_is_diffusion():
    boxed = solve_mean_field(congestion(control_low=-0.2, control_high=0.1), unit_interval(40), 20)
    assert boxed.converged
    assert boxed.control.max() <= 0.1 + 1e-12 and boxed.control.min() >= -0.2 - 1e-12
    assert boxed.control.max() > 0.1 - 1e-12
    idle = solve_mean_field(congestion(control_low=0.0, control_high=0.0), unit_interval(40), 20)
    assert idle.converged and not idle.control.any()


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0, 4.0])
def test_the_least_of_a_convex_cost_is_the_known_one(power):
    slope = jnp.asarray([-30.0, -2.0, -1e-3, 0.0, 5.0])

    def cost(s):
        return s**power / power

    wanted = np.maximum(-np.asarray(slope), 0.0) ** (1.0 / (power - 1.0))
    np.testing.assert_allclose(least(cost, (), slope, jnp.full(5, jnp.inf)), wanted, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(least(cost, (), slope, jnp.full(5, 1.5)), np.minimum(wanted, 1.5), rtol=1e-9, atol=1e-15)
    moved = jax.jvp(lambda p: least(cost, (), p, jnp.full(5, jnp.inf)), (slope,), (jnp.ones(5),))[1]
    np.testing.assert_allclose(moved[:3], -(wanted[:3] ** (2.0 - power)) / (power - 1.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"method": "simplex"}, "method"),
        ({"steps": 0}, "steps"),
        ({"damping": 0.0}, "damping"),
        ({"reading": "team"}, "reading"),
        ({"differences": "spectral"}, "differences"),
    ],
)
def test_slips_are_named(change, key):
    arguments = {"steps": 4} | change
    with pytest.raises(InvalidInput) as slip:
        solve_mean_field(congestion(), unit_interval(8), **arguments)
    assert slip.value.key == key


def test_one_program_serves_all_numbers():
    from diffgames.solvers import mean_field_equations

    solve_mean_field(congestion(), unit_interval(40), 20)
    programs = mean_field_equations._linearized._cached._cache_size()
    solve_mean_field(congestion(0.7), unit_interval(40), 20)
    assert mean_field_equations._linearized._cached._cache_size() == programs
    assert isinstance(congestion(), eqx.Module)
    assert MeanFieldScheme(congestion(), unit_interval(10)).extra == 0.0


def test_a_game_that_no_diffusion_helps_is_handed_back_as_slow(monkeypatch):
    """One step is too few for the game and for a softer one: there is nothing to continue from, and that is said."""
    monkeypatch.setattr("diffgames.solvers.mean_field_newton.PATIENCE", 1)
    solution = solve_mean_field(congestion(), unit_interval(20), 10, longest=4)
    assert solution.status == "slow" and solution.iterations == 2
