"""The features of a law against sums by hand."""

import jax.numpy as jnp
import numpy as np

from congestion import congestion, unit_interval
from diffgames.games.mean_field_grid import (
    Convolution,
    LogDensity,
    MeanSpeed,
    Moment,
)


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
