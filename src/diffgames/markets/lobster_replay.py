"""Replay of recorded messages through the exact order book, checked against the recorded book event by event.

Orders that were there before the file begins are not in it. `recover_orders` finds them offline, in a pass over the
whole file: the first recorded row gives the volume of its levels, and every later cancellation or execution of an order
never seen to arrive reveals one, which is taken to be there from the start. Where the first row shows that it was not,
it arrived unseen outside the recorded range, and its identity says when, since identities are assigned in the order of
arrival. Level volume that nothing reveals is one order without identity. The plain replay (`reveal=False`) knows the
first row alone: whatever orders never seen to arrive lose is taken off the volume without identity at their price.

The second pass sends everything through the book. A new order is a limit order; a cancellation or deletion cancels by
identity; an execution is a market order of its size, which price–time priority must match with the very order that the
record names. An event that the book does not reproduce is counted under its `Reason`, and the book follows the record.
"""

import dataclasses
import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from diffgames.errors import InvalidInput
from diffgames.markets.book_views import Levels, best_ask, best_bid, depth, queue_place
from diffgames.markets.level2 import EMPTY_PRICE
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages
from diffgames.markets.order_book import (
    BUY,
    NO_PRICE,
    SELL,
    Kind,
    Message,
    OrderBook,
    Status,
    empty_book,
    message,
    submit,
)

CHUNK = 8192  # rows replayed by one compiled call
NAMELESS = -(2**62)  # from here down: identities of recovered volumes that nothing identifies


class Reason(enum.IntEnum):
    """Why an event is not reproduced by the book."""

    EXPLAINED = 0
    UNKNOWN_ORDER = 1  # cancelled, deleted or executed, but not in the book
    WRONG_PRICE = 2  # the order rests at another price or on the other side
    WRONG_SIZE = 3  # more is taken than rests, or a deletion of another size than rests
    NOT_FIRST = 4  # executed although another order has priority
    CROSSING = 5  # a new order that would have traded on arrival
    REPEATED_ORDER = 6  # a new order whose identity already rests
    NO_ROOM = 7  # the book was too small


@dataclass(frozen=True)
class RecoveredOrders:
    """Orders that the file does not show arriving; `row` is the event before which each is inserted."""

    row: np.ndarray
    order_id: np.ndarray  # ≤ `NAMELESS` where nothing identifies the volume
    direction: np.ndarray
    price: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Replay:
    """The replayed book after every event, and how it compares with the record.

    Prices and sizes are arrays of events × levels, in the record's units; levels that do not exist have price
    ±9999999999 and size 0. `match[:, l]` says whether the first l + 1 levels of both sides equal the record.
    """

    ask_price: np.ndarray
    ask_size: np.ndarray
    bid_price: np.ndarray
    bid_size: np.ndarray
    match: np.ndarray
    reason: np.ndarray
    recovered: RecoveredOrders
    capacity: int

    @property
    def unexplained(self) -> dict[str, int]:
        """Number of events by reason, those explained left out."""
        counts = np.bincount(self.reason, minlength=len(Reason))
        return {reason.name.lower(): int(counts[reason]) for reason in Reason if reason != Reason.EXPLAINED}


class _Row(eqx.Module):
    """One row of the sequence that is replayed: the event's type, and what it says as a message to the book."""

    type: Int[Array, "*rows"]
    message: Message


def recover_orders(messages: LobsterMessages, orderbook: LobsterBook, *, reveal: bool = True) -> RecoveredOrders:
    """Orders that were there unseen. Without `reveal`, only the volumes of the first row's levels, without identity."""
    found = _revealed(messages) if reveal else RecoveredOrders(*np.zeros((5, 0), np.int64))
    levels = _initial_levels(messages, orderbook)
    recorded = (found.price >= orderbook.bid_price[0, -1]) & (found.price <= orderbook.ask_price[0, -1])
    row = np.where(recorded, found.row, 0)
    for n in np.flatnonzero(row == 0):
        place = (int(found.direction[n]), int(found.price[n]))
        if place in levels:
            levels[place] -= int(found.size[n])
    rest = [(0, NAMELESS - n, *place, left) for n, (place, left) in enumerate(levels.items()) if left > 0]
    nameless = RecoveredOrders(*np.array(rest, np.int64).reshape(-1, 5).T)
    # At one price and time the oldest identity goes first, and last the volume that nothing ever executes.
    order = np.argsort(np.concatenate([row, nameless.row]), kind="stable")
    return RecoveredOrders(
        row=np.concatenate([row, nameless.row])[order],
        order_id=np.concatenate([found.order_id, nameless.order_id])[order],
        direction=np.concatenate([found.direction, nameless.direction])[order],
        price=np.concatenate([found.price, nameless.price])[order],
        size=np.concatenate([found.size, nameless.size])[order],
    )


