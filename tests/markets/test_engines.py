"""The market on the exact book: where agents send market orders only, it must be the market on the closed-form one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.depth_book import average_prices, best_ask
from diffgames.markets.engines import AGENT, PARTS, DepthEngine, FifoEngine
from diffgames.markets.order_book import BUY, Kind, message, submit
from diffgames.studies import market_parameters

GRID = 64
EXACT = FifoEngine(capacity=512, max_orders=GRID + 32)


@pytest.fixture(scope="module")
def play(build_market):
    """Episodes under given engines: every agent acts at random; hedges are none or whole, so that sizes stay whole."""
    keys = jax.random.split(jax.random.key(5), 4)

    @functools.cache
    def episodes(engine):
        market = build_market(grid=GRID, steps=10, engine=engine, exchanges=2)

        def episode(whole, key):
            reset, moves = jax.random.split(key)

            def step(state, key):
                tweaking, deciding, moving = jax.random.split(key, 3)
                tweaks = market.roles[0].action.from_unit(jax.random.normal(tweaking, (3, 3), jnp.float32))
                hedge = jnp.where(whole, jnp.round(tweaks[:, 2:]), tweaks[:, 2:])
                decision = jax.random.randint(deciding, (7,), 0, 3, jnp.int32)
                actions = {"provider": jnp.concatenate([tweaks[:, :2], hedge], axis=1), "taker": decision}
                state, rewards, record = market.step(state, actions, moving)
                return state, (rewards, record, jax.vmap(market.engine.depth)(state.books))

            return jax.lax.scan(step, market.reset(reset), jax.random.split(moves, market.horizon))[1]

        return jax.jit(jax.vmap(episode, in_axes=(None, 0)))

    return lambda engine, whole_hedges=True: episodes(engine)(jnp.asarray(whole_hedges), keys)


def test_both_engines_play_the_same_market(play):
    """Same draws, same decisions: same fills, same books at every tick after every step, same rewards."""
    rewards, record, books = play(DepthEngine())
    exact_rewards, exact_record, exact_books = play(EXACT)
    np.testing.assert_array_equal(exact_books.bid, books.bid)
    np.testing.assert_array_equal(exact_books.ask, books.ask)
    for name in ("price", "hedged", "taker_direction", "taker_inventory", "inventory", "unfilled"):
        np.testing.assert_array_equal(getattr(exact_record, name), getattr(record, name), err_msg=name)
    for name in ("taker_pnl", "pnl_spread", "pnl_inventory"):
        np.testing.assert_allclose(getattr(exact_record, name), getattr(record, name), atol=2e-3, err_msg=name)
    for role in rewards:
        np.testing.assert_allclose(exact_rewards[role], rewards[role], atol=1e-4)
    assert np.abs(np.asarray(record.hedged)).sum() > 50 and not np.any(exact_record.lost)


def test_shares_and_cash_add_up_on_the_exact_book(play):
    """Hedges of any fraction: what is below a part of a lot is not sent, and nobody is paid for it."""
    _, record, _ = play(EXACT, whole_hedges=False)
    imbalance = np.abs(np.asarray(record.imbalance))
    assert imbalance[..., 0].max() < 1e-3 and imbalance[..., 1].max() < 2e-2
    unfilled = np.asarray(record.unfilled)
    assert unfilled.min() > -1e-4 and unfilled.max() <= 3 * 2 / PARTS + 1e-4
    assert np.any(np.asarray(record.hedged) % 1 != 0)


def test_quotes_are_what_market_orders_pay(exchange):
    """x_t(q) of the closed form against orders of q lots really sent to the exact book."""
    depth = exchange.sample_snapshot(jax.random.key(0), GRID)
    book, sizes = EXACT.open(depth), jnp.asarray([0.5, 1.0, 7.0, 40.0, 150.0], jnp.float32)

    def pay(size):
        one, none = size[None], jnp.zeros((1,), jnp.float32)
        bought, sold = EXACT.market_orders(book, one, none)[1], EXACT.market_orders(book, none, one)[2]
        return bought.cash[0] / bought.quantity[0], sold.cash[0] / sold.quantity[0]

    ask, bid = jax.jit(jax.vmap(pay))(sizes)
    expected_ask, expected_bid = average_prices(depth, sizes)
    np.testing.assert_allclose(ask, expected_ask, rtol=1e-5)
    np.testing.assert_allclose(bid, expected_bid, rtol=1e-5)


def test_the_exchange_agents_orders_queue_by_time(exchange):
    """Six lots more at the best ask come as three orders of two; a market order meets the older order first."""
    book = EXACT.open(exchange.sample_snapshot(jax.random.key(1), GRID))
    best = int(best_ask(EXACT.depth(book)))
    size = float(EXACT.depth(book).ask[best])
    rise, none = jnp.zeros(GRID, jnp.float32).at[best].set(6.0), jnp.zeros(GRID, jnp.float32)
    book = EXACT.vary(book, (none, rise), jnp.full((4,), 2.0, jnp.float32), jax.random.key(2))
    taken = message(Kind.MARKET, side=BUY, originator=AGENT, size=int(PARTS * (size + 3)))
    _, report = submit(book.orders, taken)
    sizes = np.asarray(report.fills.size)
    met = np.asarray(report.fills.maker_order)[sizes > 0].tolist()
    assert met == [GRID + best, 2 * GRID, 2 * GRID + 1]
    assert (sizes[sizes > 0] / PARTS).tolist() == [size, 2.0, 1.0]


def test_what_finds_no_room_is_counted(exchange):
    """A book with a slot per tick cannot hold orders broken into pieces: the lots are lost, and said to be."""
    tight = FifoEngine(capacity=GRID, max_orders=GRID + 32)
    book = tight.open(exchange.sample_snapshot(jax.random.key(1), GRID))
    before = tight.depth(book)
    rise = jnp.zeros(GRID, jnp.float32).at[GRID - 10 :].set(100.0)
    after = tight.vary(book, (jnp.zeros(GRID, jnp.float32), rise), jnp.ones((4,), jnp.float32), jax.random.key(3))
    gained = float(jnp.sum(tight.depth(after).ask - before.ask))
    assert float(tight.lost(after)) == 1000.0 - gained > 0.0
    assert float(DepthEngine().lost(before)) == 0.0


def test_a_book_needs_room():
    with pytest.raises(InvalidInput, match="capacity"):
        FifoEngine(capacity=0)


def test_the_engine_is_a_parameter_of_the_market(exchange):
    market = market_parameters.build_market(
        market_parameters.MarketParameters(engine="fifo", grid=64, book_capacity=96), exchange
    )
    assert market.engine == FifoEngine(capacity=96, max_orders=96)
    assert isinstance(
        market_parameters.build_market(market_parameters.MarketParameters(), exchange).engine, DepthEngine
    )
    with pytest.raises(InvalidInput, match="book_capacity"):
        market_parameters.build_market(market_parameters.MarketParameters(engine="fifo", book_capacity=10), exchange)
