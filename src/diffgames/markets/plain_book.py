"""The order book in plain Python: a dictionary of queues, one message at a time. The twin of `markets.order_book`.

Written from the rules of price–time priority alone, without arrays, to check the compiled book and to time it against.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from diffgames.markets.order_book import BUY, NO_PRICE, SELL, Kind, Status


@dataclass
class Order:
    """A resting order."""

    order_id: int
    originator: int
    size: int | float


@dataclass(frozen=True)
class Trade:
    """A fill: who rested, who came, at what price, how much."""

    maker_order: int
    maker: int
    taker: int
    price: int
    size: int | float


@dataclass
class Outcome:
    """What a message did."""

    status: Status = Status.DONE
    filled: int | float = 0
    resting: int | float = 0
    cancelled: int | float = 0
    dropped: int | float = 0
    trades: list[Trade] = field(default_factory=list)


class PlainBook:
    """Queues of orders by price, on both sides, at most `capacity` orders a side."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.queues: dict[int, dict[int, deque[Order]]] = {BUY: {}, SELL: {}}
        self.places: dict[int, tuple[int, int, Order]] = {}  # order → side, price, itself
        self.counts = {BUY: 0, SELL: 0}
        self.overflow = 0

    def best(self, side: int) -> int | None:
        """Best price of a side, None when it is empty."""
        prices = self.queues[side]
        return (max(prices) if side == BUY else min(prices)) if prices else None

    def levels(self, side: int, count: int) -> list[tuple[int, int | float]]:
        """(price, size) of the best levels of a side, `count` of them at most."""
        prices = sorted(self.queues[side], reverse=side == BUY)[:count]
        return [(price, sum(order.size for order in self.queues[side][price])) for price in prices]

    def queue(self, side: int) -> list[tuple[int, int, int | float, int]]:
        """(order, originator, size, price) of a side in order of priority."""
        prices = sorted(self.queues[side], reverse=side == BUY)
        return [(o.order_id, o.originator, o.size, price) for price in prices for o in self.queues[side][price]]

    def submit(self, kind: int, side: int, order_id: int, originator: int, size: int | float, price: int) -> Outcome:
        """Apply one message."""
        if kind == Kind.NOTHING:
            return Outcome(Status.NOTHING)
        duplicate = kind == Kind.LIMIT and size > 0 and order_id in self.places
        if duplicate:
            return Outcome(Status.DUPLICATE)
        sided = kind == Kind.CANCEL or side in (BUY, SELL)
        priced = kind in (Kind.CANCEL, Kind.MARKET) or -NO_PRICE < price < NO_PRICE
        sized = size > 0 and (kind != Kind.LIMIT or math.isfinite(size))
        if kind not in tuple(Kind) or not (sided and priced and sized):
            return Outcome(Status.INVALID)
        if kind == Kind.CANCEL:
            return self._cancel(order_id, size)
        if kind == Kind.WITHDRAW:
            return self._withdraw(side, originator, price, size)
        outcome = self._trade(side, originator, size, price if kind == Kind.LIMIT else None)
        left = size - outcome.filled
        if kind == Kind.MARKET:
            outcome.dropped = left
            outcome.status = Status.UNFILLED if left > 0 else Status.DONE
        elif left > 0 and self.counts[side] == self.capacity:
            outcome.dropped, outcome.status = left, Status.OVERFLOW
            self.overflow += 1
        elif left > 0:
            outcome.resting = left
            self._insert(side, price, Order(order_id, originator, left))
        return outcome

    def _trade(self, side: int, taker: int, size: int | float, limit: int | None) -> Outcome:
        outcome = Outcome()
        while size > 0 and (best := self.best(-side)) is not None:
            if limit is not None and (best - limit) * side > 0:
                break
            maker = self.queues[-side][best][0]
            traded = min(size, maker.size)
            outcome.trades.append(Trade(maker.order_id, maker.originator, taker, best, traded))
            outcome.filled += traded
            size -= traded
            self._reduce(maker.order_id, traded)
        return outcome

    def _cancel(self, order_id: int, size: int | float) -> Outcome:
        if order_id not in self.places:
            return Outcome(Status.UNKNOWN_ORDER)
        cancelled = min(size, self.places[order_id][2].size)
        self._reduce(order_id, cancelled)
        return Outcome(cancelled=cancelled)

    def _withdraw(self, side: int, originator: int, price: int, size: int | float) -> Outcome:
        outcome = Outcome()
        own = [order for order in self.queues[side].get(price, ()) if order.originator == originator]
        for order in reversed(own):
            cancelled = min(size - outcome.cancelled, order.size)
            if cancelled > 0:
                self._reduce(order.order_id, cancelled)
                outcome.cancelled += cancelled
        outcome.status = Status.UNKNOWN_ORDER if outcome.cancelled < size else Status.DONE
        return outcome

    def _insert(self, side: int, price: int, order: Order) -> None:
        self.queues[side].setdefault(price, deque()).append(order)
        self.places[order.order_id] = (side, price, order)
        self.counts[side] += 1

    def _reduce(self, order_id: int, size: int | float) -> None:
        side, price, order = self.places[order_id]
        order.size -= size
        if order.size == 0:
            queue = self.queues[side][price]
            if queue[0] is order:
                queue.popleft()
            else:
                queue.remove(order)
            if not queue:
                del self.queues[side][price]
            del self.places[order_id]
            self.counts[side] -= 1
