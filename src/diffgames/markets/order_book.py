"""The exact order book: every order in its queue, price–time priority, compiled.

A side of the book is an array of slots sorted by price–time priority: best price first and, at one price, oldest first.
An order that is gone leaves a hole, a slot of size zero that keeps its price, so a side stays sorted without being
moved. One message then is a fixed number of array operations, whatever it does:

    matching       fill_k = clip(Q − B_k, 0, q_k),  B_k = Σ_{l<k} q_l: Q lots against the q_k that the limit reaches
    insertion      by rank p = #{k : price_k at least as good}: the slots between p and the nearest hole move by one
    cancellation   by mask: size_k ← size_k − min(size_k, cancelled) in the slot that holds the message's order

There is no sort, scatter, branch or inner loop, the things that make order books slow when they are vectorised:
`jax.vmap` runs thousands of books at once. Sizes are int32 or float32 (exact for whole lots up to 2²⁴), in book and
messages alike, and the size resting on a side must stay below 2³¹; prices are int32 in any unit.

    book = empty_book(64)
    book, _ = submit(book, message(Kind.LIMIT, side=SELL, price=101, size=5, order_id=1, originator=7))
    book, report = submit(book, message(Kind.MARKET, side=BUY, size=3, originator=8))
    report.fills  # maker_order 1, maker 7, taker 8, price 101, size 3
"""

import enum
import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Int, Num

from diffgames.errors import InvalidInput

BUY, SELL = 1, -1
BIDS, ASKS = 0, 1
NO_PRICE = 2**31 - 1
"""Price of a quote that does not exist: `NO_PRICE` for asks, `−NO_PRICE` for bids. Orders cannot have it."""

Values = ArrayLike | Sequence[int] | Sequence[float]


class Kind(enum.IntEnum):
    """What a message asks for."""

    NOTHING = 0  # padding: changes nothing
    LIMIT = 1  # trade at `price` or better, then rest what is left
    MARKET = 2  # trade at any price; what finds no volume is dropped
    CANCEL = 3  # take `size` off the order `order_id`, all of it if less is left; `side` and `price` are not read
    WITHDRAW = 4  # take `size` off the originator's own orders at `price` on `side`, youngest first


class Status(enum.IntEnum):
    """What became of a message."""

    DONE = 0
    NOTHING = 1  # padding
    UNFILLED = 2  # a market order found too little volume: `Report.dropped` was not traded
    UNKNOWN_ORDER = 3  # the order does not rest; nothing changed (withdrawals: less rests than was to be withdrawn)
    OVERFLOW = 4  # no free slot: what was left of the limit order, `Report.dropped`, does not rest; counted in the book
    DUPLICATE = 5  # an order of this identity already rests; nothing changed
    INVALID = 6  # unknown kind or side, size not positive (or not finite), price reserved; nothing changed


class Message(eqx.Module):
    """One message, or a sequence of them (one more axis in front); `message` builds both with the right types."""

    kind: Int[Array, "*messages"]
    side: Int[Array, "*messages"]
    order_id: Int[Array, "*messages"]
    originator: Int[Array, "*messages"]
    size: Num[Array, "*messages"]
    price: Int[Array, "*messages"]


class Queue(eqx.Module):
    """The resting orders of one side in order of priority; entries of size 0 are holes."""

    order_id: Int[Array, " slots"]
    originator: Int[Array, " slots"]
    size: Num[Array, " slots"]
    price: Int[Array, " slots"]


class OrderBook(eqx.Module):
    """The resting orders of both sides: the first axis is `BIDS`, `ASKS`; each side a queue with holes of size 0."""

    order_id: Int[Array, "*books 2 slots"]
    originator: Int[Array, "*books 2 slots"]
    size: Num[Array, "*books 2 slots"]
    price: Int[Array, "*books 2 slots"]
    overflow: Int[Array, "*books"]  # orders that found no free slot so far

    @property
    def capacity(self) -> int:
        """Slots on each side."""
        return self.size.shape[-1]


class Fills(eqx.Module):
    """Trades in the order in which they happened; entries of size 0 are none, with identities −1."""

    maker_order: Int[Array, "*messages fills"]
    maker: Int[Array, "*messages fills"]
    taker: Int[Array, "*messages fills"]
    price: Int[Array, "*messages fills"]
    size: Num[Array, "*messages fills"]


class Report(eqx.Module):
    """What a message did. Of an order that was admitted, size = filled + resting + dropped."""

    status: Int[Array, "*messages"]
    filled: Num[Array, "*messages"]
    resting: Num[Array, "*messages"]
    cancelled: Num[Array, "*messages"]
    dropped: Num[Array, "*messages"]
    fills: Fills
    fills_omitted: Int[Array, "*messages"]  # trades beyond those kept in `fills`; `filled` counts them all


