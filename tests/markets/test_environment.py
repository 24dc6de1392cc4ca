"""The market's invariants under random play, and its rules against a plain-Python reading of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.markets.agents import clipped_normal
from diffgames.markets.depth_book import liquidation_value
from diffgames.markets.market_state import BUY, HOLD, SELL
from toy_market import random_play


@pytest.mark.parametrize(
    ("providers", "takers", "exchanges", "probability"),
    [((1, 2), (4, 3), 1, 1.0), ((1, 2), (4, 3), 1, 0.3), ((1,), (3,), 3, 0.8)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_inventory_and_cash_add_up_to_zero(build_market, providers, takers, exchanges, probability, seed):
    """Over all agents and exchanges, at every step, to single-precision rounding.

    Cash is a sum of T·(takers + providers) terms of size |price|·q < 100 each, rounded at 2⁻²⁴ relatively: 30 steps
    of ten agents stay far below 0.02 tick × lots.
    """
    market = build_market(providers, takers, exchanges, probability)
    _, (_, record, _) = random_play(market, jax.random.key(seed))
    assert np.abs(np.asarray(record.imbalance[..., 0])).max() < 1e-3
    assert np.abs(np.asarray(record.imbalance[..., 1])).max() < 2e-2


def test_wealth_is_the_sum_of_spread_and_inventory_pnl(build_market):
    market = build_market()
    state, (_, record, _) = random_play(market, jax.random.key(1))
    wealth = state.providers.cash + state.providers.inventory * state.price[:, None]
    parts = jnp.sum(record.pnl_spread + record.pnl_inventory, axis=1)
    np.testing.assert_allclose(wealth, parts, atol=5e-3)
    taker_wealth = state.takers.cash + state.takers.inventory * state.price[:, None]
    np.testing.assert_allclose(taker_wealth, jnp.sum(record.taker_pnl, axis=1), atol=5e-3)


def test_marked_to_the_book_pnl_adds_up_to_what_selling_out_leaves(build_market):
    """Cash and liquidation value of the final book for both roles; trades do not know how they are marked or clocked.

    Private pasts count in the running fractions: (n₀ q̂_0 + count)/(n₀ + T) at the end.
    """
    key = jax.random.key(1)
    _, (rewards, mid, _) = random_play(build_market(penalty=0.03), key)
    market = build_market(penalty=0.03, mark="book", clock="private")
    state, (paid, record, seen) = random_play(market, key)
    for name in ("pnl_spread", "pnl_inventory", "taker_traded", "taker_cash", "hedge_cash", "next_price"):
        np.testing.assert_array_equal(getattr(record, name), getattr(mid, name))
    book = jax.tree.map(lambda side: side[:, 0], state.books)
    total = {"providers": record.pnl_spread + record.pnl_inventory + record.pnl_penalty, "takers": record.taker_pnl}
    for role, pnl in total.items():
        account = getattr(state, role)
        left = account.cash + jax.vmap(liquidation_value)(book, account.inventory) - 0.03 * account.inventory**2
        np.testing.assert_allclose(jnp.sum(pnl, axis=1), left, atol=2e-2)
        assert np.abs(np.asarray(account.inventory)).max() > 3.0
    types, change = record.provider_type, record.pnl_penalty - mid.pnl_penalty
    expected = types.pnl_weight * types.normalizer * change
    np.testing.assert_allclose(paid["provider"] - rewards["provider"], expected, atol=1e-4)
    assert np.abs(np.asarray(change)).max() > 1.0

    first = dict(zip(market.role("taker").observation_names, np.asarray(seen["taker"][:, 0]).T, strict=True))
    past, direction = 2 * market.steps * first["time"].T, np.asarray(record.taker_direction)
    np.testing.assert_allclose(past, state.past, atol=1e-3)
    for name, sign in (("bought_fraction", 1), ("sold_fraction", -1)):
        count = (sign * direction > 0).sum(axis=1)
        final = (past * first[name].T + count) / (past + market.steps)
        np.testing.assert_allclose(getattr(state, name), final, atol=1e-4)


def test_rewards_equal_a_plain_reading_of_equations_4_and_6(build_market):
    market = build_market(penalty=0.03)
    _, (rewards, record, _) = random_play(market, jax.random.key(2))
    record, rewards = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (record, rewards))
    for b in range(5):
        mean, count = np.zeros(3), 0
        for t in range(market.horizon):
            types = jax.tree.map(lambda leaf: leaf[b, t], record.provider_type)
            before = np.abs(mean - types.share_target)
            if record.taker_volume[b, t] > 0:
                count += 1
                mean = mean + (record.market_share[b, t] - mean) / count
            after = np.abs(mean - types.share_target)
            q = record.inventory[b, t]
            q_next = q + record.hedged[b, t] + np.sum(record.flow[b, t, :, 1] - record.flow[b, t, :, 0], axis=-1)
            if t + 1 < market.horizon:
                np.testing.assert_allclose(q_next, record.inventory[b, t + 1], atol=1e-4)
            inventory = q_next * (record.next_price[b, t] - record.price[b, t])
            pnl = record.pnl_spread[b, t] + inventory - 0.03 * (q_next**2 - q**2)
            expected = types.pnl_weight * types.normalizer * (pnl - types.risk_aversion * np.abs(inventory))
            expected -= (1 - types.pnl_weight) * (after - before)
            np.testing.assert_allclose(rewards["provider"][b, t], expected, atol=2e-4)
        taken = record.taker_direction[b]
        for agent in range(7):
            types = jax.tree.map(lambda leaf: leaf[b, 0, agent], record.taker_type)
            sold, bought = np.mean(taken[:, agent] < 0), np.mean(taken[:, agent] > 0)
            distance = (abs(sold - types.sell_target) + abs(bought - types.buy_target)) / 2
            start = (types.sell_target + types.buy_target) / 2
            held = record.taker_inventory[b, :, agent]
            drift = held * (record.next_price[b] - record.price[b])
            expected = types.pnl_weight * types.normalizer * np.sum(
                record.taker_pnl[b, :, agent] - types.risk_aversion * np.abs(drift)
            ) - (1 - types.pnl_weight) * (distance - start)
            np.testing.assert_allclose(np.sum(rewards["taker"][b, :, agent]), expected, atol=1e-3)


def test_market_shares_count_the_exchanges_volume(build_market):
    """Shares are fractions of all takers' volume: they sum to at most one, and to less where exchanges get some."""
    _, (_, record, _) = random_play(build_market(), jax.random.key(3))
    total = np.asarray(jnp.sum(record.market_share, axis=-1))
    assert total.max() <= 1 + 1e-6 and (total < 1 - 1e-3).any()
    flow = np.asarray(jnp.sum(record.flow, axis=(-1, -2)))
    volume = np.asarray(record.taker_volume)[..., None]
    expected = np.where(volume > 0, flow / np.maximum(volume, 1e-9), 0.0)
    np.testing.assert_allclose(record.market_share, expected, atol=1e-6)


