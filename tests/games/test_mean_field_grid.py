"""Bad input in words, cautions, and the features of a law against sums by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from congestion import Bump, congestion, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_checks import check_game
from diffgames.games.mean_field_grid import (
    AgentType,
    Convolution,
    Density,
    LogDensity,
    MeanSpeed,
    Moment,
    TypedMeanFieldGame,
)
from diffgames.numerics.cells import CellAxis, Cells


def lone(**change):
    agents = {
        "share": 1.0,
        "start": Bump(0.5, 0.2),
        "diffusion": 0.3,
        "control_cost": lambda u, x: jnp.sum(u**2),
        "running_cost": lambda x, felt: felt["crowd"],
    }
    return TypedMeanFieldGame((AgentType(**(agents | change)),), {"crowd": Density(0)}, 1.0)


@pytest.mark.parametrize(
    ("game", "key"),
    [
        (congestion(shares=(0.6, 0.6)), "share"),
        (lone(start=lambda x: x[0] - 0.5), "types[0].start"),
        (lone(start=lambda x: 0.0 * x[0]), "types[0].start"),
        (lone(control_cost=lambda u, x: -jnp.sum(u**2)), "types[0].control_cost"),
        (lone(control_low=1.0, control_high=0.0), "types[0].control_low"),
        (lone(drift=lambda x, felt: 1.0 + 0.0 * x), "types[0].drift"),
        (lone(diffusion=float("nan")), "types[0].diffusion"),
    ],
)
def test_slips_are_named(game, key):
    with pytest.raises(InvalidInput) as slip:
        check_game(game, unit_interval(20))
    assert slip.value.key == key


def test_a_cost_that_mixes_components_is_refused():
    square = Cells((CellAxis("x", 0.0, 1.0, 6), CellAxis("y", 0.0, 1.0, 6)))
    with pytest.raises(InvalidInput, match="components"):
        check_game(lone(control_cost=lambda u, x: jnp.sum(u**2) + u[0] * u[1]), square)


def test_a_crowd_that_attracts_is_a_caution_and_one_that_repels_is_none():
    assert check_game(congestion(), unit_interval(40)) == []
    (words,) = check_game(lone(running_cost=lambda x, felt: -felt["crowd"]), unit_interval(40))
    assert "not monotone" in words


def test_features_are_the_sums_they_are_named_after():
    cells, game = unit_interval(40), congestion()
    mass, x = game.start(cells), cells.points()[0]
    speed = np.stack([np.sin(x), np.cos(x)])[:, None]
    law = game.law(cells, jnp.asarray(mass), jnp.asarray(speed))
    mixture = 0.6 * mass[0] + 0.4 * mass[1]
    np.testing.assert_allclose(Moment(2)(law), (mixture * x**2).sum(), rtol=1e-13)
    traded = 0.6 * (mass[0] * np.sin(x)).sum() + 0.4 * (mass[1] * np.cos(x)).sum()
    np.testing.assert_allclose(MeanSpeed()(law), traded, rtol=1e-13)
    np.testing.assert_allclose(LogDensity()(law), np.log(mixture * 40), rtol=1e-13)
    near = Convolution(lambda z: jnp.exp(-(z[0] ** 2)))(law)
    np.testing.assert_allclose(near, np.exp(-((x[:, None] - x[None]) ** 2)) @ mixture, rtol=1e-13)
