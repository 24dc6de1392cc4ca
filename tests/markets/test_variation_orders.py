"""The exchange agent's orders, sent through the exact book, reproduce its variation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.markets.book_views import from_depth, to_depth
from diffgames.markets.depth_book import DepthBook, apply_variation
from diffgames.markets.order_book import Kind, Status, process
from diffgames.markets.variation_orders import break_into_orders

GRID, SLOTS = 32, 160


def send(book: DepthBook, variation, key, order_sizes, max_orders=SLOTS):
    """The exact book after the orders, as depth, with the orders and the book's reports."""
    messages, unsent = break_into_orders(key, variation, book, order_sizes, max_orders, first_id=1000)
    after, report = process(from_depth(book, capacity=GRID + max_orders), messages)
    return to_depth(after, GRID), messages, report, unsent


def test_orders_reproduce_the_variation_exactly(exchange):
    """Hundreds of steps of the fitted agent, from books that market orders have eaten into."""

    def step(book, key):
        eating, moving, breaking = jax.random.split(key, 3)
        eaten = jnp.cumsum(book.ask) <= jax.random.randint(eating, (), 0, 150, jnp.int32).astype(jnp.float32)
        book = DepthBook(bid=book.bid, ask=jnp.where(eaten, 0.0, book.ask))
        variation = exchange.sample_variation(moving, book)
        target = apply_variation(book, *variation)
        found, messages, report, unsent = send(book, variation, breaking, exchange.order_sizes)
        return target, (target, found, messages, report.status, unsent)

    def path(key):
        opening, running = jax.random.split(key)
        return jax.lax.scan(step, exchange.sample_snapshot(opening, GRID), jax.random.split(running, 20))[1]

    target, found, messages, status, unsent = jax.jit(jax.vmap(path))(jax.random.split(jax.random.key(0), 16))
    np.testing.assert_array_equal(found.bid, target.bid)
    np.testing.assert_array_equal(found.ask, target.ask)
    assert not np.any(unsent)
    done = np.asarray(status)
    assert set(np.unique(done)) <= {Status.DONE, Status.NOTHING}
    kinds = np.asarray(messages.kind)
    assert {Kind.LIMIT, Kind.MARKET, Kind.WITHDRAW} <= set(np.unique(kinds))
    sizes = np.asarray(messages.size)[kinds != Kind.NOTHING]
    assert sizes.min() >= 1 and np.all(sizes == np.round(sizes))


def two_sided(bid_change, ask_change):
    """A book of ten lots at three ticks on each side of the centre, and a variation given from the best on."""
    bid, ask, bid_by, ask_by = (np.zeros(GRID, np.float32) for _ in range(4))
    bid[13:16], ask[16:19] = 10, 10
    bid_by[15 - len(bid_change) + 1 : 16] = bid_change[::-1]
    ask_by[16 : 16 + len(ask_change)] = ask_change
    return DepthBook(jnp.asarray(bid), jnp.asarray(ask)), (jnp.asarray(bid_by), jnp.asarray(ask_by))


@pytest.mark.parametrize(
    ("change", "market", "withdrawn", "placed"),
    [
        ((-10, -4, 0), 14, 0, 0),  # one tick emptied, the next eaten into
        ((-4, -4, 0), 4, 4, 0),  # what is left at the best shields the next tick
        ((0, -4, 3), 0, 4, 3),  # nothing happens at the best: no market order
        ((5, -4, 0), 0, 4, 5),
        ((-10, 2, -3), 10, 3, 2),
        ((-10, -10, -10, 7), 30, 0, 7),  # a side is emptied and begins anew further away
    ],
)
def test_meta_orders(change, market, withdrawn, placed):
    sizes = jnp.full((8,), 1e6, jnp.float32)
    for book, variation in (two_sided(change, (0,)), two_sided((0,), change)):
        found, messages, _, unsent = send(book, variation, jax.random.key(1), sizes)
        volume = {kind: float(jnp.sum(jnp.where(messages.kind == kind, messages.size, 0.0))) for kind in Kind}
        assert (volume[Kind.MARKET], volume[Kind.WITHDRAW], volume[Kind.LIMIT]) == (market, withdrawn, placed)
        target = apply_variation(book, *variation)
        np.testing.assert_array_equal(found.bid, target.bid)
        np.testing.assert_array_equal(found.ask, target.ask)
        assert float(unsent) == 0.0


def test_pieces_have_the_recorded_sizes():
    """All but the last piece of each meta-order are draws from the sample, in its proportions."""
    book, _ = two_sided((0,), (0,))
    ask = jnp.zeros(GRID, jnp.float32).at[17].set(20_000.0)
    sizes = jnp.asarray([1.0, 2.0, 2.0, 5.0], jnp.float32)
    messages, unsent = break_into_orders(jax.random.key(2), (jnp.zeros(GRID, jnp.float32), ask), book, sizes, 9000)
    pieces = np.asarray(messages.size)[np.asarray(messages.kind) == Kind.LIMIT]
    assert float(unsent) == 0.0 and pieces.sum() == 20_000
    share = np.array([np.mean(pieces[:-1] == size) for size in (1.0, 2.0, 5.0)])
    np.testing.assert_allclose(share, [0.25, 0.5, 0.25], atol=4 * np.sqrt(0.25 / len(pieces)))


@pytest.mark.parametrize("slots", [4, 40])
def test_few_slots_send_orders_whole_before_any_is_dropped(slots):
    book, variation = two_sided((-10, -4, 6), (5, -3, 8))
    one = jnp.ones((4,), jnp.float32)
    found, messages, _, unsent = send(book, variation, jax.random.key(3), one, slots)
    target = apply_variation(book, *variation)
    metas = 5  # a market order of 14; withdrawals of 3; limit orders of 5, 8 and 6
    if slots >= metas:
        np.testing.assert_array_equal(found.bid, target.bid)
        np.testing.assert_array_equal(found.ask, target.ask)
        assert float(unsent) == 0.0
    else:
        total = float(sum(jnp.sum(jnp.abs(side)) for side in variation))
        assert float(unsent) > 0.0
        assert float(unsent) + float(jnp.sum(messages.size)) == total
    if slots == 40:
        assert np.asarray(messages.size).max() == 1.0  # room enough to break everything


def test_no_slots_are_refused():
    book, variation = two_sided((1,), (1,))
    with pytest.raises(InvalidInput, match="max_orders"):
        break_into_orders(jax.random.key(0), variation, book, jnp.ones((4,), jnp.float32), 0)
