"""Closed-form fills against an order-by-order loop."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.markets.depth_book import (
    DepthBook,
    average_prices,
    best_ask,
    best_bid,
    liquidation_value,
    market_orders,
    market_spread,
    mid_price,
)


def _random_book(rng, grid=24):
    middle = int(rng.integers(8, 16))
    volume = rng.integers(0, 9, size=grid).astype(np.float32)
    bid, ask = np.where(np.arange(grid) < middle, volume, 0), np.where(np.arange(grid) >= middle, volume, 0)
    return bid.astype(np.float32), ask.astype(np.float32)


def _walk(volume, prices, quantity):
    """Take `quantity` from `volume` at `prices`, one level after the other; changes `volume`."""
    filled = cash = 0.0
    for level in range(len(volume)):
        take = min(volume[level], quantity - filled)
        volume[level] -= take
        filled += take
        cash += take * prices[level]
    return filled, cash


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_market_orders_equal_a_loop_over_orders(seed):
    rng = np.random.default_rng(seed)
    bid, ask = _random_book(rng)
    buy = rng.integers(0, 25, size=6).astype(np.float32)
    sell = rng.integers(0, 25, size=6).astype(np.float32)
    after, bought, sold = market_orders(
        DepthBook(jnp.asarray(bid), jnp.asarray(ask)), jnp.asarray(buy), jnp.asarray(sell)
    )
    prices = np.arange(24) - 12.0
    expected_ask, expected_bid = ask.copy(), bid[::-1].copy()
    for n in range(6):
        filled, cash = _walk(expected_ask, prices, buy[n])
        assert np.isclose(filled, bought.quantity[n], atol=1e-4) and np.isclose(cash, bought.cash[n], atol=1e-2)
        filled, cash = _walk(expected_bid, prices[::-1], sell[n])
        assert np.isclose(filled, sold.quantity[n], atol=1e-4) and np.isclose(cash, sold.cash[n], atol=1e-2)
    np.testing.assert_allclose(after.ask, expected_ask, atol=1e-4)
    np.testing.assert_allclose(after.bid, expected_bid[::-1], atol=1e-4)


def test_touch_mid_and_spread():
    book = DepthBook(
        bid=jnp.asarray([1.0, 2, 0, 0, 0, 0], jnp.float32), ask=jnp.asarray([0.0, 0, 0, 4, 1, 0], jnp.float32)
    )
    assert (int(best_bid(book)), int(best_ask(book))) == (1, 3)
    assert float(mid_price(book)) == -1.0 and float(market_spread(book)) == 2.0


def test_empty_sides_are_visible():
    book = DepthBook(bid=jnp.zeros((6,), jnp.float32), ask=jnp.zeros((6,), jnp.float32))
    assert (int(best_bid(book)), int(best_ask(book))) == (-1, 6)
    _, bought, sold = market_orders(book, jnp.ones((2,), jnp.float32), jnp.ones((2,), jnp.float32))
    assert float(jnp.sum(bought.quantity + sold.quantity)) == 0.0 and bool(jnp.all(jnp.isfinite(bought.cash)))


def test_sizes_beyond_the_book_are_priced_at_the_far_end():
    book = DepthBook(
        bid=jnp.asarray([0.0, 0, 3, 0, 0, 0], jnp.float32), ask=jnp.asarray([0.0, 0, 0, 4, 0, 0], jnp.float32)
    )
    ask, bid = average_prices(book, jnp.asarray([4.0, 8.0], jnp.float32))
    np.testing.assert_allclose(ask, [0.0, (4 * 0 + 4 * 2) / 8], atol=1e-6)
    np.testing.assert_allclose(bid, [(3 * -1 + 1 * -3) / 4, (3 * -1 + 5 * -3) / 8], atol=1e-6)


def test_average_price_rises_with_size():
    rng = np.random.default_rng(3)
    for _ in range(20):
        bid, ask = _random_book(rng)
        sizes = jnp.asarray(np.linspace(0.5, max(ask.sum(), 1.0), 30), jnp.float32)
        buying, selling = average_prices(DepthBook(jnp.asarray(bid), jnp.asarray(ask)), sizes)
        assert bool(jnp.all(jnp.diff(buying) >= -1e-4)) and bool(jnp.all(jnp.diff(selling) <= 1e-4))


def test_fills_are_vectorised_over_books():
    rng = np.random.default_rng(4)
    books = [_random_book(rng) for _ in range(5)]
    stacked = DepthBook(*(jnp.asarray(np.stack(side)) for side in zip(*books, strict=True)))
    buy = jnp.ones((5, 3), jnp.float32)
    after, _, _ = jax.vmap(market_orders)(stacked, buy, buy)
    single, _, _ = market_orders(DepthBook(jnp.asarray(books[2][0]), jnp.asarray(books[2][1])), buy[2], buy[2])
    np.testing.assert_array_equal(after.ask[2], single.ask)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_liquidation_walks_the_book_and_prices_the_rest_at_its_last_level(seed):
    """Against a loop over the levels, for inventories of either sign, inside and beyond the book, empty sides too."""
    rng = np.random.default_rng(seed)
    bid, ask = _random_book(rng)
    if seed % 5 == 0:
        bid, ask = bid * 0, ask * (seed % 2)
    prices = np.arange(24.0) - 12
    inventory = np.concatenate([[0.0], rng.uniform(-1.3, 1.3, 8) * max(bid.sum(), ask.sum(), 1.0)]).astype(np.float32)
    expected = []
    for q in inventory:
        volume, at = (bid[::-1].copy(), prices[::-1]) if q > 0 else (ask.copy(), prices)
        last = at[np.flatnonzero(volume)[-1]] if volume.any() else at[-1]
        filled, cash = _walk(volume, at, abs(q))
        expected.append(np.sign(q) * (cash + (abs(q) - filled) * last))
    found = liquidation_value(DepthBook(jnp.asarray(bid), jnp.asarray(ask)), jnp.asarray(inventory))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-3)
