"""Aversion has no closed form, but its centre has: forces between pairs cancel there, whatever the kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.solvers.distributed_paths import Noise, graded_grid, trajectory
from diffgames.solvers.policies import centred, linear_gains, settled
from diffgames.solvers.policy_gradient import Schedule, learn_potential
from diffgames.studies.crowd_aversion import AversionConfig, game_of


@pytest.mark.slow
def test_the_centre_of_the_crowd_moves_as_if_alone_and_stops_short_of_the_target():
    """A lone player of the same costs moves at v = w d/(2c + w T), so that the crowd's centre is at v t."""
    config = AversionConfig(fine_steps=30)
    game = game_of(config)
    grid = graded_grid(config.horizon, 30)
    gains = linear_gains(game, patience=0.2, grade=1.0, key=jax.random.key(0))
    schedule = Schedule(10, 50, 100, learning_rate=0.05, decay=0.8, patience=10**6)
    found = learn_potential(game, centred(gains, game, 30, 1.0), grid, schedule, jax.random.key(1))
    path = trajectory(game, settled(found.policy, game, grid), grid, Noise(jnp.zeros((30, 2, 4, 1), jnp.float32)))
    centre = np.asarray(path.x[..., 0]).mean(axis=2)
    speed = 0.5 * config.terminal_weight / (2.0 * config.effort + config.terminal_weight * config.horizon)
    np.testing.assert_allclose(centre, speed * np.asarray(grid.times)[:, None] * np.ones(2), atol=0.01)
    apart = np.linalg.norm(
        np.asarray(path.x[10, :, :, 0])[:, :, None] - np.asarray(path.x[10, :, :, 0])[:, None], axis=0
    )
    assert apart[~np.eye(4, dtype=bool)].min() > 0.2  # twice the kernel's width, a third of the way