def _revealed(messages: LobsterMessages) -> RecoveredOrders:
    """Orders first seen when they are cancelled or executed, oldest first, with the row their identity dates them to.

    An order arrived after the last order that is older than any younger one, at the latest before its own first event.
    """
    touching = np.flatnonzero((messages.type >= EventType.NEW_ORDER) & (messages.type <= EventType.EXECUTION))
    identities, first, inverse = np.unique(messages.order_id[touching], return_index=True, return_inverse=True)
    taken = np.where(messages.type[touching] == EventType.NEW_ORDER, 0, messages.size[touching])
    total = np.bincount(inverse, weights=taken, minlength=len(identities)).astype(np.int64)
    unseen = messages.type[touching[first]] != EventType.NEW_ORDER
    shown = touching[first[unseen]]
    arrivals = np.flatnonzero(messages.type == EventType.NEW_ORDER)
    youngest = np.maximum.accumulate(messages.order_id[arrivals])
    after = np.concatenate([[0], arrivals + 1])
    return RecoveredOrders(
        row=np.minimum(after[np.searchsorted(youngest, identities[unseen])], shown),
        order_id=identities[unseen],
        direction=messages.direction[shown],
        price=messages.price[shown],
        size=total[unseen],
    )


def _initial_levels(messages: LobsterMessages, orderbook: LobsterBook) -> dict[tuple[int, int], int]:
    """Volume by (direction, price) before the first event: the first recorded row with that event undone."""
    levels = {}
    for direction, prices, sizes in (
        (-1, orderbook.ask_price[0], orderbook.ask_size[0]),
        (1, orderbook.bid_price[0], orderbook.bid_size[0]),
    ):
        levels |= {(direction, int(p)): int(s) for p, s in zip(prices, sizes, strict=True) if abs(p) != EMPTY_PRICE}
    event, place = int(messages.type[0]), (int(messages.direction[0]), int(messages.price[0]))
    if event <= EventType.EXECUTION:
        added = int(messages.size[0]) * (1 if event == EventType.NEW_ORDER else -1)
        levels[place] = levels.get(place, 0) - added
    return levels


