"""Aversion has no closed form, but its centre has: forces between pairs cancel there, whatever the kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.solvers.distributed_paths import Noise, graded_grid, trajectory
from diffgames.solvers.policies import centred, linear_gains, settled
from diffgames.solvers.policy_gradient import Schedule, learn_potential
from diffgames.solvers.potential_lq import exact
from diffgames.studies.crowd_aversion import AversionConfig, game_of
from diffgames.studies.crowd_grid import fits_a_grid, potential_on_grid
from diffgames.studies.crowd_solution import marks, sample_paths

ASYMMETRIC = {"weights": ((0.0, 1.0), (0.2, 0.0)), "symmetric": False, "targets": ((1.0,), (0.0,)), "rates": (0.1,)}


def test_velocities_are_steered_with_cucker_smale_and_positions_reported():
    """On the line: states (position, velocity), accelerations move velocities; only positions are targets and marks."""
    config = AversionConfig(kernel="cucker-smale", speed=3.0, start=(0.0,), **ASYMMETRIC)
    game, grid = game_of(config), graded_grid(1.0, 8)
    assert (game.state_size, game.control_size) == (2, 1)
    paths = sample_paths(game, lambda t, x, y: 1.0 + 0.0 * x[:1], grid, jax.random.key(0), 64)
    assert paths["mean"].shape == (9, 2, 1) and marks(paths, 1.0).shape == (2, 3, 1)
    np.testing.assert_allclose(paths["mean"][-1].mean(), 0.5 * (1.0 - 1.0 / 8), atol=0.05)  # Euler's ½ t²
    assert 0.0 < paths.attrs["velocities_apart"] < 3.0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"kernel": "cucker-smale"}, "kernel"),  # its curvature is unbounded, and α needs it
        ({"kernel": "gaussian", "symmetric": True}, "weights"),
        ({"kernel": "gaussian", "common_rate": -1.0}, "common_rate"),
        ({"kernel": "gaussian", "rates": (0.1, -0.1)}, "rates"),
    ],
)
def test_what_has_no_alpha_or_is_no_crowd_is_refused_before_learning(changes, key):
    with pytest.raises(InvalidInput) as caught:
        game_of(AversionConfig(start=(0.0,), **(ASYMMETRIC | changes)))
    assert caught.value.key == key


@pytest.mark.slow
def test_the_grid_of_small_crowds_finds_the_riccati_optimum():
    """To half a per cent, jumps included, and less than the last halving of cells changed; not for larger crowds."""
    config = AversionConfig(
        kernel="quadratic", kernel_height=0.8, targets=((0.6,), (-0.4,)), start=(0.0,), rates=(0.4,)
    )
    game, grid = game_of(config), graded_grid(1.0, 20)
    paths = sample_paths(
        game, lambda t, x, y: jnp.asarray([[[0.5], [-0.3]]], x.dtype) - 0.5 * x, grid, jax.random.key(0), 200
    )
    assert fits_a_grid(game) and not fits_a_grid(game_of(AversionConfig()))
    found, best = potential_on_grid(game, paths), exact(game).potential
    assert found is not None and found[0] == pytest.approx(best, rel=5e-3)
    assert abs(found[0] - best) < abs(found[1]) < 0.05 * best


@pytest.mark.slow
def test_two_players_of_unlike_weights_are_answered_on_a_grid_of_four_axes():
    """Positions and sensitivities, jumps included: the Riccati equation of (X, Y) says the same."""
    weights = ((0.0, 1.6), (0.4, 0.0))
    config = AversionConfig(
        kernel="quadratic", kernel_height=0.8, targets=((0.6,), (-0.4,)), start=(0.0,), rates=(0.4,), weights=weights,
        symmetric=False, terminal_weight=1.0, effort=0.25, noise=0.2, normalise=False,
    )  # fmt: skip
    game, grid = game_of(config), graded_grid(1.0, 20)
    paths = sample_paths(
        game, lambda t, x, y: jnp.asarray([[[0.5], [-0.3]]], x.dtype) - 0.5 * x, grid, jax.random.key(0), 200
    )
    assert fits_a_grid(game)
    found, best = potential_on_grid(game, paths), exact(game).potential
    assert found is not None and found[0] == pytest.approx(best, rel=0.01)
    assert abs(found[0] - best) < abs(found[1]) < 0.1 * best


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
