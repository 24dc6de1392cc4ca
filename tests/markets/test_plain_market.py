"""The compiled market against the plain one: same books, same actions, same accounts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.benchmarks.plain_market import PlainMarket, PlainProvider, PlainTaker
from diffgames.markets.market_state import BUY, SELL
from diffgames.markets.routing import tie_breakers


def _volumes(values, centre):
    return {int(k) - centre: float(v) for k, v in enumerate(np.asarray(values)) if v > 0}


@pytest.mark.parametrize("seed", range(6))
def test_accounts_equal_the_plain_market_trade_by_trade(build_market, seed):
    market = build_market(providers=(1, 2), takers=(6, 5), probability=0.7)
    state = market.reset(jax.random.key(seed))
    centre = market.grid // 2
    links = np.asarray(jnp.concatenate([state.network.provider_taker.T, state.network.taker_exchange], axis=1))
    quantity = np.asarray(state.taker_type.quantity)
    plain = PlainMarket(
        providers=[PlainProvider() for _ in range(3)],
        takers=[PlainTaker(float(quantity[i]), [int(v) for v in np.flatnonzero(links[i])]) for i in range(11)],
        bid=_volumes(state.books.bid[0], centre),
        ask=_volumes(state.books.ask[0], centre),
    )
    hedging = np.asarray(state.network.provider_exchange[:, 0], float)
    rng = np.random.default_rng(seed)
    for t in range(12):
        # Tweaks on a grid coarser than the rounding of single against double precision at a tie of the quote grid.
        tweaks = np.round(rng.uniform([-1, -1, 0], [1, 1, 1], size=(3, 3)) * 7) / 7.3
        tweaks[:, 0] = np.maximum(tweaks[:, 0], -1.0)
        decision = rng.integers(0, 3, size=11)
        key = jax.random.key(1000 * seed + t)
        preference = np.asarray(tie_breakers(jax.random.split(key)[0], 4, 11)).T.astype(float)
        actions = {"provider": jnp.asarray(tweaks, jnp.float32), "taker": jnp.asarray(decision, jnp.int32)}
        before = state
        state, _, _ = market.step(before, actions, key)
        words = [{BUY: "buy", SELL: "sell"}.get(int(d)) for d in decision]
        plain.step([(s, k, h * c) for (s, k, h), c in zip(tweaks, hedging, strict=True)], words, preference.tolist())
        for group, account in ((plain.providers, state.providers), (plain.takers, state.takers)):
            np.testing.assert_allclose([a.inventory for a in group], account.inventory, atol=2e-4)
            np.testing.assert_allclose([a.cash for a in group], account.cash, atol=5e-3)
        plain.bid, plain.ask = _volumes(state.books.bid[0], centre), _volumes(state.books.ask[0], centre)
        assert plain.mid == pytest.approx(float(state.price))
