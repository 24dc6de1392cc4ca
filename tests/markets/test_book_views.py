"""Views of the order book, and the depth engine's equality with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.markets import depth_book
from diffgames.markets.book_views import best_ask, best_bid, depth, from_depth, queue_place, to_depth
from diffgames.markets.depth_book import DepthBook
from diffgames.markets.order_book import BUY, NO_PRICE, SELL, Kind, empty_book, message, process, submit

GRID, ORDERS = 24, 5
QUOTED = jnp.asarray([0.5, 1.0, 3.0, 10.0, 60.0], jnp.float32)  # the largest sizes exceed many books


def test_levels_and_best_quotes():
    orders = message(
        Kind.LIMIT,
        side=[BUY, BUY, SELL, SELL, BUY],
        price=[99, 97, 102, 105, 99],
        size=[3, 4, 5, 6, 7],
        order_id=[0, 1, 2, 3, 4],
    )
    book, _ = process(empty_book(8), orders)
    levels = depth(book, 3)
    assert levels.bid_price.tolist() == [99, 97, -NO_PRICE] and levels.bid_size.tolist() == [10, 4, 0]
    assert levels.ask_price.tolist() == [102, 105, NO_PRICE] and levels.ask_size.tolist() == [5, 6, 0]
    assert (int(best_bid(book)), int(best_ask(book))) == (99, 102)
    empty = depth(empty_book(4), 2)
    assert empty.bid_size.tolist() == [0, 0] and empty.ask_price.tolist() == [NO_PRICE, NO_PRICE]


def test_depth_round_trip_keeps_volumes_and_prices():
    rng = np.random.default_rng(0)
    volumes = DepthBook(*_volumes(rng))
    book = from_depth(volumes, capacity=40, originator=6)
    again = to_depth(book, GRID)
    np.testing.assert_array_equal(again.bid, volumes.bid)
    np.testing.assert_array_equal(again.ask, volumes.ask)
    tick = int(depth_book.best_ask(volumes))
    assert int(best_ask(book)) == tick - GRID // 2
    place = queue_place(book, GRID + tick)
    assert float(place.size) == float(volumes.ask[tick]) and int(place.orders_ahead) == 0
    with pytest.raises(InvalidInput, match="capacity"):
        from_depth(volumes, capacity=GRID - 1)


def _volumes(rng: np.random.Generator) -> tuple[jax.Array, jax.Array]:
    """Random volumes: bids below a random middle of the grid, asks from it on."""
    tick, middle = np.arange(GRID), int(rng.integers(GRID // 3, 2 * GRID // 3))
    volume = rng.integers(0, 9, GRID)
    return jnp.asarray(volume * (tick < middle), jnp.float32), jnp.asarray(volume * (tick >= middle), jnp.float32)


@jax.jit
def _depth_engine(book, buy, sell, variation):
    after, bought, sold = depth_book.market_orders(book, buy, sell)
    varied = depth_book.apply_variation(after, *variation)
    return varied, bought, sold, jnp.stack(depth_book.average_prices(after, QUOTED))


@jax.jit
def _exact_engine(book, buy, sell, variation):
    """The same through the queues: a market order each, then a limit order or a withdrawal per tick that varies."""
    orders = message(
        Kind.MARKET,
        side=jnp.tile(jnp.array([BUY, SELL], jnp.int32), ORDERS),
        size=jnp.stack([buy, sell], axis=1).reshape(-1),
        originator=1,
        dtype=jnp.float32,
    )
    fifo, report = process(from_depth(book, capacity=2 * GRID, originator=0), orders, keep=2 * GRID)
    tick = jnp.arange(GRID, dtype=jnp.int32)
    changes = jnp.concatenate(variation)
    varied = message(
        jnp.where(changes > 0, jnp.int32(Kind.LIMIT), jnp.where(changes < 0, jnp.int32(Kind.WITHDRAW), 0)),
        side=jnp.repeat(jnp.array([BUY, SELL], jnp.int32), GRID),
        price=jnp.tile(tick - GRID // 2, 2),
        size=jnp.abs(changes),
        order_id=jnp.arange(2 * GRID, dtype=jnp.int32) + 1000,
        originator=0,
        dtype=jnp.float32,
    )
    quotes = jax.vmap(lambda size: _quote(fifo, size))(QUOTED)
    fifo, _ = process(fifo, varied)
    cash = jnp.sum(report.fills.price.astype(jnp.float32) * report.fills.size, axis=1)
    return to_depth(fifo, GRID), report.filled.reshape(ORDERS, 2), cash.reshape(ORDERS, 2), quotes


def _quote(book, size):
    """Average price of buying and of selling `size` lots in the queues, what finds no volume at the grid's far end."""

    def price(side, far):
        _, report = submit(book, message(Kind.MARKET, side=side, size=size, originator=1, dtype=jnp.float32))
        paid = jnp.sum(report.fills.price.astype(jnp.float32) * report.fills.size)
        return (paid + report.dropped * far) / size

    return jnp.stack([price(BUY, float(GRID - 1 - GRID // 2)), price(SELL, -float(GRID // 2))])


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_depth_engine_equals_the_exact_engine(seed):
    """Market orders in turn, then a variation: same fills, quotes x_t(q) and volumes at every tick, to the last bit."""
    rng = np.random.default_rng(seed)
    bid, ask = _volumes(rng)
    buy, sell = (jnp.asarray(rng.integers(0, 20, ORDERS), jnp.float32) for _ in range(2))
    # Bids vary below the highest bid and asks above it, so that new volume does not cross.
    inside = np.arange(GRID) < int(np.max(np.flatnonzero(np.asarray(bid)), initial=GRID // 3))
    sides = np.stack([inside, ~inside & (np.asarray(bid) == 0)])
    change = jnp.asarray(rng.integers(-9, 10, (2, GRID)) * sides, jnp.float32)
    book = DepthBook(bid, ask)
    after, bought, sold, quotes = _depth_engine(book, buy, sell, (change[0], change[1]))
    exact, filled, cash, exact_quotes = _exact_engine(book, buy, sell, (change[0], change[1]))
    np.testing.assert_array_equal(filled, np.stack([bought.quantity, sold.quantity], axis=1))
    np.testing.assert_allclose(cash, np.stack([bought.cash, sold.cash], axis=1), atol=1e-3)
    np.testing.assert_allclose(exact_quotes.T, quotes, atol=1e-5)
    np.testing.assert_array_equal(exact.bid, after.bid)
    np.testing.assert_array_equal(exact.ask, after.ask)
