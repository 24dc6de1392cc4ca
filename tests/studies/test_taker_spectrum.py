"""Takers along a fixed price path: the PnL bound, bad input, and over seeds the claims of the paper's Figure 2."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from diffgames.errors import InvalidInput
from diffgames.learning.train import initial_profile, train
from diffgames.studies.learning_parameters import ppo_config
from diffgames.studies.taker_spectrum import (
    STUDY,
    TakerSpectrumConfig,
    best_pnl,
    fractions,
    measure,
    pnl,
    price_path,
    spectrum_market,
)


def test_the_pnl_bound_is_the_best_of_all_action_sequences():
    """Enumerate buy, sell and hold at every step of a short path, at half a tick per trade."""
    path = np.asarray([0.0, 2.0, 1.2, -1.0, 0.4, 1.0])
    earned = [
        sum(a * (path[-1] - p) - 0.5 * abs(a) for a, p in zip(actions, path, strict=False))
        for actions in itertools.product((-1, 0, 1), repeat=len(path) - 1)
    ]
    assert best_pnl(path) == pytest.approx(max(earned))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"path": (0.0, 1.0, 2.0)}, "path"),
        ({"path": (0.0, 0.2, 0.1), "steps": 2}, "path"),
        ({"buy_target": 0.9, "sell_target": 0.2}, "buy_target"),
        ({"weights": ()}, "weights"),
    ],
)
def test_what_does_not_fit_is_named(exchange, changes, key):
    with pytest.raises(InvalidInput, match=f"^{key}"):
        spectrum_market(TakerSpectrumConfig(**changes), exchange)


def test_measurements_fix_the_weight_and_share_the_random_numbers(exchange):
    """An unlearned policy that sees another ω in the same episodes; the exchange follows the path all the same."""
    config = TakerSpectrumConfig(steps=20, takers=3)
    market = spectrum_market(config, exchange)
    profile = initial_profile(market, jax.random.key(0), 8)
    low, high = measure(market, profile, (0.0, 1.0), jax.random.key(1), 4)
    assert np.all(np.asarray(low.taker_type.pnl_weight) == 0.0) and np.all(
        np.asarray(high.taker_type.pnl_weight) == 1.0
    )
    for record in (low, high):
        assert np.abs(np.asarray(record.next_price) - price_path(config)[1:, None]).max() <= 0.5 + 1e-5


@pytest.mark.slow
@pytest.mark.long
def test_targets_are_met_at_zero_and_pnl_rises_with_the_weight(exchange):
    """Over seeds, with the quick preset: fractions within two points at ω = 0, PnL rising in ω (one-sided 95%)."""
    config = dataclasses.replace(TakerSpectrumConfig(), **STUDY.presets["quick"])
    market = spectrum_market(config, exchange)
    weights = (0.0, 0.25, 0.5, 0.75, 1.0)
    slopes = []
    for seed in range(4):
        start_key, train_key, key = jax.random.split(jax.random.key(seed), 3)
        profile = initial_profile(market, start_key, config.width)
        profile = train(market, profile, ppo_config(config), train_key, config.updates, learn=("taker",)).profile
        records = measure(market, profile, weights, key, 40)
        bought, sold = fractions(records[0])
        assert abs(bought - config.buy_target) <= 0.02 and abs(sold - config.sell_target) <= 0.02
        earned = [float(pnl(record).mean()) for record in records]
        assert max(earned) <= best_pnl(price_path(config)) + 0.5 * config.steps
        slopes.append(np.polyfit(weights, earned, 1)[0] / best_pnl(price_path(config)))
    lower = np.mean(slopes) - stats.t.ppf(0.95, len(slopes) - 1) * np.std(slopes, ddof=1) / len(slopes) ** 0.5
    assert lower > 0.2
