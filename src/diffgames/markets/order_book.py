"""The exact order book: every order in its queue, price–time priority, compiled.

A side of the book is an array of slots sorted by price–time priority: best price first and, at one price, oldest first.
An order that is gone leaves a hole, a slot of size zero that keeps its price, so the sides stay sorted without being
moved. One message then needs a fixed number of array operations, whatever it does and for any number of books at once:

    matching       fill_k = clip(Q − B_k, 0, q_k),   B_k = Σ_{l<k} q_l        Q lots against the q_k that the limit reaches
    insertion      the place p = #{k : price_k as good as the order's}; the slots between p and the nearest hole move by one
    cancellation   by mask, size_k ← size_k − min(size_k, cancelled) where the identity is the message's

There is no sort, scatter, branch or inner loop, which is what makes order books slow when they are vectorised.

Shapes. A function written for one book takes any number: axes beyond `slots` (in books) or beyond none (in messages)
are further books, `Int[Array, "2 slots *books"]`. Books on the last axis are contiguous in memory and fastest;
`jax.vmap` over a leading axis works as well. Sizes are int32 or float32 (whole lots are exact up to 2²⁴), in book and
messages alike; prices are int32, in any unit; `NO_PRICE` is reserved. The total size resting on a side must stay below
2³¹ when sizes are int32.

    book = empty_book(64)
    book, _ = submit(book, message(Kind.LIMIT, side=SELL, price=101, size=5, order_id=1, originator=7))
    book, report = submit(book, message(Kind.MARKET, side=BUY, size=3, originator=8))
    report.fills.maker_order[0], report.fills.price[0], report.fills.size[0]      # 1, 101, 3
"""

import enum
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Int, Num

from diffgames.errors import InvalidInput

BUY, SELL = 1, -1
BIDS, ASKS = 0, 1
NO_PRICE = 2**31 - 1
"""Price of a missing quote: `NO_PRICE` for asks, `−NO_PRICE` for bids."""


class Kind(enum.IntEnum):
    """What a message asks for."""

    NOTHING = 0  # padding: changes nothing
    LIMIT = 1  # trade at `price` or better, then rest what is left
    MARKET = 2  # trade at any price; what finds no volume is dropped
    CANCEL = 3  # take `size` off the order `order_id`, or all of it if less is left; `side` is not read
    WITHDRAW = 4  # take `size` off the originator's orders at `price` on `side`, youngest first


class Status(enum.IntEnum):
    """What became of a message; in every case but the first two, what could be done was done and the rest was dropped."""

    DONE = 0  # all of it
    NOTHING = 1  # padding
    UNFILLED = 2  # a market order found too little volume; `Report.dropped` was not traded
    UNKNOWN_ORDER = 3  # no such order rests, or the originator has too little at this price; nothing else was touched
    OVERFLOW = 4  # the side had no free slot; what remained of a limit order, `Report.dropped`, does not rest
    DUPLICATE = 5  # an order of this identity already rests; the book is unchanged
    INVALID = 6  # unknown kind or side, size not positive and finite, or reserved price; the book is unchanged


class Message(eqx.Module):
    """One message per book (or, with a leading axis, a sequence of them). `message` builds one with the right types."""

    kind: Int[Array, "*books"]
    side: Int[Array, "*books"]
    order_id: Int[Array, "*books"]
    originator: Int[Array, "*books"]
    size: Num[Array, "*books"]
    price: Int[Array, "*books"]


class OrderBook(eqx.Module):
    """Resting orders of both sides (axis 0: `BIDS`, `ASKS`), in slots sorted by priority; free slots have size 0."""

    order_id: Int[Array, "2 slots *books"]
    originator: Int[Array, "2 slots *books"]
    size: Num[Array, "2 slots *books"]
    price: Int[Array, "2 slots *books"]
    overflow: Int[Array, "*books"]  # orders that found no free slot since the book was empty

    @property
    def capacity(self) -> int:
        """Slots on each side."""
        return self.size.shape[1]


class Fills(eqx.Module):
    """Trades of a message, in the order in which they happened; entries of size 0 are none."""

    maker_order: Int[Array, "fills *books"]
    maker: Int[Array, "fills *books"]
    taker: Int[Array, "fills *books"]
    price: Int[Array, "fills *books"]
    size: Num[Array, "fills *books"]


