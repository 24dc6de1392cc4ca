"""Two order-book engines behind one interface: volumes in closed form, or every order in its queue.

The market asks four things of a book: to open from a depth snapshot, to show its depth, to execute market orders in a
given order, and to undergo the exchange agent's variation. `DepthEngine` answers by cumulative sums over the tick grid
(fast, for training); `FifoEngine` sends every order, those of the exchange agent broken to empirical size, through the
exact price–time book (for questions about queues and identities; slower in proportion to orders and slots). Tests hold
the two equal, fill by fill and tick by tick.

The exact book counts in integers of 1/`PARTS` lot, so that no sum over its queues is ever rounded; what is below that
in an agent's order (a hedge of a fraction of the inventory, say) is not sent, and counts as unfilled.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.markets import depth_book
from diffgames.markets.book_views import from_depth, tick_volumes
from diffgames.markets.depth_book import DepthBook, Fills
from diffgames.markets.order_book import ASKS, BIDS, BUY, SELL, Kind, Message, OrderBook, message, submit
from diffgames.markets.variation_orders import break_into_orders

PARTS = 256
EXCHANGE, AGENT = -1, 0
"""Originators in the exact book: the exchange agent, whose orders rest, and everyone else, whose orders never do."""

Variation = tuple[Float[Array, " grid"], Float[Array, " grid"]]


class AbstractEngine(eqx.Module):
    """What the market asks of one exchange's book."""

    @abc.abstractmethod
    def open(self, depth: DepthBook) -> Any:
        """The engine's book holding the volumes of `depth`."""

    @abc.abstractmethod
    def depth(self, book: Any) -> DepthBook:
        """Volumes at every tick."""

    @abc.abstractmethod
    def market_orders(
        self, book: Any, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
    ) -> tuple[Any, Fills, Fills]:
        """Execute market orders in order: entry n buys `buy[n]`, then sells `sell[n]` (0 = none)."""

    @abc.abstractmethod
    def vary(self, book: Any, variation: Variation, order_sizes: Float[Array, " sizes"], key: PRNGKeyArray) -> Any:
        """The book after the exchange agent's signed volume variation (bid, ask), sent as orders of `order_sizes`."""

    @abc.abstractmethod
    def lost(self, book: Any) -> Float[Array, ""]:
        """Lots of variations that found no room in the book so far; 0 unless its capacity is too small."""


class DepthEngine(AbstractEngine):
    """Volumes on the tick grid; every timestep closed form (`depth_book`)."""

    def open(self, depth: DepthBook) -> DepthBook:
        return depth

    def depth(self, book: DepthBook) -> DepthBook:
        return book

    def market_orders(
        self, book: DepthBook, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
    ) -> tuple[DepthBook, Fills, Fills]:
        return depth_book.market_orders(book, buy, sell)

    def vary(
        self, book: DepthBook, variation: Variation, order_sizes: Float[Array, " sizes"], key: PRNGKeyArray
    ) -> DepthBook:
        return depth_book.apply_variation(book, *variation)

    def lost(self, book: DepthBook) -> Float[Array, ""]:
        return jnp.zeros((), book.ask.dtype)


class FifoBook(eqx.Module):
    """The exact book of a `FifoEngine`: resting orders, the next free identity, and what found no room so far."""

    orders: OrderBook  # sizes in 1/PARTS lot
    next_id: Int[Array, "*books"]
    lost: Float[Array, "*books"]  # lots
    grid: int = eqx.field(static=True)


class FifoEngine(AbstractEngine):
    """Every order in its queue (`order_book`), those of the exchange agent of recorded sizes (`variation_orders`).

    Attributes:
        capacity: orders that can rest on a side, at least the ticks of the grid.
        max_orders: orders of one variation; with few, orders are broken into fewer pieces, and below the number of
            ticks that vary lots stay unsent. What found no room is counted in `lost`.
    """

    capacity: int = eqx.field(static=True, default=1536)
    max_orders: int = eqx.field(static=True, default=160)

    def __check_init__(self):
        for name in ("capacity", "max_orders"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, getattr(self, name), "an integer ≥ 1")

    def open(self, depth: DepthBook) -> FifoBook:
        grid = depth.bid.shape[-1]
        orders = from_depth(depth, self.capacity, originator=EXCHANGE)
        return FifoBook(
            orders=eqx.tree_at(lambda book: book.size, orders, _parts(orders.size)),
            next_id=jnp.int32(2 * grid),
            lost=jnp.zeros((), depth.ask.dtype),
            grid=grid,
        )

    def depth(self, book: FifoBook) -> DepthBook:
        volume = _lots(tick_volumes(book.orders, book.grid))
        return DepthBook(bid=volume[BIDS], ask=volume[ASKS])

    def market_orders(
        self, book: FifoBook, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
    ) -> tuple[FifoBook, Fills, Fills]:
        count = buy.shape[0]
        sizes = _parts(jnp.stack([buy, sell], axis=1)).reshape(2 * count)
        sides = jnp.tile(jnp.array([BUY, SELL], jnp.int32), count)
        kinds = jnp.where(sizes > 0, jnp.int32(Kind.MARKET), jnp.int32(Kind.NOTHING))
        orders, filled, cash, _ = _send(book.orders, message(kinds, side=sides, originator=AGENT, size=sizes))
        filled, cash = filled.reshape((count, 2)), cash.reshape((count, 2))
        return (
            eqx.tree_at(lambda book: book.orders, book, orders),
            Fills(quantity=filled[:, 0], cash=cash[:, 0]),
            Fills(quantity=filled[:, 1], cash=cash[:, 1]),
        )

    def vary(
        self, book: FifoBook, variation: Variation, order_sizes: Float[Array, " sizes"], key: PRNGKeyArray
    ) -> FifoBook:
        messages, unsent = break_into_orders(
            key, variation, self.depth(book), order_sizes, self.max_orders, book.next_id, EXCHANGE
        )
        messages = eqx.tree_at(lambda message: message.size, messages, _parts(messages.size))
        orders, _, _, dropped = _send(book.orders, messages)
        return FifoBook(
            orders=orders,
            next_id=book.next_id + jnp.int32(self.max_orders),
            lost=book.lost + unsent + jnp.sum(dropped),
            grid=book.grid,
        )

    def lost(self, book: FifoBook) -> Float[Array, ""]:
        return book.lost


def _send(
    orders: OrderBook, messages: Message
) -> tuple[OrderBook, Float[Array, " messages"], Float[Array, " messages"], Float[Array, " messages"]]:
    """The book after the messages; lots filled, cash (ticks × lots) and lots dropped of each."""

    def step(orders: OrderBook, message: Message):
        orders, report = submit(orders, message)
        cash = jnp.sum(report.fills.price.astype(jnp.float32) * _lots(report.fills.size))
        return orders, (_lots(report.filled), cash, _lots(report.dropped))

    orders, (filled, cash, dropped) = lax.scan(step, orders, messages)
    return orders, filled, cash, dropped


def _parts(lots: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Whole parts of a lot, rounded down."""
    return jnp.floor(lots * PARTS).astype(jnp.int32)


def _lots(parts: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    return parts.astype(jnp.float32) / PARTS
