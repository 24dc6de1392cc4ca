"""What one sees of an order book: best quotes, depth by level, volumes on the tick grid, a place in a queue.

The l-th level of a side is its l-th best price with the volume resting there,

    p_{l+1} = min_k {price_k > p_l : size_k > 0},   p_0 = −∞,      V_l = Σ_k size_k [price_k = p_l]

(with −price for bids), which needs two reductions over the slots per level and nothing to be sorted.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, Num

from diffgames.errors import InvalidInput
from diffgames.markets.depth_book import DepthBook
from diffgames.markets.order_book import ASKS, BIDS, BUY, NO_PRICE, SELL, OrderBook


class Levels(eqx.Module):
    """The best levels of both sides, best first; a level that does not exist has size 0 and price ∓`NO_PRICE`."""

    bid_price: Int[Array, " levels"]
    bid_size: Num[Array, " levels"]
    ask_price: Int[Array, " levels"]
    ask_size: Num[Array, " levels"]


class Place(eqx.Module):
    """Where an order stands: what is left of it, and the orders and the size ahead of it at its own price."""

    size: Num[Array, ""]
    price: Int[Array, ""]
    side: Int[Array, ""]  # BUY or SELL; 0 of an order that does not rest
    orders_ahead: Int[Array, ""]
    size_ahead: Num[Array, ""]


def best_bid(book: OrderBook) -> Int[Array, ""]:
    """Highest bid; `−NO_PRICE` when there is none."""
    return jnp.max(jnp.where(book.size[BIDS] > 0, book.price[BIDS], jnp.int32(-NO_PRICE)))


def best_ask(book: OrderBook) -> Int[Array, ""]:
    """Lowest ask; `NO_PRICE` when there is none."""
    return jnp.min(jnp.where(book.size[ASKS] > 0, book.price[ASKS], jnp.int32(NO_PRICE)))


def depth(book: OrderBook, levels: int) -> Levels:
    """The `levels` best prices of both sides and the sizes resting there."""

    def side(prices: Int[Array, " slots"], sizes: Num[Array, " slots"]):
        """Levels in rising order of `prices`."""
        found = []
        best = jnp.int32(-NO_PRICE)
        for _ in range(levels):
            best = jnp.min(jnp.where((sizes > 0) & (prices > best), prices, jnp.int32(NO_PRICE)))
            here = (prices == best) & (sizes > 0)
            found.append((best, jnp.sum(jnp.where(here, sizes, jnp.zeros((), sizes.dtype)), dtype=sizes.dtype)))
        price, size = zip(*found, strict=True)
        return jnp.stack(price), jnp.stack(size)

    bid_price, bid_size = side(-book.price[BIDS], book.size[BIDS])
    ask_price, ask_size = side(book.price[ASKS], book.size[ASKS])
    return Levels(bid_price=-bid_price, bid_size=bid_size, ask_price=ask_price, ask_size=ask_size)


def queue_place(book: OrderBook, order_id: Int[Array, ""] | int) -> Place:
    """Where an order stands in its queue; of an order that does not rest, size 0."""
    here = (book.size > 0) & (book.order_id == order_id)
    price = jnp.sum(jnp.where(here, book.price, 0), dtype=jnp.int32)
    slots = jnp.arange(book.capacity, dtype=jnp.int32)[None]
    slot = jnp.max(jnp.where(here, slots, -1))
    ahead = jnp.any(here, axis=1, keepdims=True) & (book.size > 0) & (book.price == price) & (slots < slot)
    zero = jnp.zeros((), book.size.dtype)
    return Place(
        size=jnp.sum(jnp.where(here, book.size, zero), dtype=book.size.dtype),
        price=price,
        side=jnp.sum(jnp.where(jnp.any(here, axis=1), jnp.array([BUY, SELL], jnp.int32), 0), dtype=jnp.int32),
        orders_ahead=jnp.sum(ahead.astype(jnp.int32), dtype=jnp.int32),
        size_ahead=jnp.sum(jnp.where(ahead, book.size, zero), dtype=book.size.dtype),
    )


def tick_volumes(book: OrderBook, grid: int, origin: int | None = None) -> Num[Array, "2 grid"]:
    """What rests at each tick of the grid (tick k: price k + `origin`), bids and asks, in the type of the sizes.

    `origin` is by default `DepthBook`'s −(grid // 2). Prices are in ticks; orders outside the grid are not counted.
    """
    start = -(grid // 2) if origin is None else origin
    ticks = jnp.arange(grid, dtype=jnp.int32) + start
    here = book.price[:, None, :] == ticks[None, :, None]
    sizes = jnp.where(here, book.size[:, None, :], jnp.zeros((), book.size.dtype))
    return jnp.sum(sizes, axis=2, dtype=book.size.dtype)


def to_depth(book: OrderBook, grid: int, origin: int | None = None, dtype=jnp.float32) -> DepthBook:
    """The same volumes as the closed-form engine takes them."""
    volume = tick_volumes(book, grid, origin).astype(dtype)
    return DepthBook(bid=volume[BIDS], ask=volume[ASKS])


def from_depth(depth: DepthBook, capacity: int, originator: int = -1, origin: int | None = None) -> OrderBook:
    """A book with the volumes of `depth`: one order per tick and side, of identities tick (bids), grid + tick (asks).

    `origin` is the price of tick 0, as in `to_depth`; sizes keep the type of the volumes.
    """
    grid = depth.bid.shape[-1]
    if capacity < grid:
        raise InvalidInput("capacity", capacity, f"at least the {grid} ticks of the grid")
    start = -(grid // 2) if origin is None else origin
    tick = jnp.arange(grid, dtype=jnp.int32)
    free = (0, capacity - grid)

    def sides(bids: Num[Array, " grid"], asks: Num[Array, " grid"], none_bid: int, none_ask: int):
        """Both queues: bids from the highest tick down, asks from the lowest up, then the free slots."""
        return jnp.stack(
            [jnp.pad(bids[::-1], free, constant_values=none_bid), jnp.pad(asks, free, constant_values=none_ask)]
        )

    order_id = sides(tick, tick + grid, -1, -1)
    return OrderBook(
        order_id=order_id,
        originator=jnp.where(order_id >= 0, jnp.int32(originator), -1),
        size=sides(depth.bid, depth.ask, 0, 0),
        price=sides(tick + start, tick + start, -NO_PRICE, NO_PRICE),
        overflow=jnp.zeros((), jnp.int32),
    )
