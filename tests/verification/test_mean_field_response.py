"""Certificates of crowds catch what is wrong, by either route, and leave little to an equilibrium."""

import dataclasses

import jax
import numpy as np
import pytest

from congestion import congestion, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_frozen import frozen
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_newton import solve_mean_field
from diffgames.verification.mean_field_response import CrowdSearch, response_gaps, trained_gap

DISTANCE = "distance of the law from its policies, W1"


@pytest.fixture(scope="module")
def solved():
    return solve_mean_field(congestion(), unit_interval(40), 80, differences="central")


def crowd_of(solution):
    return frozen(solution.scheme.game, solution.scheme.cells, solution.control, solution.mass)


@pytest.fixture(scope="module")
def certified(solved):
    return response_gaps(crowd_of(solved))


def planted(solution, wrong):
    u = solution.control
    changed = {
        "stronger": 1.1 * u,
        "weaker": 0.9 * u,
        "backwards": -u,
        "stale": np.repeat(u[:1], len(u), axis=0),
        "constant": np.full_like(u, 0.1),
    }
    return dataclasses.replace(solution, control=changed[wrong])


def test_an_equilibrium_leaves_little_and_its_value_is_the_solvers(solved, certified):
    assert certified.gap < 3e-4
    values = [-entry.value for entry in certified.entries]
    np.testing.assert_allclose(values, solved.cost, rtol=0.01)
    assert certified.checks["mass error"] < 1e-13
    assert certified.checks[DISTANCE] < 0.25 / 40  # a quarter of a cell, at any time
    assert all(entry.gain >= -1e-12 for entry in certified.entries)


@pytest.mark.parametrize(
    ("wrong", "least"),
    [("stronger", 3.0), ("weaker", 3.0), ("backwards", 500.0), ("stale", 100.0), ("constant", 100.0)],
)
def test_wrong_profiles_are_caught(solved, certified, wrong, least):
    found = response_gaps(crowd_of(planted(solved, wrong)))
    assert found.gap > least * certified.gap
    assert found.significant
    assert found.checks[DISTANCE] > 2.0 * certified.checks[DISTANCE]


def test_a_law_that_lost_mass_is_told(solved):
    leaking = dataclasses.replace(solved, mass=solved.mass * np.linspace(1.0, 0.99, 81)[:, None, None])
    assert response_gaps(crowd_of(leaking)).checks["mass error"] == pytest.approx(0.01)


@pytest.mark.slow
def test_a_deviator_on_paths_finds_no_more_than_the_grid_and_catches_the_sign(solved):
    key = jax.random.key(0)
    small = CrowdSearch(updates=60, paths=200, judged=4000)
    honest = trained_gap(crowd_of(solved), 1, key, small)
    assert honest.lower < 5e-4
    wrong = planted(solved, "backwards")
    exact = response_gaps(crowd_of(wrong))["type 1"].gain
    found = trained_gap(crowd_of(wrong), 1, key, small)
    assert 0.3 * exact < found.gain and found.lower < exact * 1.05


def test_agents_with_two_states_are_refused_by_name(solved):
    plane = Cells((CellAxis("x", 0.0, 1.0, 4), CellAxis("y", 0.0, 1.0, 4)))
    with pytest.raises(InvalidInput, match="one axis"):
        frozen(solved.scheme.game, plane, solved.control, solved.mass)


def test_a_law_that_is_wrong_only_on_the_way_is_told(solved, certified):
    """Mirrored between the start and the end, which are right."""
    law = np.array(solved.mass)
    law[1:-1] = law[1:-1, :, ::-1]
    astray = response_gaps(crowd_of(dataclasses.replace(solved, mass=law)))
    assert astray.checks[DISTANCE] > 10.0 * certified.checks[DISTANCE]