def test_everyone_trades_at_the_best_connected_price(build_market):
    """In a fully connected market takers of one lot (the first supertype) pay exactly the narrowest quote."""
    market = build_market(probability=1.0)
    _, (_, record, _) = random_play(market, jax.random.key(4))
    record = jax.tree.map(np.asarray, record)
    ask = np.minimum(record.provider_ask.min(axis=-1), record.best_ask[..., 0])[..., None]
    bid = np.maximum(record.provider_bid.max(axis=-1), record.best_bid[..., 0])[..., None]
    direction, price = record.taker_direction[..., :4], record.taker_price[..., :4]
    expected = np.where(direction > 0, ask, np.where(direction < 0, bid, 0.0))
    assert (direction > 0).any() and (direction < 0).any()
    np.testing.assert_allclose(price, expected, atol=1e-3)


def test_quotes_lie_on_the_granularity_grid(build_market):
    _, (_, record, _) = random_play(build_market(), jax.random.key(5))
    steps = np.asarray(record.provider_ask, np.float64) / 0.2
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_no_provider_bids_more_than_it_asks_however_many_exchanges_there_are(build_market):
    """Mids of several exchanges differ, and the best bid of one may be the best ask of another."""
    market = build_market((1, 2), (4, 3), exchanges=3, probability=1.0, spread_bounds=(-1.0, -0.9))
    _, (_, record, _) = random_play(market, jax.random.key(13))
    assert (np.asarray(record.best_bid).max(axis=-1) >= np.asarray(record.best_ask).min(axis=-1)).any()
    assert (np.asarray(record.provider_ask) - np.asarray(record.provider_bid)).min() > -1e-4


