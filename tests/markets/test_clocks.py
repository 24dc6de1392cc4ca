"""Private pasts: targets stay within reach, clocks are one's own, and the shared clock is left as it was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.markets.agents import TakerType
from diffgames.markets.clocks import private_past
from diffgames.markets.given_type import GivenType, complete
from diffgames.markets.market_state import BUY, SELL
from diffgames.verification.market_rules import Schedule


def _types(buy: float, sell: float, takers: int = 2000) -> TakerType:
    column = {name: jnp.zeros((takers,), jnp.float32) for name in TakerType.__dataclass_fields__}
    targets = {"buy_target": column["quantity"] + buy, "sell_target": column["quantity"] + sell}
    return TakerType(**{**column, **targets})


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from([4, 30, 100, 1000]))
def test_targets_can_be_met_from_every_past(buy, among, steps):
    """What is left to buy, to sell and to hold over n₀ + T steps is never negative and takes T steps."""
    sell = (1.0 - buy) * among
    past, sold, bought = (np.asarray(x, float) for x in private_past(_types(buy, sell), steps, jax.random.key(0)))
    assert past.min() >= 0 and past.max() <= steps * (1 + 1e-5)
    done = np.stack([bought, sold, 1 - bought - sold]) * past
    left = np.array([[buy], [sell], [1 - buy - sell]]) * (past + steps) - done
    assert left.min() >= -2e-3 * steps**0.5 and np.allclose(left.sum(axis=0), steps, rtol=1e-4)


def test_a_past_s_net_position_varies_as_coin_tosses_over_half_an_episode_do():
    past, sold, bought = (np.asarray(x, float) for x in private_past(_types(0.5, 0.5, 40_000), 100, jax.random.key(1)))
    net = (bought - sold) * past
    assert net.var() == pytest.approx(50.0, rel=0.05) and abs(net.mean()) < 0.2
    assert past.mean() == pytest.approx(50.0, rel=0.02)


@pytest.mark.parametrize(("buy", "sell"), [(0.5, 0.5), (0.75, 0.25), (0.4, 0.2), (1.0, 0.0)])
def test_the_schedule_that_meets_the_targets_still_does(buy, sell):
    """Greedy catching up ends within a trade of the targets on either side, wherever the taker starts."""
    steps, takers = 60, 200
    past, sold, bought = (np.asarray(x) for x in private_past(_types(buy, sell, takers), steps, jax.random.key(2)))
    rule = Schedule(jnp.float32(0.0), (0, 1, 2, 3))
    act = jax.jit(lambda seen: jnp.argmax(rule((), seen)[1], axis=1))
    target = np.broadcast_to(np.float32([[buy], [sell]]), (2, takers))
    done = np.stack([bought, sold]).astype(np.float32)
    for t in range(steps):
        action = np.asarray(act(jnp.asarray(np.concatenate([target, done]).T)))
        done = done + (np.stack([action == BUY, action == SELL]) - done) / (past + t + 1).astype(np.float32)
    assert np.abs((done - target) * (past + steps)).max() <= 1.0 + 1e-3


def test_the_clock_shown_is_shared_private_or_absent(build_market):
    shown = {}
    for clock in ("shared", "private", "none"):
        market = build_market(clock=clock)
        state = market.reset(jax.random.key(0))
        state = dataclasses.replace(state, time=jnp.int32(12))
        quotes = {"provider": jnp.zeros((3, 3), jnp.float32)}
        names, seen = market.role("taker").observation_names, market.observe(state, quotes, "taker")
        assert seen.shape == (7, len(names))
        shown[clock] = (np.asarray(seen), names, np.asarray(state.past))
        told = market.observe_by_name(state, quotes, "taker")
        np.testing.assert_array_equal(told["time"], 12.0)  # one's own function is told the market's time
    shared, names, past = shown["shared"]
    at = names.index("time")
    np.testing.assert_allclose(shared[:, at], 12 / 30, rtol=1e-6)
    assert not past.any()
    private, _, past = shown["private"]
    np.testing.assert_allclose(private[:, at], (12 + past) / 60, rtol=1e-6)
    assert len(set(past)) == 7
    none, fewer, _ = shown["none"]
    assert "time" not in fewer
    np.testing.assert_array_equal(none, np.delete(shared, at, axis=1))


def test_a_known_type_has_a_past_of_its_own_targets(build_market):
    market = build_market(clock="private")
    values = complete(market.takers, 0, {"buy_target": 1.0, "sell_target": 0.0})
    known = GivenType(market, "taker", jnp.asarray(0, jnp.int32), values).reset(jax.random.key(0))
    assert float(known.bought_fraction[0]) == 1.0 and float(known.sold_fraction[0]) == 0.0
    drawn = market.reset(jax.random.key(0))
    np.testing.assert_array_equal(known.past[1:], drawn.past[1:])


@pytest.mark.parametrize("setting", ["mark", "clock"])
def test_an_unknown_mark_or_clock_is_refused(build_market, setting):
    with pytest.raises(InvalidInput, match=setting):
        build_market(**{setting: "never"})
