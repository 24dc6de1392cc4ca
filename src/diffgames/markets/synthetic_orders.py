"""A synthetic day of order messages and the book after each, in LOBSTER's layout, for where no real file lies.

Zero-intelligence order flow (Smith, Farmer, Gillemot & Krishnamurthy 2003; Cont, Stoikov & Talreja 2010): on each side,

    limit orders     at rate λ, δ ticks from the opposite best quote, δ ≥ 1 geometric with mean `depth`
    market orders    at rate μ, of which a share is executed against hidden orders and touches no visible one
    cancellations    at rate θ per resting order, whole with probability `whole`, else in part

Sizes are geometric in round lots. The book runs for `warm_up` events before the recording begins, so that the file,
like a real one, starts with orders that it does not show arriving. Everything is told by the plain-Python book: the
compiled one has no part in the record that it is compared with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages
from diffgames.markets.order_book import BUY, SELL, Kind
from diffgames.markets.plain_book import PlainBook
from diffgames.markets.plain_replay import padded_levels

LOT = 100
OPENING = 9.5 * 3600


@dataclass(frozen=True)
class OrderFlow:
    """Rates per second and shapes of the order flow; prices in dollars × 10,000."""

    limit_rate: float = 5.0  # λ, per side
    market_rate: float = 1.5  # μ, per side
    cancel_rate: float = 0.06  # θ, per resting order
    depth: float = 8.0  # mean distance of limit orders from the opposite best quote, ticks
    size: float = 2.0  # mean size, lots of 100
    whole: float = 0.9
    hidden: float = 0.1
    tick: int = 100
    price: int = 1_000_000  # mid price at the start
    warm_up: int = 2_000


@dataclass(frozen=True)
class _Event:
    """One row of the message file."""

    time: float
    type: EventType
    order_id: int
    size: int
    price: int
    direction: int


def synthetic_orders(
    events: int = 20_000, *, flow: OrderFlow | None = None, levels: int = 10, seed: int = 0
) -> tuple[LobsterMessages, LobsterBook]:
    """`events` messages and the `levels` best levels after each; the same seed gives the same day."""
    flow = flow if flow is not None else OrderFlow()
    book, rng = PlainBook(capacity=10**9), np.random.default_rng(seed)
    day = _run(book, flow, rng)
    for _ in islice(day, flow.warm_up):
        pass
    rows, snapshots = [], []
    for event in islice(day, events):
        rows.append((event.time, event.type, event.order_id, event.size, event.price, event.direction))
        snapshots.append([padded_levels(book, side, levels) for side in (SELL, BUY)])
    time, *integers = zip(*rows, strict=True)
    recorded = np.array(snapshots, np.int64)  # events × side × level × (price, size)
    source = f"synthetic order flow, seed {seed}"
    return (
        LobsterMessages(np.array(time), *(np.array(column, np.int64) for column in integers), source=source),
        LobsterBook(
            recorded[:, 0, :, 0], recorded[:, 0, :, 1], recorded[:, 1, :, 0], recorded[:, 1, :, 1], source=source
        ),
    )


def _run(book: PlainBook, flow: OrderFlow, rng: np.random.Generator) -> Iterator[_Event]:
    """The day, event by event: `book` is in the state after each event when that is yielded."""
    time, number = OPENING, 0
    for side, level in ((side, level) for level in range(1, 20) for side in (BUY, SELL)):
        number += 1
        book.submit(Kind.LIMIT, side, number, -1, 3 * LOT, flow.price - side * level * flow.tick)
    while True:
        limit, market, cancel = 2 * flow.limit_rate, 2 * flow.market_rate, flow.cancel_rate * len(book.places)
        time += rng.exponential(1 / (limit + market + cancel))
        draw = rng.random() * (limit + market + cancel)
        side = BUY if rng.random() < 0.5 else SELL
        size = LOT * int(rng.geometric(1 / flow.size))
        if draw < limit:
            number += 1
            yield _limit(book, flow, rng, time, side, size, number)
        elif draw < limit + market:
            yield from _market(book, flow, rng, time, side, size)
        else:
            yield from _cancel(book, flow, rng, time)


def _limit(
    book: PlainBook, flow: OrderFlow, rng: np.random.Generator, time: float, side: int, size: int, number: int
) -> _Event:
    """A new order δ ticks from the opposite best quote (from the own side's best where the other is empty)."""
    distance = int(rng.geometric(1 / flow.depth))
    opposite = book.best(-side)
    anchor = opposite if opposite is not None else (book.best(side) or flow.price) + side * flow.tick
    price = max(anchor - side * distance * flow.tick, flow.tick)
    book.submit(Kind.LIMIT, side, number, -1, size, price)
    return _Event(time, EventType.NEW_ORDER, number, size, price, side)


def _market(
    book: PlainBook, flow: OrderFlow, rng: np.random.Generator, time: float, side: int, size: int
) -> Iterator[_Event]:
    """A market order, order by order; or a trade with a hidden order inside the spread."""
    best = book.best(-side)
    if best is None:
        return
    if rng.random() < flow.hidden:
        yield _Event(time, EventType.HIDDEN_EXECUTION, 0, size, best, -side)
        return
    while size > 0 and (best := book.best(-side)) is not None:
        first = book.queues[-side][best][0]
        traded = int(min(size, first.size))
        book.submit(Kind.MARKET, side, -1, -1, traded, 0)
        size -= traded
        yield _Event(time, EventType.EXECUTION, first.order_id, traded, best, -side)


def _cancel(book: PlainBook, flow: OrderFlow, rng: np.random.Generator, time: float) -> Iterator[_Event]:
    """A resting order is deleted, or loses some of its lots."""
    if not book.places:
        return
    order_id = next(islice(book.places, int(rng.integers(len(book.places))), None))
    side, price, order = book.places[order_id]
    lots = int(order.size) // LOT
    whole = lots == 1 or rng.random() < flow.whole
    size = LOT * (lots if whole else int(rng.integers(1, lots)))
    book.submit(Kind.CANCEL, side, order_id, -1, size, price)
    yield _Event(time, EventType.DELETION if whole else EventType.PARTIAL_CANCEL, order_id, size, price, side)