def test_hedging_all_leaves_the_flow_of_the_step(build_market):
    """With ε_hedge = 1 and a connected exchange the inventory carried over is the step's own flow."""
    market = build_market(probability=1.0)
    state = market.reset(jax.random.key(6))
    for seed in range(5):
        tweaks = jnp.asarray([[-0.5, 0.0, 1.0]] * 3, jnp.float32)
        decision = jax.random.randint(jax.random.key(seed), (7,), 0, 3, jnp.int32)
        before = state.providers.inventory
        state, _, record = market.step(state, {"provider": tweaks, "taker": decision}, jax.random.key(seed))
        np.testing.assert_allclose(record.hedged, -before, atol=1e-5)


def test_a_taker_s_large_order_moves_the_reference_price_and_it_stays_moved(build_market):
    """Against the same random path without it: up after a purchase, down after a sale, and no less ten steps later."""
    market = build_market(takers=(1,), quantity=clipped_normal([60.0], 0.0, 0.0, 100.0), probability=1.0)
    tweaks = jnp.asarray([[1.0, 0.0, 0.0]] * 3, jnp.float32)
    steps, episodes = 11, 200

    @jax.jit
    def prices(keys, first):
        decisions = jnp.zeros((steps, 1), jnp.int32).at[0, 0].set(first)

        def episode(key):
            reset, play = jax.random.split(key)

            def body(state, now):
                decision, key = now
                state, _, record = market.step(state, {"provider": tweaks, "taker": decision}, key)
                return state, (state.price, record.taker_volume)

            return jax.lax.scan(body, market.reset(reset), (decisions, jax.random.split(play, steps)))[1]

        return jax.vmap(episode)(keys)

    keys = jax.random.split(jax.random.key(7), episodes)
    (held, nothing), *others = (prices(keys, jnp.int32(first)) for first in (HOLD, BUY, SELL))
    assert np.asarray(nothing).max() == 0
    for sign, (price, volume) in zip((1, -1), others, strict=True):
        moved = sign * (np.asarray(price, np.float64) - np.asarray(held, np.float64))
        mean, error = moved.mean(axis=0), moved.std(axis=0) / np.sqrt(episodes)
        assert (np.asarray(volume)[:, 0] > 50).all() and mean[0] > 0.5 and mean[0] > 5 * error[0]
        assert abs(mean[-1] - mean[0]) < 0.1 * mean[0] + 3 * error[-1]


def test_takers_see_the_quotes_they_will_pay(build_market):
    """Ordered stages: the takers' observation responds to the providers' actions of the same step."""
    market = build_market(probability=1.0)
    state = market.reset(jax.random.key(8))
    index = market.role("taker").observation_names.index("buying_cost")
    tight = jnp.asarray([[-1.0, 0.0, 0.0]] * 3, jnp.float32)
    wide = jnp.asarray([[0.6, 0.0, 0.0]] * 3, jnp.float32)
    cost = [market.observe(state, {"provider": tweaks}, "taker")[:, index] for tweaks in (tight, wide)]
    assert bool(jnp.all(cost[0] < cost[1]))