def empty_book(capacity: int, dtype: type | np.dtype = np.int32) -> OrderBook:
    """A book without orders: `capacity` slots a side, sizes of `dtype` (int32 or float32)."""
    if capacity < 1:
        raise InvalidInput("capacity", capacity, "an integer ≥ 1")
    if np.dtype(dtype) not in (np.dtype(np.int32), np.dtype(np.float32)):
        raise InvalidInput("dtype", np.dtype(dtype).name, "int32 or float32")
    nobody = jnp.full((2, capacity), -1, jnp.int32)
    worst = jnp.broadcast_to(jnp.array([[-NO_PRICE], [NO_PRICE]], jnp.int32), (2, capacity))
    return OrderBook(nobody, nobody, jnp.zeros((2, capacity), dtype), worst, jnp.zeros((), jnp.int32))


def message(
    kind: Values,
    *,
    side: Values = 0,
    order_id: Values = -1,
    originator: Values = -1,
    size: Values = 0,
    price: Values = 0,
    dtype: type | np.dtype = np.int32,
) -> Message:
    """A message, or a sequence of them: scalars are repeated to the length of the arrays among the fields.

    `dtype` is the type of the sizes, the book's. To cancel an order whole, cancel at least its size. Raises
    `InvalidInput` naming the field whose values `dtype` or int32 would change: a price between ticks, an identity of
    64 bits.
    """
    named = {"kind": kind, "side": side, "order_id": order_id, "originator": originator, "price": price}
    integers = [_kept(name, field, np.int32) for name, field in named.items()]
    sizes = _kept("size", size, dtype)
    shape = np.broadcast_shapes(sizes.shape, *(field.shape for field in integers))
    kinds, sides, orders, originators, prices = (jnp.broadcast_to(field, shape) for field in integers)
    return Message(kinds, sides, orders, originators, jnp.broadcast_to(sizes, shape), prices)


def _kept(name: str, values: Values, dtype: type | np.dtype) -> Array:
    """The values as `dtype`, refused where that would change them; of traced ones only the type is known."""
    whole = np.issubdtype(np.dtype(dtype), np.integer)
    allowed = f"{'whole numbers' if whole else 'numbers'} that {np.dtype(dtype).name} holds"
    if isinstance(values, Tracer):
        traced = jnp.asarray(values)
        if whole and not jnp.issubdtype(traced.dtype, jnp.integer):
            raise InvalidInput(name, traced.dtype.name, allowed)
        return traced.astype(dtype)
    given = np.asarray(values)
    if given.dtype.kind not in "biuf":
        raise InvalidInput(name, values, allowed)
    if whole and given.dtype != np.dtype(dtype):
        limits = np.iinfo(dtype)
        changed = ~((given >= limits.min) & (given <= limits.max) & (given == np.floor(given)))
        if changed.any():
            raise InvalidInput(name, given[changed][0].item(), allowed)
    return jnp.asarray(values, dtype)


def submit(book: OrderBook, message: Message) -> tuple[OrderBook, Report]:
    """The book after one message, and what it did. `report.fills` has an entry per slot, so it holds every trade."""
    if message.size.dtype != book.size.dtype:
        raise InvalidInput("message.size", message.size.dtype.name, f"the book's type of sizes, {book.size.dtype.name}")
    size, zero = message.size, jnp.zeros((), book.size.dtype)
    named = (book.size > 0) & (book.order_id == message.order_id)
    known = jnp.any(named)
    kind = jnp.where(_is_valid(message, known), message.kind, jnp.int32(Kind.NOTHING))
    order = (kind == Kind.LIMIT) | (kind == Kind.MARKET)
    withdrawal = kind == Kind.WITHDRAW

    takes_asks = (message.side == BUY) ^ withdrawal  # an order takes from the other side, a withdrawal from its own
    queue = _side(book, takes_asks)
    taken, total = _take(queue, message, jnp.where(order | withdrawal, size, zero), takes_asks)
    removed = jnp.where(named & (kind == Kind.CANCEL), jnp.minimum(book.size, size), zero)
    struck = jnp.stack([~takes_asks, takes_asks])[:, None]
    sizes = book.size - removed - jnp.where(struck, taken[None], zero)

    left = jnp.where(order, size - total, zero)
    after, resting = _rest(book, sizes, message, jnp.where(kind == Kind.LIMIT, left, zero))
    traded = jnp.where(order, taken, zero)
    some, nobody = traded > 0, jnp.int32(-1)
    report = Report(
        status=jnp.int32(Status.DONE),
        filled=jnp.where(order, total, zero),
        resting=resting,
        cancelled=jnp.where(withdrawal, total, jnp.sum(removed, dtype=size.dtype)),
        dropped=left - resting,
        fills=Fills(
            maker_order=jnp.where(some, queue.order_id, nobody),
            maker=jnp.where(some, queue.originator, nobody),
            taker=jnp.where(some, message.originator, nobody),
            price=jnp.where(some, queue.price, 0),
            size=traded,
        ),
        fills_omitted=jnp.int32(0),
    )
    status = _status(message, kind, known, report)
    overflow = book.overflow + (status == Status.OVERFLOW).astype(jnp.int32)
    return (
        eqx.tree_at(lambda book: book.overflow, after, overflow),
        eqx.tree_at(lambda report: report.status, report, status),
    )


