"""The verdict on a training: planted rises, falls and losses are called so, what has settled is not, at its level."""

import numpy as np
import pytest

from diffgames.learning.verdict import trend, verdict


def noise(rng, updates, memory=0.0):
    """Stationary noise of deviation one whose neighbours are alike."""
    e = rng.standard_normal(updates)
    for k in range(1, updates):
        e[k] = memory * e[k - 1] + np.sqrt(1 - memory**2) * e[k]
    return e


@pytest.mark.parametrize(("updates", "memory", "most"), [(100, 0.0, 0.07), (100, 0.4, 0.10), (400, 0.5, 0.075)])
def test_intervals_of_change_and_level_hold_at_their_level(updates, memory, most):
    """Five in a hundred leave the truth out; with memory at a hundred updates a few more, as stated here."""
    rng = np.random.default_rng(0)
    found = [trend(noise(rng, updates, memory)) for _ in range(3000)]
    assert np.mean([abs(one.change) > one.change_error for one in found]) < most
    assert np.mean([abs(one.level) > one.level_error for one in found]) < most


def test_a_line_is_recovered_exactly():
    one = trend(3.0 + 0.02 * np.arange(200))
    assert one.change == pytest.approx(0.02 * 50) and one.level == pytest.approx(3.0 + 0.02 * 174.5)
    assert one.change_error < 1e-9


def test_rewards_that_climb_and_then_fall_are_not_converged():
    """The run that was found: up to +.26, then down to −.19, where withdrawing earns nothing."""
    rng = np.random.default_rng(1)
    u = np.arange(300)
    provider = np.where(u < 100, 0.26 * u / 100, 0.26 - 0.45 * (u - 100) / 200) + 0.02 * rng.standard_normal(300)
    found = verdict({"provider_0": provider, "taker_0": 0.5 + 0.01 * rng.standard_normal(300)})
    assert not found.converged and found.words.startswith("not converged: provider_0 still falls")
    assert "withdrawing 0" in found.words and "taker_0" not in found.words and found.below == ("provider_0",)


def test_a_share_that_drifts_is_told_and_no_level_is_asked_of_it():
    rng = np.random.default_rng(2)
    share = 0.05 + 0.28 * np.linspace(0, 1, 200) + 0.01 * rng.standard_normal(200)
    found = verdict({"provider_0": 0.3 + 0.02 * rng.standard_normal(200)}, {"the exchange's share": share})
    assert found.reasons and all("the exchange's share still rises" in reason for reason in found.reasons)
    assert verdict({"a": -1 + 0.01 * rng.standard_normal(200)}, withdrawing=None).converged


def test_a_share_is_judged_by_the_whole_and_a_reward_by_its_level():
    """A share of .6% that falls by a point of the volume is no drift; a reward of that size is."""
    curve = 0.006 - 0.01 * np.linspace(-1, 1, 200) + 1e-4 * np.random.default_rng(4).standard_normal(200)
    assert verdict({}, {"the exchange's share": curve}).converged
    assert not verdict({"provider_0": curve}, withdrawing=None).converged
    assert not verdict({}, {"the exchange's share": 10 * curve}).converged


def test_a_training_that_has_settled_is_called_so_nearly_always():
    rng = np.random.default_rng(3)
    u = np.arange(400)
    curves = [0.4 * (1 - np.exp(-u / 25)) + 0.02 * rng.standard_normal(400) for _ in range(300)]
    assert np.mean([verdict({"provider_0": curve}).converged for curve in curves]) > 0.95


def test_too_few_updates_cannot_be_judged():
    found = verdict({"provider_0": np.ones(20)})
    assert not found.converged and "too few updates" in found.words and "earns" not in found.words
