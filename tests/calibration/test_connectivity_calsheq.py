"""The calibrator alone reaches the targets of exact statistics, and starts near them with small first steps."""

import jax
import numpy as np
import pytest

from diffgames.calibration import calsheq, connectivity_calsheq
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Target, reward
from diffgames.learning.ppo import PPOConfig

MARKET = ConnectivityMarket((1, 2), sizes=(1.0, 2.0), takers=(5, 5))
TARGETS = (Target("equal", (0.2,), 0), Target("at least", (0.8,)))
CONFIG = PPOConfig(learning_rate=1e-2, final_learning_rate=1e-3, annealing_updates=60, passes=10, kl_target=0.1)


@pytest.fixture(scope="module")
def found():
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        way: connectivity_calsheq.train(MARKET, TARGETS, True, keys, CONFIG, 32, 60, 20, exploration)
        for way, exploration in (("small", 0.15), ("wide", None))
    }


def test_the_particles_meet_the_targets_within_a_hundredth(found):
    seen = connectivity_calsheq.statistics(MARKET, found["small"].explored)
    assert np.abs(np.asarray(seen.share)[..., 0].mean(axis=1) - 0.2).max() <= 0.01
    assert np.asarray(seen.total_share).mean(axis=1).min() >= 0.79
    start = float(reward(TARGETS, MARKET.exact(np.full((2, 2), 0.5))))
    assert np.asarray(reward(TARGETS, seen)).mean(axis=1).min() > start + 0.05


def test_compiled_statistics_are_the_exact_ones(found):
    laws = found["small"].explored[0, :5]
    compiled = connectivity_calsheq.statistics(MARKET, laws)
    exact = MARKET.exact(np.asarray(laws, float).reshape(5, 2, 2))
    np.testing.assert_allclose(compiled.share, exact.share, atol=1e-5)


def test_wide_first_steps_scatter_the_particles_more(found):
    first = {way: float(np.asarray(one.reward)[:, :20].mean()) for way, one in found.items()}
    assert first["small"] > first["wide"]


def test_settling_takes_mean_increments_alone():
    space = SupertypeProfile(2)
    calibrator = calsheq.new_calibrator(space, False, jax.random.key(1), 8, CONFIG, 0.05)
    laws = jax.numpy.full((3, 4), 0.9, jax.numpy.float32)
    moved = calsheq.move(space, False, calibrator, laws, jax.random.key(2))
    mean = calsheq.settled(space, False, calibrator, laws, 1)
    assert np.abs(np.asarray(mean) - 0.5).max() < 0.02  # a new policy's mean, whatever Λ was
    assert 0.005 < np.abs(np.asarray(moved.laws - mean)).max() < 5 * 0.025
