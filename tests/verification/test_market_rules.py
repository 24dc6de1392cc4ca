"""Rules: a schedule meets a flow taker's targets as nearly as whole trades can, and withdrawing trades nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.learning.policy import FixedProbabilities
from diffgames.learning.rollout import evaluate
from diffgames.markets.agents import constant
from diffgames.markets.environment import OTCMarket
from diffgames.verification.market_rules import provider_rules, taker_rules


@pytest.fixture(scope="module")
def flow_market(build_market) -> OTCMarket:
    """Takers of flow alone with unequal targets."""
    market = build_market(providers=(1,), takers=(3,), probability=1.0)
    takers = dict(vars(market.takers)) | {
        "pnl_weight": constant([0.0]),
        "sell_target": constant([0.2]),
        "buy_target": constant([0.5]),
    }
    return dataclasses.replace(market, takers=type(market.takers)(**takers))


def test_the_schedule_earns_what_can_be_earned(flow_market):
    """D₀ = ½(.2 + .5) = .35 is never exceeded; whole trades miss it by one step in thirty."""
    withdrawn = provider_rules(flow_market.role("provider"))["withdrawing"]
    rules = taker_rules(flow_market.role("taker"))
    play = {name: {"provider": withdrawn, "taker": rule} for name, rule in rules.items()}
    kept, _ = evaluate(
        flow_market,
        play["the schedule that meets the targets"],
        jax.random.key(1),
        16,
        {"provider": False, "taker": False},
    )
    earned = np.asarray(kept["taker"])
    assert earned.max() < 0.35 + 1e-5 and earned.min() > 0.35 - 1 / 30
    idle, _ = evaluate(flow_market, play["never trading"], jax.random.key(1), 16, {"provider": False, "taker": False})
    np.testing.assert_allclose(np.asarray(idle["taker"]), 0.0, atol=1e-6)


def test_whoever_withdraws_holds_nothing_where_the_exchange_is_better(flow_market):
    rules = provider_rules(flow_market.role("provider"))
    takers = FixedProbabilities(jnp.zeros(3, jnp.float32))
    _, record = evaluate(
        flow_market, {"provider": rules["withdrawing"], "taker": takers}, jax.random.key(2), 8, {"provider": False}
    )
    assert np.abs(np.asarray(record.inventory)).max() == 0.0
    name = next(name for name in rules if name.startswith("spread -0.5, skew −0.5") and name.endswith("hedge 0"))
    _, record = evaluate(
        flow_market, {"provider": rules[name], "taker": takers}, jax.random.key(2), 8, {"provider": False}
    )
    held, skew = np.asarray(record.inventory)[..., 0], np.asarray(record.skew_tweak)[..., 0]
    assert np.abs(held).max() > 0
    expected = np.clip(-0.5 * held / float(flow_market.inventory_scale), -1, 1)
    np.testing.assert_allclose(skew, expected, atol=1e-5)