class Report(eqx.Module):
    """What a message did: for an order, its size = filled + resting + dropped."""

    status: Int[Array, "*books"]
    filled: Num[Array, "*books"]
    resting: Num[Array, "*books"]
    cancelled: Num[Array, "*books"]
    dropped: Num[Array, "*books"]
    fills: Fills
    fills_omitted: Int[Array, "*books"]  # trades beyond those kept in `fills`; `filled` counts them all


def empty_book(capacity: int, books: tuple[int, ...] = (), dtype: type | np.dtype = np.int32) -> OrderBook:
    """A book without orders (or `books` of them), `capacity` slots a side, sizes of `dtype` (int32 or float32)."""
    if capacity < 1:
        raise InvalidInput("capacity", capacity, "an integer ≥ 1")
    if np.dtype(dtype) not in (np.dtype(np.int32), np.dtype(np.float32)):
        raise InvalidInput("dtype", np.dtype(dtype).name, "int32 or float32")
    shape = (2, capacity, *books)
    nobody = jnp.full(shape, -1, jnp.int32)
    worst = jnp.array([-NO_PRICE, NO_PRICE], jnp.int32).reshape((2,) + (1,) * (len(shape) - 1))
    return OrderBook(
        order_id=nobody,
        originator=nobody,
        size=jnp.zeros(shape, dtype),
        price=jnp.broadcast_to(worst, shape),
        overflow=jnp.zeros(books, jnp.int32),
    )


def message(
    kind: ArrayLike,
    *,
    side: ArrayLike = 0,
    order_id: ArrayLike = -1,
    originator: ArrayLike = -1,
    size: ArrayLike = 0,
    price: ArrayLike = 0,
    dtype: type | np.dtype = np.int32,
) -> Message:
    """A message, or arrays of messages: the fields are broadcast against each other and given their types.

    `dtype` is the type of the sizes, the book's. To cancel an order whole, ask for at least its size.
    """
    integers = [jnp.asarray(field, jnp.int32) for field in (kind, side, order_id, originator, price)]
    sizes = jnp.asarray(size, dtype)
    shape = np.broadcast_shapes(sizes.shape, *(field.shape for field in integers))
    kinds, sides, orders, originators, prices = (jnp.broadcast_to(field, shape) for field in integers)
    return Message(kinds, sides, orders, originators, jnp.broadcast_to(sizes, shape), prices)


def submit(book: OrderBook, message: Message) -> tuple[OrderBook, Report]:
    """The book after one message, and what it did; `report.fills` has one entry per slot of a side, all trades in it."""
    if message.size.dtype != book.size.dtype:
        raise InvalidInput("message.size", message.size.dtype.name, f"the book's type of sizes, {book.size.dtype.name}")
    kind, size = message.kind, message.size
    zero = jnp.zeros((), size.dtype)
    named = (book.size > 0) & (book.order_id == message.order_id[None, None])
    known = jnp.any(named, axis=(0, 1))
    valid = _is_valid(message)
    order = valid & ((kind == Kind.MARKET) | ((kind == Kind.LIMIT) & ~known))
    withdraw = valid & (kind == Kind.WITHDRAW)
    cancel = valid & (kind == Kind.CANCEL)

    takes_asks = (message.side == BUY) ^ withdraw  # an order takes from the other side, a withdrawal from its own
    target = _side(book, takes_asks)
    taken, total = _take(target, message, jnp.where(order | withdraw, size, zero), withdraw, takes_asks)
    left = jnp.where(order, size - total, zero)
    resting, inserted = _place(book, message, jnp.where(kind == Kind.LIMIT, left, zero))

    removed = jnp.where(named & cancel[None, None], jnp.minimum(book.size, size[None, None]), zero)
    struck = jnp.stack([~takes_asks, takes_asks])[:, None]
    sizes = book.size - removed - jnp.where(struck, taken[None], zero)
    overflowed = (kind == Kind.LIMIT) & (left > 0) & ~(resting > 0)
    after = inserted(eqx.tree_at(lambda b: b.overflow, book, book.overflow + overflowed.astype(jnp.int32)), sizes)

    cancelled = jnp.where(withdraw, total, jnp.sum(removed, axis=(0, 1), dtype=size.dtype))
    checks = (
        (kind == Kind.NOTHING, Status.NOTHING),
        (~valid, Status.INVALID),
        ((kind == Kind.LIMIT) & known, Status.DUPLICATE),
        ((cancel & ~known) | (withdraw & (cancelled < size)), Status.UNKNOWN_ORDER),
        (overflowed, Status.OVERFLOW),
        ((kind == Kind.MARKET) & (left > 0), Status.UNFILLED),
    )
    status = jnp.select([check for check, _ in checks], [jnp.int32(code) for _, code in checks], jnp.int32(Status.DONE))
    traded = jnp.where(order[None], taken, zero)
    nobody = jnp.int32(-1)
    fills = Fills(
        maker_order=jnp.where(traded > 0, target.order_id, nobody),
        maker=jnp.where(traded > 0, target.originator, nobody),
        taker=jnp.where(traded > 0, message.originator[None], nobody),
        price=jnp.where(traded > 0, target.price, 0),
        size=traded,
    )
    report = Report(
        status=status,
        filled=jnp.where(order, total, zero),
        resting=resting,
        cancelled=cancelled,
        dropped=left - resting,
        fills=fills,
        fills_omitted=jnp.zeros_like(status),
    )
    return after, report


