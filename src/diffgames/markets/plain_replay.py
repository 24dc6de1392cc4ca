"""The replay once more, through the plain-Python book: a second opinion on what the compiled one reports."""

import math
from dataclasses import dataclass

import numpy as np

from diffgames.markets.level2 import EMPTY_PRICE
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages
from diffgames.markets.lobster_replay import RecoveredOrders
from diffgames.markets.order_book import BUY, SELL, Kind
from diffgames.markets.plain_book import PlainBook


@dataclass(frozen=True)
class PlainReplay:
    """`match[:, l]`: whether the first l + 1 levels equal the record; `not_first`: executions out of turn."""

    match: np.ndarray
    executions: int
    not_first: int


def replay_plainly(
    messages: LobsterMessages, orderbook: LobsterBook, recovered: RecoveredOrders, levels: int
) -> PlainReplay:
    """Every event through `PlainBook`, order by order, and the book compared with the record after each."""
    book = PlainBook(capacity=len(messages) + len(recovered))
    unseen = _by_row(recovered)
    record = {
        SELL: np.stack([orderbook.ask_price, orderbook.ask_size], axis=2)[:, :levels].tolist(),
        BUY: np.stack([orderbook.bid_price, orderbook.bid_size], axis=2)[:, :levels].tolist(),
    }
    match = np.zeros((len(messages), levels), bool)
    shown = {side: padded_levels(book, side, levels) for side in (BUY, SELL)}
    executions = not_first = 0
    columns = (messages.type, messages.order_id, messages.size, messages.price, messages.direction)
    for n, (event, order_id, size, price, direction) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        arrived = unseen.get(n, ())
        for identity, side, at, volume in arrived:
            book.submit(Kind.LIMIT, side, identity, -1, volume, at)
        if event == EventType.NEW_ORDER:
            book.submit(Kind.LIMIT, direction, order_id, -1, size, price)
        elif event == EventType.EXECUTION:
            executions += 1
            not_first += not _execute(book, order_id, size, direction)
        elif event == EventType.PARTIAL_CANCEL:
            book.submit(Kind.CANCEL, 0, order_id, -1, size, 0)
        elif event == EventType.DELETION:
            book.submit(Kind.CANCEL, 0, order_id, -1, math.inf, 0)
        new = bool(arrived) or event == EventType.NEW_ORDER  # may cross, and change both sides
        for side in (BUY, SELL):
            if new or side == direction:
                shown[side] = padded_levels(book, side, levels)
        equal = [shown[BUY][k] == record[BUY][n][k] and shown[SELL][k] == record[SELL][n][k] for k in range(levels)]
        match[n] = np.logical_and.accumulate(equal)
    return PlainReplay(match=match, executions=executions, not_first=not_first)


def padded_levels(book: PlainBook, side: int, levels: int) -> list[list[int]]:
    """[price, size] of the best levels of a side as a record tells them, levels that do not exist included."""
    found = [[price, int(size)] for price, size in book.levels(side, levels)]
    return found + (levels - len(found)) * [[-side * EMPTY_PRICE, 0]]


def _by_row(recovered: RecoveredOrders) -> dict[int, list[tuple[int, int, int, int]]]:
    """The recovered orders (identity, side, price, size) by the event before which they arrive."""
    columns = (recovered.row, recovered.order_id, recovered.direction, recovered.price, recovered.size)
    unseen: dict[int, list[tuple[int, int, int, int]]] = {}
    for row, order_id, side, price, size in zip(*(c.tolist() for c in columns), strict=True):
        unseen.setdefault(row, []).append((order_id, side, price, size))
    return unseen


def _execute(book: PlainBook, order_id: int, size: int, direction: int) -> bool:
    """A market order if it meets the named order first; else the order only loses its size, and the answer is no."""
    best = book.best(direction)
    first = book.queues[direction][best][0] if best is not None else None
    if first is None or first.order_id != order_id or first.size < size:
        book.submit(Kind.CANCEL, 0, order_id, -1, size, 0)
        return False
    trades = book.submit(Kind.MARKET, -direction, -1, -1, size, 0).trades
    return [(trade.maker_order, trade.size) for trade in trades] == [(order_id, size)]
