"""The exchange agent's draws: whole ticks of the right parity, bounded falls, impact of a large order and its decay."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.depth_book import DepthBook, best_ask, best_bid, market_spread, mid_price, top_levels
from diffgames.markets.ecn_theory import VolumeLaw
from diffgames.markets.engines import DepthEngine
from diffgames.markets.exchange import reference_price, stack_exchanges

GRID = 96
ENGINE = DepthEngine()


@pytest.fixture(scope="module")
def step(exchange):
    """Compiled: next books of many given books under given keys."""

    @eqx.filter_jit
    def advance(books, keys):
        def one(book, key):
            return ENGINE.vary(book, exchange.sample_variation(key, book), exchange.order_sizes, key)

        return jax.vmap(one)(books, keys)

    return advance


def snapshots(exchange, seed: int, count: int) -> DepthBook:
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.jit(jax.vmap(lambda key: exchange.sample_snapshot(key, GRID)))(keys)


def test_books_have_whole_lots_and_every_level_and_sides_that_do_not_cross(exchange, step):
    books = snapshots(exchange, 0, 500)
    for seed in range(3):
        books = step(books, jax.random.split(jax.random.key(seed), 500))
    for side in (books.bid, books.ask):
        np.testing.assert_array_equal(side, np.round(side))
        assert (np.asarray(side) >= 0).all()
    assert (np.asarray(jax.vmap(lambda book: top_levels(book, exchange.levels))(books)) >= 1).all()
    assert (np.asarray(jax.vmap(market_spread)(books)) >= 1).all()


def test_spread_and_mid_change_are_whole_and_of_one_parity(exchange, step):
    """In half-ticks, the mid change has the parity of the change of the spread; both take several values."""
    books = snapshots(exchange, 1, 2000)
    after = step(books, jax.random.split(jax.random.key(9), 2000))
    spread = [np.asarray(jax.vmap(market_spread)(book)) for book in (books, after)]
    mid = [2 * np.asarray(jax.vmap(mid_price)(book)) for book in (books, after)]
    change, widened = mid[1] - mid[0], spread[1] - spread[0]
    np.testing.assert_array_equal(change, np.round(change))
    np.testing.assert_array_equal((change - widened) % 2, 0)
    assert len(np.unique(change)) >= 3 and len(np.unique(spread[1])) >= 2


def test_volumes_follow_equation_8_with_falls_between_zero_and_one(exchange):
    """δ⁻ ∈ [0, 1] in every draw, and applying a draw is (1 − δ⁻)V + δ⁺ up to half a lot of rounding."""
    change = np.asarray(jax.vmap(exchange.sample_change)(jax.random.split(jax.random.key(2), 5000)))
    assert change.min() >= -1 and (change < 0).any() and (change > 0).any()
    volumes = jnp.arange(1.0, 1.0 + 2 * exchange.levels, dtype=jnp.float32) * 10
    for seed in range(20):
        draw = exchange.variation.sample(jax.random.key(seed))
        x = np.asarray(draw[:-2], float)
        new, _, _ = exchange.apply_draw(draw, volumes, jnp.float32(1.0))
        fall, rise = np.clip(-x, 0, 1), np.maximum(x, 0) * np.asarray(exchange.unit)
        exact = (1 - fall) * np.asarray(volumes) + rise
        assert (np.abs(np.asarray(new) - np.maximum(exact, 1.0)) <= 0.5 + 1e-3).all()


def test_levels_below_the_fitted_ones_fall_off_exponentially(exchange):
    book = jax.tree.map(lambda leaf: leaf[0], snapshots(exchange, 3, 1))
    top = np.asarray(top_levels(book, exchange.levels))
    below = np.arange(1, 8)
    ask = int(best_ask(book)) + exchange.levels - 1 + below
    expected = np.round(top[-1] * np.exp(-float(exchange.decay) * below))
    np.testing.assert_allclose(np.asarray(book.ask)[ask], expected, atol=1)


def test_a_large_order_moves_the_mid_for_good_and_the_spread_for_one_step(exchange, step):
    """Emptying k levels of asks moves the mid by k/2; with common random numbers it is still there ten steps later."""
    count, levels = 1500, 3
    books = snapshots(exchange, 4, count)

    @jax.jit
    def bought(books):
        def one(book):
            size = jnp.sum(top_levels(book, exchange.levels)[exchange.levels :][:levels])
            return ENGINE.market_orders(book, size[None], jnp.zeros((1,), jnp.float32))[0]

        return jax.vmap(one)(books)

    hit = bought(books)
    mid = jax.vmap(mid_price)
    np.testing.assert_allclose(mid(hit) - mid(books), levels / 2)
    np.testing.assert_array_equal(
        np.asarray(jax.vmap(best_bid)(hit)), np.asarray(jax.vmap(best_bid)(books))
    )  # only the ask side was hit
    moved = []
    for number in range(10):
        keys = jax.random.split(jax.random.key(100 + number), count)
        books, hit = step(books, keys), step(hit, keys)
        moved.append(np.asarray(mid(hit) - mid(books)))
        assert np.abs(np.asarray(jax.vmap(market_spread)(hit) - jax.vmap(market_spread)(books))).max() == 0
    last = moved[-1]
    error = last.std() / count**0.5
    assert last.mean() - 3 * error > 0.8 * levels / 2 and last.mean() + 3 * error < 1.2 * levels / 2


def test_taken_volume_comes_back_at_the_rate_of_the_theory(exchange, step):
    """A thinned level: its deficit shrinks by 1 − μ⁻ a step, equation (8) with common random numbers."""
    count = 4000
    books = snapshots(exchange, 5, count)
    first = exchange.levels  # the best ask among the top levels
    taken = jnp.floor(jax.vmap(lambda book: top_levels(book, exchange.levels)[first])(books) / 2)
    hit = jax.jit(jax.vmap(lambda book, size: ENGINE.market_orders(book, size[None], jnp.zeros((1,), jnp.float32))[0]))(
        books, taken
    )
    deficit = [float(taken.mean())]
    for number in range(8):
        keys = jax.random.split(jax.random.key(200 + number), count)
        books, hit = step(books, keys), step(hit, keys)
        volumes = [jax.vmap(lambda book: top_levels(book, exchange.levels)[first])(b) for b in (books, hit)]
        deficit.append(float((volumes[0] - volumes[1]).mean()))
    rate = 1 - (deficit[8] / deficit[0]) ** (1 / 8)
    fall = VolumeLaw.of_exchange(exchange, jax.random.key(3), 50_000).fall[first]
    assert deficit[0] > deficit[4] > deficit[8] > 0
    assert rate == pytest.approx(fall, rel=0.15)


def test_several_exchanges_meet_at_the_liquidity_weighted_mid(exchange):
    books = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(
        jax.tree.map(lambda leaf: leaf[0], snapshots(exchange, seed, 1)) for seed in (6, 7)
    ))  # fmt: skip
    mids = np.asarray(jax.vmap(mid_price)(books), float)
    liquidity = np.asarray(jax.vmap(lambda book: jnp.sum(top_levels(book, exchange.levels)))(books), float)
    assert float(reference_price(books, exchange.levels)) == pytest.approx(mids @ liquidity / liquidity.sum(), abs=1e-5)
    with pytest.raises(InvalidInput, match=r"^exchanges"):
        stack_exchanges([])


def test_a_weight_of_zero_leads_the_mid_where_the_pull_says(exchange):
    """Within half a tick at every draw, whatever mid change was drawn."""
    book = jax.tree.map(lambda leaf: leaf[0], snapshots(exchange, 8, 1))
    pull = jnp.float32(8.0)  # half-ticks

    @jax.jit
    def moved(keys):
        def one(key):
            bid, ask = exchange.sample_variation(key, book, pull, 0.0)
            return mid_price(DepthBook(bid=book.bid + bid, ask=book.ask + ask)) - mid_price(book)

        return jax.vmap(one)(keys)

    change = np.asarray(moved(jax.random.split(jax.random.key(0), 1000)))
    assert np.abs(change - 4.0).max() <= 0.5 and (change == 4.0).mean() > 0.5
