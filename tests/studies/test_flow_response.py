"""A randomly quoting provider's flow: the market that measures it, and over seeds the claim of the paper's Figure 3."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffgames.errors import InvalidInput
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile, train
from diffgames.markets.behaviour import response_curvature
from diffgames.studies.flow_response import (
    LEARNERS,
    RANDOM,
    STUDY,
    FlowResponseConfig,
    RandomQuotes,
    response_market,
)
from diffgames.studies.learning_parameters import ppo_config


def test_unwanted_takers_never_trade_and_quotes_do_not_depend_on_what_is_seen(exchange):
    config = FlowResponseConfig(pnl_takers=(1, 3), flow_takers=4, steps=20)
    market = response_market(config, exchange, 1)
    profile = {**initial_profile(market, jax.random.key(0), 8), RANDOM: RandomQuotes(jnp.float32(0.5))}
    _, record = evaluate(market, profile, jax.random.key(1), 200)
    direction = np.asarray(record.taker_direction)
    assert np.abs(direction[..., :5]).sum(axis=(0, 1)).min() > 0
    assert np.all(direction[..., 5:] == 0)
    assert np.all(np.asarray(record.hedge_fraction)[..., 0] == 0.0)
    skew = np.asarray(record.skew_tweak, np.float64)[..., 0]
    assert skew.std() == pytest.approx(0.49, abs=0.02)  # a normal of deviation ½, clipped to [−1, 1]
    error = 1 / np.sqrt(skew.size)
    assert abs(np.corrcoef(skew[1:].ravel(), skew[:-1].ravel())[0, 1]) < 4 * error


def test_a_list_without_pnl_takers_is_refused(exchange):
    with pytest.raises(InvalidInput, match=r"^pnl_takers"):
        response_market(FlowResponseConfig(pnl_takers=(0,)), exchange, 0)


@pytest.mark.slow
@pytest.mark.long
def test_pnl_takers_make_the_response_more_convex(exchange):
    """Over seeds, with the quick preset's learning: convexity with 4 PnL takers above that with none (one-sided)."""
    config = dataclasses.replace(FlowResponseConfig(pnl_takers=(0, 4)), **STUDY.presets["quick"])
    rises = []
    for seed in range(3):
        bent = []
        for number in config.pnl_takers:
            market = response_market(config, exchange, number)
            start_key, train_key, key = jax.random.split(jax.random.key(seed), 3)
            quotes = RandomQuotes(jnp.asarray(config.quote_deviation, jnp.float32))
            profile = {**initial_profile(market, start_key, config.width), RANDOM: quotes}
            profile = train(market, profile, ppo_config(config), train_key, config.updates, learn=LEARNERS).profile
            bent.append(response_curvature(evaluate(market, profile, key, 60)[1], 1.0).coefficients[2])
        rises.append(bent[1] - bent[0])
    lower = np.mean(rises) - stats.t.ppf(0.95, len(rises) - 1) * np.std(rises, ddof=1) / len(rises) ** 0.5
    assert lower > 0