@functools.partial(jax.jit, static_argnames="keep")
def process(book: OrderBook, messages: Message, keep: int = 8) -> tuple[OrderBook, Report]:
    """The book after a sequence of messages, and a report for each.

    Of each message's trades the first `keep` are kept, and `fills_omitted` counts the others.
    """

    def step(book: OrderBook, message: Message) -> tuple[OrderBook, Report]:
        book, report = submit(book, message)
        fills, omitted = first_fills(report.fills, keep)
        return book, eqx.tree_at(lambda report: (report.fills, report.fills_omitted), report, (fills, omitted))

    return lax.scan(step, book, messages)


def first_fills(fills: Fills, keep: int) -> tuple[Fills, Int[Array, ""]]:
    """The first `keep` trades without the gaps between them, and how many trades there are beyond those."""
    traded = (fills.size > 0).astype(jnp.int32)
    earlier, count = _running_sum(traded)
    wanted = jnp.arange(keep, dtype=jnp.int32)[:, None]
    slot = jnp.sum((earlier + traded)[None] <= wanted, axis=1, dtype=jnp.int32)
    kept = Fills(
        *(
            field.at[slot].get(mode="fill", fill_value=none)
            for field, none in (
                (fills.maker_order, -1),
                (fills.maker, -1),
                (fills.taker, -1),
                (fills.price, 0),
                (fills.size, 0),
            )
        )
    )
    return kept, jnp.maximum(count - keep, 0)


def _side(book: OrderBook, asks: Bool[Array, ""]) -> Queue:
    """The asks where `asks`, else the bids."""
    fields = (book.order_id, book.originator, book.size, book.price)
    return Queue(*(jnp.where(asks, field[ASKS], field[BIDS]) for field in fields))