def test_several_exchanges_share_one_reference_price(build_market):
    """Mids of three exchanges stay within a few ticks of one another over an episode."""
    _, (_, record, _) = random_play(build_market((1,), (3,), exchanges=3), jax.random.key(9))
    mid = (np.asarray(record.best_bid) + np.asarray(record.best_ask)) / 2
    assert np.abs(mid - mid.mean(axis=-1, keepdims=True)).mean() < 2.0


def test_observation_names_match_the_vectors(build_market):
    market = build_market()
    _, (_, _, seen) = random_play(market, jax.random.key(10))
    for role in market.roles:
        assert seen[role.name].shape[-1] == role.observation_size
        assert np.isfinite(np.asarray(seen[role.name])).all()


def test_costs_are_observed_in_spreads_however_wide_those_are(build_market):
    """Where the exchange's spread is usually 17 ticks, quotes of several ticks are no longer all alike."""
    market = build_market(probability=1.0)
    state = market.reset(jax.random.key(14))
    scaled = build_market(probability=1.0, spread_scale=jnp.float32(17.0))
    wide = {"provider": jnp.asarray([[1.0, 0.0, 0.0]] * 3, jnp.float32)}
    for role, features in {"taker": ("buying_cost", "selling_cost"), "provider": ("market_spread",)}.items():
        names = market.role(role).observation_names
        seen, shrunk = (m.observe(state, wide if role == "taker" else {}, role) for m in (market, scaled))
        for feature in features:
            column = names.index(feature)
            np.testing.assert_allclose(shrunk[:, column], seen[:, column] / 17, rtol=1e-5)


def test_unreachable_takers_do_not_trade(build_market):
    market = build_market(probability=0.0)
    state, (_, record, _) = random_play(market, jax.random.key(11))
    assert float(jnp.max(record.taker_volume)) == 0.0 and float(jnp.max(jnp.abs(state.takers.cash))) == 0.0


def test_single_precision_everywhere(build_market):
    """The same dtypes inside an x64 process: no leaf of state, rewards or observations is widened."""
    out = random_play(build_market(), jax.random.key(12))
    floats = [leaf for leaf in jax.tree.leaves(out) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {np.dtype("float32")}


@pytest.mark.parametrize("exchanges", [1, 2])
def test_one_trace_per_shape(build_market, exchanges):
    market, traces = build_market(exchanges=exchanges), []

    @jax.jit
    def step(market, state, actions, key):
        traces.append(1)
        return market.step(state, actions, key)[0]

    state = market.reset(jax.random.key(0))
    actions = {"provider": jnp.zeros((3, 3), jnp.float32), "taker": jnp.zeros((7,), jnp.int32)}
    for seed in range(3):
        state = step(market, state, actions, jax.random.key(seed))
    assert len(traces) == 1


def test_a_prescribed_path_is_followed_within_half_a_tick(build_market):
    """Whatever the takers' orders did to the book, the exchange's agent brings its mid to the path."""
    path = 6.0 * jnp.sin(jnp.linspace(0.0, 6.0, 31, dtype=jnp.float32))
    _, (_, record, _) = random_play(build_market(price_path=path), jax.random.key(8))
    deviation = np.abs(np.asarray(record.next_price) - np.asarray(path)[1:])
    assert deviation.max() <= 0.5 + 1e-5


def test_shares_of_all_volume_or_of_what_providers_trade(build_market):
    """Equal keys, equal trades: the two shares differ by the factor of the exchange's part alone."""
    key = jax.random.key(5)
    _, (_, all_, _) = random_play(build_market(), key, 8)
    _, (_, own, _) = random_play(build_market(share="providers"), key, 8)
    flow, volume = np.asarray(own.flow).sum(axis=(2, 3, 4)), np.asarray(own.taker_volume)
    np.testing.assert_allclose(np.asarray(own.market_share).sum(axis=-1), flow > 0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(all_.market_share).sum(axis=-1), flow / np.maximum(volume, 1e-6), atol=1e-5)
    assert (flow < volume - 0.5).any()
