"""Every slip of a mean-field game on cells is one line that names it; what only calls for caution is said in words."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from congestion import Bump, congestion, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_checks import check_game
from diffgames.games.mean_field_frozen import frozen
from diffgames.games.mean_field_grid import AgentType, Density, LogDensity, TypedMeanFieldGame
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_ergodic import solve_ergodic
from diffgames.solvers.mean_field_newton import solve_mean_field


def lone(features=None, horizon=1.0, **change):
    agents = {
        "share": 1.0,
        "start": Bump(0.5, 0.2),
        "diffusion": 0.3,
        "control_cost": lambda u, x: jnp.sum(u**2),
        "running_cost": lambda x, felt: felt["crowd"],
    }
    return TypedMeanFieldGame((AgentType(**(agents | change)),), features or {"crowd": Density(0)}, horizon)


@pytest.mark.parametrize(
    ("game", "key", "words"),
    [
        (congestion(shares=(0.6, 0.6)), "share", "sum to one"),
        (congestion(shares=(1.2, -0.2)), "share", "positive"),
        (TypedMeanFieldGame((), {}, 1.0), "types", "at least one"),
        (lone(horizon=float("nan")), "horizon", "positive"),
        (lone(horizon=-1.0), "horizon", "positive"),
        (lone(start=lambda x: x[0] - 0.5), "types[0].start", "nowhere negative"),
        (lone(start=lambda x: jnp.nan * x[0]), "types[0].start", "finite"),
        (lone(start=lambda x: 0.0 * x[0]), "types[0].start", "mass on the axes"),
        (lone(start=Bump(90.0, 0.1)), "types[0].start", "mass on the axes"),
        (lone(start=lambda x: x), "types[0].start", "one number at every point"),
        (lone(control_cost=lambda u, x: -jnp.sum(u**2)), "types[0].control_cost", "convex"),
        (lone(control_cost=lambda u, x: jnp.sum(u)), "types[0].control_cost", "convex"),
        (lone(control_cost=lambda u, x: jnp.log(u[0])), "types[0].control_cost", "finite"),
        (lone(control_cost=lambda u, x: u**2), "types[0].control_cost", "a number"),
        (lone(control_low=1.0, control_high=0.0), "types[0].control_low", "control_high"),
        (lone(control_low=float("nan")), "types[0].control_low", "control_high"),
        (lone(drift=lambda x, felt: 1.0 + 0.0 * x), "types[0].drift", "reflecting axis x"),
        (lone(drift=lambda x, felt: jnp.nan * x), "types[0].drift", "finite"),
        (lone(drift=lambda x, felt: x[0]), "types[0].drift", "1 numbers"),
        (lone(diffusion=float("nan")), "types[0].diffusion", "finite"),
        (lone(diffusion=-0.3), "types[0].diffusion", "nowhere negative"),
        (lone(diffusion=jnp.asarray([0.1, 0.2])), "types[0].diffusion", "one per axis"),
        (lone(running_cost=lambda x, felt: jnp.log(x[0] - 0.5)), "types[0].running_cost", "finite"),
        (lone(running_cost=lambda x, felt: x), "types[0].running_cost", "a number"),
        (lone(running_cost=lambda x, felt: felt["price"]), "features", "'price'"),
        (lone(terminal_cost=lambda x, felt: 1.0 / (0.0 * x[0])), "types[0].terminal_cost", "finite"),
        (lone(features={"crowd": lambda law: law.points}), "features['crowd']", "for every cell"),
    ],
)
def test_slips_are_named(game, key, words):
    with pytest.raises(InvalidInput) as slip:
        check_game(game, unit_interval(20))
    assert slip.value.key == key and words in str(slip.value) and "\n" not in str(slip.value)


@pytest.mark.parametrize(
    ("low", "high", "size", "key"),
    [(0.0, 1.0, 1, "axis x: size"), (1.0, 1.0, 20, "axis x"), (0.0, float("nan"), 20, "axis x")],
)
def test_axes_of_one_point_are_refused(low, high, size, key):
    with pytest.raises(InvalidInput) as slip:
        Cells((CellAxis("x", low, high, size),))
    assert slip.value.key == key


def test_a_cost_that_mixes_components_is_refused():
    square = Cells((CellAxis("x", 0.0, 1.0, 6), CellAxis("y", 0.0, 1.0, 6)))
    with pytest.raises(InvalidInput, match="components"):
        check_game(lone(control_cost=lambda u, x: jnp.sum(u**2) + u[0] * u[1]), square)


def test_a_crowd_that_attracts_is_a_caution_and_one_that_repels_is_none():
    assert check_game(congestion(), unit_interval(40)) == []
    for attracted in ({"running_cost": lambda x, felt: -felt["crowd"]}, {"terminal_cost": lambda x, f: -f["crowd"]}):
        (words,) = check_game(lone(**attracted), unit_interval(40))
        assert "not monotone" in words


def test_mass_beyond_the_axes_is_a_caution():
    (words,) = check_game(lone(start=Bump(1.1, 0.1)), unit_interval(40))
    assert "type 0 starts with 0.1" in words  # P(Z < −1) = .159 of a normal law of mean 1.1 is below 1
    assert check_game(lone(start=lambda x: 1.0 + 0.0 * x[0]), unit_interval(40)) == []
    around = Cells((CellAxis("x", 0.0, 1.0, 20, "periodic"),))
    assert check_game(lone(start=Bump(1.1, 0.1)), around) == []


def test_a_logarithm_of_a_law_that_starts_with_empty_cells_is_fine():
    gap = lone(start=lambda x: jnp.where(x[0] < 0.5, 1.0, 0.0), features={"crowd": LogDensity()})
    assert check_game(gap, unit_interval(20)) == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"steps": 0}, "steps"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"longest": 0}, "longest"),
    ],
)
def test_a_solver_names_its_own_slips(change, key):
    with pytest.raises(InvalidInput) as slip:
        solve_mean_field(congestion(), unit_interval(8), **({"steps": 4} | change))
    assert slip.value.key == key
    if key != "steps":
        with pytest.raises(InvalidInput) as slip:
            solve_ergodic(dataclasses.replace(congestion(), horizon=float("inf")), unit_interval(8), **change)
        assert slip.value.key == key


def test_a_law_that_is_none_is_refused_by_the_certificate():
    cells = unit_interval(8)
    control, mass = np.zeros((4, 2, 1, 8)), np.full((5, 2, 8), 0.125)
    frozen(congestion(), cells, control, mass)
    for changed, words in ((-mass, "nowhere negative"), (np.nan * mass, "finite"), (mass[:3], "[5, 2, 8]")):
        with pytest.raises(InvalidInput) as slip:
            frozen(congestion(), cells, control, changed)
        assert slip.value.key == "mass" and words in str(slip.value)
    with pytest.raises(InvalidInput, match="control"):
        frozen(congestion(), cells, np.nan * control, mass)