def replay(
    messages: LobsterMessages,
    orderbook: LobsterBook,
    *,
    levels: int = 5,
    reveal: bool = True,
    recovered: RecoveredOrders | None = None,
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """Send every message through the exact book and compare `levels` levels with the record after each.

    `reveal=False` is the plain replay, from the first row's levels alone. The book's capacity is that of the file: the
    largest number of orders that ever rest on a side. `recovered` orders may be given instead of found.
    """
    if not 1 <= levels <= orderbook.levels:
        raise InvalidInput("levels", levels, f"1 to {orderbook.levels}, the recorded levels")
    if len(messages) != len(orderbook):
        raise InvalidInput("orderbook", f"{len(orderbook)} rows", f"{len(messages)} rows, one per message")
    if recovered is None:
        recovered = recover_orders(messages, orderbook, reveal=reveal)
    if not reveal:
        messages = attributed(messages, recovered)
    columns, is_event, origin = _sequence(messages, recovered)
    capacity = _capacity(columns)
    book = empty_book(capacity)
    seen = []
    for start in range(0, len(is_event), CHUNK):
        here = slice(start, start + CHUNK)
        book, shown = _replay_chunk(book, _rows(columns, here), levels)
        seen.append([np.asarray(field)[is_event[here]] for field in jax.tree.leaves(shown)])
        if progress is not None:
            progress(min(1.0, (start + CHUNK) / len(is_event)))
    quotes, reason = jax.tree.unflatten(jax.tree.structure(shown), [np.concatenate(f) for f in zip(*seen, strict=True)])
    replayed = LobsterBook(
        ask_price=_absolute(quotes.ask_price, origin),
        ask_size=quotes.ask_size.astype(np.int64),
        bid_price=_absolute(quotes.bid_price, origin),
        bid_size=quotes.bid_size.astype(np.int64),
    )
    fields = ("ask_price", "ask_size", "bid_price", "bid_size")
    equal = [getattr(replayed, field) == getattr(orderbook, field)[:, :levels] for field in fields]
    return Replay(
        **{field: getattr(replayed, field) for field in fields},
        match=np.logical_and.accumulate(np.all(equal, axis=0), axis=1),
        reason=reason,
        recovered=recovered,
        capacity=capacity,
    )


def attributed(messages: LobsterMessages, recovered: RecoveredOrders) -> LobsterMessages:
    """The messages with unseen orders' events attributed to the volume without identity at their price, where any is.

    A deletion of an unseen order then takes its size and no more.
    """
    if not len(recovered):
        return messages
    places = {
        place: n for n, place in enumerate(zip(recovered.direction.tolist(), recovered.price.tolist(), strict=True))
    }
    visible = (messages.type >= EventType.NEW_ORDER) & (messages.type <= EventType.EXECUTION)
    arriving = messages.order_id[messages.type == EventType.NEW_ORDER]
    at = zip(messages.direction.tolist(), messages.price.tolist(), strict=True)
    volume = np.array([places.get(place, -1) for place in at])
    taken = visible & ~np.isin(messages.order_id, arriving) & (volume >= 0)
    return dataclasses.replace(
        messages,
        type=np.where(taken & (messages.type == EventType.DELETION), EventType.PARTIAL_CANCEL, messages.type),
        order_id=np.where(taken, recovered.order_id[volume], messages.order_id),
    )


def _sequence(messages: LobsterMessages, recovered: RecoveredOrders) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """Recovered orders and events in one sequence, padded to whole chunks; which rows are events; the origin of prices.

    Identities are numbered through and prices counted from the first one, so that both fit the book's integers.
    """
    visible = (messages.type >= EventType.NEW_ORDER) & (messages.type <= EventType.EXECUTION)
    origin = int(messages.price[visible][0]) if visible.any() else 0
    identity = np.unique(np.concatenate([recovered.order_id, messages.order_id]), return_inverse=True)[1]
    order = np.argsort(np.concatenate([recovered.row, np.arange(len(messages))]), kind="stable")
    padding = -len(order) % CHUNK

    def merge(name: str, unseen: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """One column of the sequence; the recovered orders of a row come before its event."""
        column = np.concatenate([unseen, seen])[order]
        if np.max(np.abs(column), initial=0) >= NO_PRICE:
            raise InvalidInput("messages", messages.source, f"{name}s that differ by less than {NO_PRICE}")
        return np.pad(column.astype(np.int32), (0, padding))

    columns = {
        "type": merge("type", np.full(len(recovered), EventType.NEW_ORDER), messages.type),
        "side": merge("direction", recovered.direction, messages.direction),
        "order_id": merge("identity", identity[: len(recovered)], identity[len(recovered) :]),
        "size": merge("size", recovered.size, np.where(visible, messages.size, 0)),
        "price": merge("price", recovered.price - origin, np.where(visible, messages.price - origin, 0)),
    }
    return columns, np.pad(order >= len(recovered), (0, padding)), origin


def _kinds(types: np.ndarray) -> np.ndarray:
    """What each event asks of the book: executions are cancellations until their priority is known."""
    cancels = (types >= EventType.PARTIAL_CANCEL) & (types <= EventType.EXECUTION)
    return np.where(types == EventType.NEW_ORDER, Kind.LIMIT, np.where(cancels, Kind.CANCEL, Kind.NOTHING))


def _rows(columns: dict[str, np.ndarray], here: slice) -> _Row:
    """A part of the sequence, as the book takes it."""
    types, side, order_id, size, price = (columns[name][here] for name in ("type", "side", "order_id", "size", "price"))
    asked = message(_kinds(types), side=side, order_id=order_id, size=size, price=price)
    return _Row(type=jnp.asarray(types, jnp.int32), message=asked)


def _capacity(columns: dict[str, np.ndarray]) -> int:
    """Largest number of orders resting on a side at any time, rounded up so that similar files share a compilation."""
    kind, identity, size = _kinds(columns["type"]), columns["order_id"], columns["size"].astype(np.int64)
    arrives, takes = kind == Kind.LIMIT, kind == Kind.CANCEL
    change = np.where(arrives, size, np.where(takes, -size, 0))
    order = np.argsort(identity, kind="stable")  # every order's own rows, in time
    starts = np.flatnonzero(np.diff(identity[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    total = np.cumsum(change[order])
    left = total - np.repeat((total - change[order])[starts], lengths)
    known = np.repeat(arrives[order][starts], lengths)
    ends = known & takes[order] & ((left <= 0) | (columns["type"][order] == EventType.DELETION))
    _, first = np.unique(identity[order][ends], return_index=True)
    resting = np.zeros(len(order), np.int64)
    resting[order[starts]] += arrives[order][starts]
    resting[order[ends][first]] -= 1
    most = max(int(np.max(np.cumsum(resting * (columns["side"] == side)), initial=1)) for side in (BUY, SELL))
    return -(-most // 64) * 64


@functools.partial(jax.jit, static_argnames="levels")
def _replay_chunk(book: OrderBook, rows: _Row, levels: int) -> tuple[OrderBook, tuple[Levels, Int[Array, " rows"]]]:
    def step(book: OrderBook, row: _Row):
        book, reason = _apply(book, row)
        return book, (depth(book, levels), reason)

    return lax.scan(step, book, rows)


def _apply(book: OrderBook, row: _Row) -> tuple[OrderBook, Int[Array, ""]]:
    """One event through the book: an execution trades if its order has priority, else takes the order's size."""
    event, order = row.type, row.message
    place = queue_place(book, order.order_id)
    best = jnp.where(order.side == BUY, best_bid(book), best_ask(book))
    execution = event == EventType.EXECUTION
    trades = execution & (place.size >= order.size) & (place.price == best) & (place.orders_ahead == 0)
    request = eqx.tree_at(
        lambda message: (message.kind, message.side, message.size),
        order,
        (
            jnp.where(trades, jnp.int32(Kind.MARKET), order.kind),
            jnp.where(trades, -order.side, order.side),
            jnp.where(event == EventType.DELETION, jnp.maximum(order.size, place.size), order.size),
        ),
    )
    book, report = submit(book, request)
    maker = jnp.max(jnp.where(report.fills.size > 0, report.fills.maker_order, -1))
    matched = trades & (report.filled == order.size) & (maker == order.order_id)
    takes = order.kind == Kind.CANCEL
    checks = (
        (takes & (place.size == 0), Reason.UNKNOWN_ORDER),
        (takes & ((place.price != order.price) | (place.side != order.side)), Reason.WRONG_PRICE),
        (takes & (order.size > place.size), Reason.WRONG_SIZE),
        ((event == EventType.DELETION) & (order.size != place.size), Reason.WRONG_SIZE),
        (execution & ~matched, Reason.NOT_FIRST),
        ((order.kind == Kind.LIMIT) & (report.filled > 0), Reason.CROSSING),
        (report.status == Status.DUPLICATE, Reason.REPEATED_ORDER),
        (report.status == Status.OVERFLOW, Reason.NO_ROOM),
    )
    codes = [jnp.int32(reason) for _, reason in checks]
    return book, jnp.select([check for check, _ in checks], codes, jnp.int32(Reason.EXPLAINED))


def _absolute(price: np.ndarray, origin: int) -> np.ndarray:
    """Prices of the book in the record's units, missing levels marked as there."""
    exists = np.abs(price) != NO_PRICE
    return np.where(exists, price.astype(np.int64) + origin, np.sign(price).astype(np.int64) * EMPTY_PRICE)