@functools.partial(jax.jit, static_argnames="keep")
def process(book: OrderBook, messages: Message, keep: int = 8) -> tuple[OrderBook, Report]:
    """The book after a sequence of messages (leading axis), and a report for each.

    Of each message's trades the first `keep` are kept, and `fills_omitted` counts the others.
    """

    def step(book: OrderBook, message: Message) -> tuple[OrderBook, Report]:
        book, report = submit(book, message)
        fills, omitted = first_fills(report.fills, keep)
        return book, eqx.tree_at(lambda r: (r.fills, r.fills_omitted), report, (fills, omitted))

    return lax.scan(step, book, messages)


def first_fills(fills: Fills, keep: int) -> tuple[Fills, Int[Array, "*books"]]:
    """The first `keep` trades without the gaps between them, and how many trades there are beyond those."""
    traded = fills.size > 0
    rank, count = _running_sum(traded.astype(jnp.int32))
    place = jnp.arange(keep, dtype=jnp.int32).reshape((keep,) + (1,) * rank.ndim)
    chosen = (place == rank[None]) & traded[None]
    some = jnp.any(chosen, axis=1)

    def pick(field: Num[Array, "slots *books"], none: int) -> Num[Array, "keep *books"]:
        picked = jnp.sum(jnp.where(chosen, field[None], jnp.zeros((), field.dtype)), axis=1, dtype=field.dtype)
        return picked if none == 0 else jnp.where(some, picked, jnp.asarray(none, field.dtype))

    kept = Fills(
        maker_order=pick(fills.maker_order, -1),
        maker=pick(fills.maker, -1),
        taker=pick(fills.taker, -1),
        price=pick(fills.price, 0),
        size=pick(fills.size, 0),
    )
    return kept, jnp.maximum(count - keep, 0)


class _Queue(eqx.Module):
    """One side's slots."""

    order_id: Int[Array, "slots *books"]
    originator: Int[Array, "slots *books"]
    size: Num[Array, "slots *books"]
    price: Int[Array, "slots *books"]


def _side(book: OrderBook, asks: Bool[Array, "*books"]) -> _Queue:
    """The asks of the books where `asks`, the bids of the others."""
    fields = (book.order_id, book.originator, book.size, book.price)
    return _Queue(*(jnp.where(asks[None], field[ASKS], field[BIDS]) for field in fields))


def _is_valid(message: Message) -> Bool[Array, "*books"]:
    kind, side, size, price = message.kind, message.side, message.size, message.price
    sided = (kind == Kind.CANCEL) | (side == BUY) | (side == SELL)
    priced = (kind == Kind.CANCEL) | (kind == Kind.MARKET) | ((price > -NO_PRICE) & (price < NO_PRICE))
    sized = (size > 0) & ((kind != Kind.LIMIT) | jnp.isfinite(size))
    return (kind >= Kind.LIMIT) & (kind <= Kind.WITHDRAW) & sided & priced & sized


def _take(
    queue: _Queue,
    message: Message,
    quantity: Num[Array, "*books"],
    withdraw: Bool[Array, "*books"],
    asks: Bool[Array, "*books"],
) -> tuple[Num[Array, "slots *books"], Num[Array, "*books"]]:
    """What is taken from each slot of a queue, and in total: from the front for orders, from the back for withdrawals.

    An order reaches the prices that are no worse than its limit; a withdrawal its originator's orders at its price.
    """
    sign = jnp.where(asks, 1, -1).astype(jnp.int32)  # sign·price rises along the queue
    limit = jnp.where(message.kind == Kind.MARKET, jnp.int32(NO_PRICE), sign * message.price)
    reached = sign[None] * queue.price <= limit[None]
    own = (queue.price == message.price[None]) & (queue.originator == message.originator[None])
    available = jnp.where(jnp.where(withdraw[None], own, reached), queue.size, jnp.zeros((), queue.size.dtype))
    before, total = _running_sum(available)
    ahead = jnp.where(withdraw[None], total[None] - before - available, before)
    return jnp.clip(quantity[None] - ahead, 0, available), jnp.minimum(quantity, total)


