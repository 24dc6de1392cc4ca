"""Ergodic crowds: closed forms with their observed order, published values on the torus, slips by name."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from congestion import Bump, Effort, congestion, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import AgentType, LogDensity, TypedMeanFieldGame
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_ergodic import solve_ergodic


def logarithmic(g, k, sigma):
    def cost(x, felt):
        return 0.5 * k * x[0] ** 2 + g * felt["crowd"]

    return TypedMeanFieldGame((AgentType(1.0, Bump(0.0, 1.0), sigma, Effort(1.0), cost),), {"crowd": LogDensity()})


def line(width, points):
    return Cells((CellAxis("x", -width, width, points, "line"),))


@pytest.mark.parametrize(
    ("data", "width", "wanted"),
    [
        ((1.0, 1.0, 1.0), 8.0, (0.4142135624, 1.2071067812, -0.8059449552)),
        ((0.5, 2.0, 0.8), 5.0, (0.8344082442, 0.3835053191, 0.0471418187)),
    ],
)
def test_the_closed_forms_are_met_at_second_order_or_better(data, width, wanted):
    errors = []
    for points in (60, 120):
        found = solve_ergodic(logarithmic(*data), line(width, points))
        assert found.status == "solved" and found.mass_error < 1e-13 and found.mass.min() > 0
        x, mass, control = found.scheme.cells.points()[0], found.mass[0], found.control[0, 0]
        slope, variance = -(mass @ (x * control)) / (mass @ x**2), mass @ x**2
        errors.append(np.abs(np.subtract((slope, variance, found.constant[0]), wanted)))
    assert np.all(errors[1] < 1e-4)
    assert np.all(np.log2(errors[0] / errors[1]) > 1.9)


def torus(nu, points):
    """H = sin 2πy + sin 2πx + cos 4πx + |p|², F = m² (Achdou & Capuzzo-Dolcetta 2010)."""

    def cost(x, felt):
        waves = jnp.sin(2 * jnp.pi * x[1]) + jnp.sin(2 * jnp.pi * x[0]) + jnp.cos(4 * jnp.pi * x[0])
        return felt["square"] - waves

    agents = AgentType(1.0, lambda x: 1.0 + 0.0 * x[0], math.sqrt(2 * nu), Effort(0.5), cost)
    game = TypedMeanFieldGame((agents,), {"square": lambda law: law.mixture**2})
    axes = tuple(CellAxis(name, 0.0, 1.0, points, "periodic") for name in "xy")
    return solve_ergodic(game, Cells(axes), differences="upwind")


@pytest.mark.slow
@pytest.mark.parametrize(("nu", "wanted"), [(1.0, 0.978347), (0.1, 1.0936), (0.01, 1.1866)])
def test_published_mean_costs_on_the_torus(nu, wanted):
    found = torus(nu, 25)
    assert found.status == "solved" and found.mass.min() > 0
    assert found.constant[0] == pytest.approx(wanted, abs=2e-4)


def test_slips_are_named():
    with pytest.raises(InvalidInput, match="horizon"):
        solve_ergodic(congestion(), unit_interval(20))
    with pytest.raises(InvalidInput, match="diffusion"):
        solve_ergodic(logarithmic(1.0, 1.0, 0.0), line(2.0, 20))
