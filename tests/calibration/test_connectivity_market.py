"""The market of connectivity alone: its exact statistics against enumeration, sampling and the stated numbers."""

import itertools

import numpy as np
import pytest

from diffgames.calibration.connectivity_market import ConnectivityMarket, closed_form
from diffgames.calibration.targets import experiment_targets, reward
from diffgames.errors import InvalidInput

PROVIDERS = {1: (1, 4), 2: (1, 4), 3: (1, 9), 4: (1, 9)}


def test_the_exact_shares_are_those_of_all_networks_enumerated():
    market = ConnectivityMarket((1, 2), sizes=(1.0, 3.0), takers=(2, 5))
    probability = np.asarray([[0.3, 0.8], [0.6, 0.1]])
    of, expected = (0, 1, 1), np.zeros((2, 2))
    for size, links in itertools.product(range(2), itertools.product((0, 1), repeat=3)):
        p = [probability[j, size] for j in of]
        chance = np.prod([q if link else 1 - q for q, link in zip(p, links, strict=True)])
        for j, link in zip(of, links, strict=True):
            expected[j, size] += chance * link / max(sum(links), 1)
    volume = np.asarray([2.0, 15.0])
    np.testing.assert_allclose(market.exact(probability).share, expected @ volume / volume.sum(), atol=1e-14)


@pytest.mark.parametrize(("experiment", "stated"), [(1, 0.59), (2, 0.52), (3, 0.51), (4, 0.87)])
def test_probabilities_of_one_half_earn_what_is_stated(experiment, stated):
    seen = ConnectivityMarket(PROVIDERS[experiment]).exact(np.full((2, 10), 0.5))
    assert round(float(reward(experiment_targets(experiment), seen)), 2) == stated


@pytest.mark.parametrize(("experiment", "stated", "share"), [(1, 1.0, 0.3301), (2, 0.989, 0.4909), (3, 0.989, 0.4909)])
def test_the_closed_form_earns_what_is_stated(experiment, stated, share):
    seen = ConnectivityMarket(PROVIDERS[experiment]).exact(closed_form(experiment))
    assert round(float(reward(experiment_targets(experiment), seen)), 3) == stated
    assert seen.share[0] == pytest.approx(share, abs=1e-4)


def test_in_experiment_4_the_targets_are_met_in_expectation_and_the_episodes_scatter_about_them():
    market, targets = ConnectivityMarket(PROVIDERS[4]), experiment_targets(4)
    assert market.exact(closed_form(4)).share[0] == pytest.approx(0.25, abs=1e-4)
    sampled = np.asarray(reward(targets, market.sample(closed_form(4), 200, seed=0)))
    assert abs(sampled.mean() - 0.995) < 4 * sampled.std() / 200**0.5 + 5e-4  # stated to three digits


@pytest.mark.parametrize("experiment", [1, 3])
def test_sampled_episodes_scatter_about_the_exact_shares(experiment):
    market = ConnectivityMarket(PROVIDERS[experiment])
    profile = np.random.default_rng(3).random((2, 10))
    sampled, exact = market.sample(profile, 200, seed=1), market.exact(profile)
    error = sampled.share.std(axis=0) / 200**0.5
    assert np.all(np.abs(sampled.share.mean(axis=0) - exact.share) < 4 * error)
    assert np.abs(sampled.percentiles - exact.percentiles).mean() < 0.3


def test_the_best_of_random_profiles_is_short_of_the_closed_form():
    for experiment, stated in ((1, 0.73), (2, 0.65), (3, 0.67), (4, 0.995)):
        market, targets = ConnectivityMarket(PROVIDERS[experiment]), experiment_targets(experiment)
        profile, best = market.best_of_random(targets, 67, seed=0)
        assert best == pytest.approx(float(reward(targets, market.exact(profile))))
        assert abs(best - stated) < 0.05  # another draw of 67


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("providers", lambda: ConnectivityMarket((1, 0))),
        ("takers", lambda: ConnectivityMarket((1,), sizes=(1.0, 2.0), takers=(3,))),
        ("sizes", lambda: ConnectivityMarket((1,), sizes=(2.0, 1.0), takers=(3, 3))),
        ("probability", lambda: ConnectivityMarket((1,), sizes=(1.0,), takers=(3,)).exact(np.asarray([[1.5]]))),
        ("experiment", lambda: closed_form(5)),
    ],
)
def test_bad_input_is_refused(key, make):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert refused.value.key == key