def _is_valid(message: Message, known: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether a message is admitted: well formed, and not a limit order whose identity already rests."""
    kind, size, price = message.kind, message.size, message.price
    limit, cancel = kind == Kind.LIMIT, kind == Kind.CANCEL
    sided = cancel | (message.side == BUY) | (message.side == SELL)
    priced = cancel | (kind == Kind.MARKET) | ((price > -NO_PRICE) & (price < NO_PRICE))
    sized = (size > 0) & (~limit | jnp.isfinite(size))
    return (kind >= Kind.LIMIT) & (kind <= Kind.WITHDRAW) & sided & priced & sized & ~(limit & known)


def _take(
    queue: Queue, message: Message, quantity: Num[Array, ""], asks: Bool[Array, ""]
) -> tuple[Num[Array, " slots"], Num[Array, ""]]:
    """What a message takes from each slot of a queue, and in total.

    An order takes from the front, up to its limit; a withdrawal from the back of its originator's orders at its price.
    """
    withdrawal = message.kind == Kind.WITHDRAW
    sign = jnp.where(asks, 1, -1).astype(jnp.int32)  # sign·price rises along the queue
    limit = jnp.where(message.kind == Kind.MARKET, jnp.int32(NO_PRICE), sign * message.price)
    own = (queue.price == message.price) & (queue.originator == message.originator)
    reached = jnp.where(withdrawal, own, sign * queue.price <= limit)
    available = jnp.where(reached, queue.size, jnp.zeros((), queue.size.dtype))
    before, total = _running_sum(available)
    ahead = jnp.where(withdrawal, total - before - available, before)
    return jnp.clip(quantity - ahead, 0, available), jnp.minimum(quantity, total)


def _rest(
    book: OrderBook, sizes: Num[Array, "2 slots"], message: Message, size: Num[Array, ""]
) -> tuple[OrderBook, Num[Array, ""]]:
    """The book with its new `sizes` and an order of `size` resting (if positive and if there is room); its size there.

    The order goes behind every slot, holes included, whose price is at least as good. The slots between its place and
    the nearest hole behind it, or else the nearest before it, move by one into that hole.
    """
    buys = message.side == BUY
    queue = _side(book, ~buys)
    capacity = queue.size.shape[0]
    sign = jnp.where(buys, -1, 1).astype(jnp.int32)
    slot = jnp.arange(capacity, dtype=jnp.int32)
    better, hole = sign * queue.price <= sign * message.price, queue.size == 0
    rank = jnp.sum(better.astype(jnp.int32), dtype=jnp.int32)
    behind = jnp.min(jnp.where(hole & ~better, slot, capacity))
    ahead = jnp.max(jnp.where(hole & better, slot, -1))
    rests = (size > 0) & ((behind < capacity) | (ahead >= 0))
    backward = rests & (behind < capacity)
    forward = rests & ~backward

    # Slots of both sides are numbered through. Intervals that do not apply are empty.
    first = jnp.where(buys, 0, capacity).astype(jnp.int32)
    place = jnp.where(rests, first + jnp.where(backward, rank, rank - 1), -1)
    last_moved = jnp.where(backward, first + behind, -1)
    first_moved = jnp.where(forward, first + ahead, 2 * capacity)
    number = jnp.arange(2 * capacity, dtype=jnp.int32).reshape((2, capacity))
    new = number == place
    moved_back = (number > place) & (number <= last_moved)
    moved_ahead = (number < place) & (number >= first_moved)

    def insert(field: Num[Array, "2 slots"], value: Num[Array, ""], kept: Num[Array, "2 slots"]):
        moved = jnp.where(moved_back, _shifted(field, 1), jnp.where(moved_ahead, _shifted(field, -1), kept))
        return jnp.where(new, value, moved)

    after = OrderBook(
        order_id=insert(book.order_id, message.order_id, book.order_id),
        originator=insert(book.originator, message.originator, book.originator),
        # A message that comes to rest takes nothing from its own side: sizes that move are those from before it.
        size=insert(book.size, size, sizes),
        price=insert(book.price, message.price, book.price),
        overflow=book.overflow,
    )
    return after, jnp.where(rests, size, jnp.zeros((), size.dtype))


def _shifted(field: Num[Array, "2 slots"], by: int) -> Num[Array, "2 slots"]:
    """Both sides moved by ±1 slot; written as `pad`, which the compiler vectorises."""
    return lax.pad(field, jnp.zeros((), field.dtype), ((0, 0, 0), (by, -by, 0)))


def _status(message: Message, kind: Int[Array, ""], known: Bool[Array, ""], report: Report) -> Int[Array, ""]:
    """The first that applies; `kind` is `NOTHING` for messages that were not admitted."""
    refused = (message.kind != Kind.NOTHING) & (kind == Kind.NOTHING)
    duplicate = refused & (message.kind == Kind.LIMIT) & known & (message.size > 0)
    missing = ((kind == Kind.CANCEL) & ~known) | ((kind == Kind.WITHDRAW) & (report.cancelled < message.size))
    cases = (
        (message.kind == Kind.NOTHING, Status.NOTHING),
        (duplicate, Status.DUPLICATE),
        (refused, Status.INVALID),
        (missing, Status.UNKNOWN_ORDER),
        ((kind == Kind.LIMIT) & (report.dropped > 0), Status.OVERFLOW),
        ((kind == Kind.MARKET) & (report.dropped > 0), Status.UNFILLED),
    )
    return jnp.select([case for case, _ in cases], [jnp.int32(code) for _, code in cases], jnp.int32(Status.DONE))


def _running_sum(values: Num[Array, " slots"]) -> tuple[Num[Array, " slots"], Num[Array, ""]]:
    """Sum of the entries before each one, and of all; by blocks, several times faster on CPUs than `jnp.cumsum`."""
    count = values.shape[0]
    block = count if count <= 8 else next((b for b in (8, 7, 6, 5, 4, 3, 2) if count % b == 0), 1)
    if block == 1 and count > 1:
        inclusive = jnp.cumsum(values, dtype=values.dtype)
        return inclusive - values, inclusive[-1]
    blocks = values.reshape((count // block, block))
    earlier = np.tri(block, k=-1, dtype=bool)[None]
    within = jnp.sum(jnp.where(earlier, blocks[:, None], jnp.zeros((), values.dtype)), axis=2, dtype=values.dtype)
    totals = jnp.sum(blocks, axis=1, dtype=values.dtype)
    if count == block:
        return within[0], totals[0]
    offsets, total = _running_sum(totals)
    return (within + offsets[:, None]).reshape((count,)), total