def _place(book: OrderBook, message: Message, size: Num[Array, "*books"]):
    """Where an order of `size` comes to rest: the size that does, and the function that inserts it.

    The order goes behind all slots (holes included) whose price is as good as its own. The slots between its place and
    the nearest hole behind it, or else before it, move by one into that hole.
    """
    buys = message.side == BUY
    queue = _side(book, ~buys)
    sign = jnp.where(buys, -1, 1).astype(jnp.int32)
    slot = lax.broadcasted_iota(jnp.int32, queue.size.shape, 0)
    capacity = book.capacity
    before = sign[None] * queue.price <= (sign * message.price)[None]
    hole = queue.size == 0
    place = jnp.sum(before.astype(jnp.int32), axis=0, dtype=jnp.int32)
    behind = jnp.min(jnp.where(hole & ~before, slot, capacity), axis=0)
    ahead = jnp.max(jnp.where(hole & before, slot, -1), axis=0)
    backward = behind < capacity
    rests = (size > 0) & (backward | (ahead >= 0))

    # The slots of both sides are numbered through; the intervals below are empty where nothing moves that way.
    offset = jnp.where(buys, 0, capacity).astype(jnp.int32)
    at = jnp.where(rests, offset + jnp.where(backward, place, place - 1), -1)
    last = jnp.where(rests & backward, offset + behind, -1)
    first = jnp.where(rests & ~backward, offset + ahead, 2 * capacity)

    def insert(book: OrderBook, sizes: Num[Array, "2 slots *books"]) -> OrderBook:
        number = lax.broadcasted_iota(jnp.int32, (2 * capacity, *size.shape), 0).reshape(sizes.shape)
        new = number == at[None, None]
        moved_back = (number > at[None, None]) & (number <= last[None, None])
        moved_ahead = (number < at[None, None]) & (number >= first[None, None])

        def shift(field: Num[Array, "2 slots *books"], value: Num[Array, "*books"], kept: Num[Array, "2 slots *books"]):
            moved = jnp.where(moved_back, _shifted(field, 1), jnp.where(moved_ahead, _shifted(field, -1), kept))
            return jnp.where(new, value[None, None], moved)

        return OrderBook(
            order_id=shift(book.order_id, message.order_id, book.order_id),
            originator=shift(book.originator, message.originator, book.originator),
            # An order that rests takes nothing from its own side: moved sizes are those from before the message.
            size=shift(book.size, size, sizes),
            price=shift(book.price, message.price, book.price),
            overflow=book.overflow,
        )

    return jnp.where(rests, size, jnp.zeros((), size.dtype)), insert


def _shifted(field: Num[Array, "2 slots *books"], by: int) -> Num[Array, "2 slots *books"]:
    """Every side's slots moved by ±1, zero where nothing comes from; as `pad`, which the compiler vectorises."""
    edges = [(0, 0, 0)] * field.ndim
    edges[1] = (by, -by, 0)
    return lax.pad(field, jnp.zeros((), field.dtype), edges)


def _running_sum(values: Num[Array, "slots *books"]) -> tuple[Num[Array, "slots *books"], Num[Array, "*books"]]:
    """Sum of the entries before each one, and of all; by blocks, several times faster on CPUs than `jnp.cumsum`."""
    count = values.shape[0]
    block = next((b for b in (8, 7, 6, 5, 4, 3, 2) if count % b == 0), 1)
    if block == 1 and count > 8:
        inclusive = jnp.cumsum(values, axis=0, dtype=values.dtype)
        return inclusive - values, inclusive[-1]
    size = count if count <= 8 else block
    blocks = values.reshape((count // size, size, *values.shape[1:]))
    earlier = np.tri(size, k=-1, dtype=bool).reshape((1, size, size) + (1,) * (values.ndim - 1))
    within = jnp.sum(jnp.where(earlier, blocks[:, None], jnp.zeros((), values.dtype)), axis=2, dtype=values.dtype)
    totals = jnp.sum(blocks, axis=1, dtype=values.dtype)
    if count == size:
        return within[0], totals[0]
    offsets, total = _running_sum(totals)
    return (within + offsets[:, None]).reshape(values.shape), total
