"""How many messages a second the exact order book takes: 1, 128 and 1,000 books of 64 slots a side.

The stream is half limit orders around a fixed mid, a tenth market orders, the rest cancellations of recent orders,
different ones in every book. `amounts` keeps each message's status and amounts; `trades` keeps the whole report with
the first eight trades (maker, taker, price and size of each), as `process` returns it. The twin is the plain-Python
book on the stream of a single book; both must fill the same lots. CPU seconds are those of all threads together: they
let figures be compared that were taken on a machine that others use.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from diffgames.benchmarks.timing import best_of
from diffgames.errors import RunFailed
from diffgames.markets.order_book import BUY, SELL, Kind, Message, OrderBook, empty_book, message, process, submit
from diffgames.markets.plain_book import PlainBook

SLOTS = 64
LENGTHS = {1: 20_000, 128: 1_000, 1_000: 200}
"""Messages per book, by the number of books."""


def run() -> dict[str, Any]:
    """Messages per second and per CPU second by number of books, memory per book, and ratios to the plain twin."""
    figures: dict[str, Any] = {"device": jax.devices()[0].device_kind, "slots_per_side": SLOTS}
    (plain, plain_cpu), filled = plain_messages_per_second(draw_messages(LENGTHS[1], 1))
    wall: dict[str, dict[str, float]] = {"amounts": {}, "trades": {}}
    cpu: dict[str, dict[str, float]] = {"amounts": {}, "trades": {}}
    memory = {}
    for books, length in LENGTHS.items():
        drawn, label = draw_messages(length, books), f"{books}_books"
        book, messages = stacked(drawn, books)
        for name, engine in (("amounts", _amounts), ("trades", process)):
            compiled = jax.jit(jax.vmap(engine)).lower(book, messages).compile()
            best = best_of(5, lambda run=compiled, book=book, messages=messages: run(book, messages))
            if books == 1 and int(np.asarray(best.result[1].filled).sum()) != filled:
                raise RunFailed(f"the book did not fill the {filled} lots that its twin did", "report this as a bug")
            wall[name][label], cpu[name][label] = (books * length / second for second in best[:2])
            if name == "amounts" and (analysis := compiled.memory_analysis()) is not None:
                memory[label] = analysis.temp_size_in_bytes / books
    for name in wall:
        figures[f"{name}_messages_per_second"] = wall[name]
        figures[f"{name}_messages_per_cpu_second"] = cpu[name]
    figures["bytes_per_book"] = sum(leaf.nbytes for leaf in jax.tree.leaves(empty_book(SLOTS)))
    figures["working_bytes_per_book"] = memory
    figures["plain_messages_per_second"] = plain
    figures["plain_messages_per_cpu_second"] = plain_cpu
    figures["ratio_to_plain"] = {label: rate / plain for label, rate in wall["trades"].items()}
    figures["ratio_to_plain_per_cpu_second"] = {label: rate / plain_cpu for label, rate in cpu["trades"].items()}
    return figures


def draw_messages(length: int, books: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The fields of `message`, [books, length] each."""
    rng, shape = np.random.default_rng(seed), (books, length)
    kind = rng.choice([Kind.LIMIT, Kind.MARKET, Kind.CANCEL], p=[0.5, 0.1, 0.4], size=shape)
    side = rng.choice([BUY, SELL], size=shape)
    number = np.broadcast_to(np.arange(length), shape)
    recent = np.maximum(number - rng.integers(1, SLOTS, shape), 0)
    return {
        "kind": kind,
        "side": side,
        "order_id": np.where(kind == Kind.CANCEL, recent, number),
        "originator": rng.integers(0, 50, shape),
        "size": rng.integers(1, 20, shape),
        "price": 1000 - side * rng.integers(-1, 12, shape),
    }


def stacked(drawn: dict[str, Any], books: int) -> tuple[OrderBook, Message]:
    """Empty books and their messages, on the device."""
    empty = empty_book(SLOTS)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (books, *leaf.shape)), empty), message(**drawn)


def plain_messages_per_second(drawn: dict[str, np.ndarray]) -> tuple[tuple[float, float], int]:
    """The twin's speed on a single book's stream, per second and per CPU second, and the lots that it filled."""
    columns = (drawn[name][0].tolist() for name in ("kind", "side", "order_id", "originator", "size", "price"))
    rows = list(zip(*columns, strict=True))

    def fill() -> int:
        book = PlainBook(SLOTS)
        return sum(int(book.submit(*row).filled) for row in rows)

    wall, cpu, _, filled = best_of(3, fill)
    return (len(rows) / wall, len(rows) / cpu), filled


def _amounts(book: OrderBook, messages: Message):
    """`process` without the trades."""

    def step(book: OrderBook, message: Message):
        book, report = submit(book, message)
        return book, _Amounts(report.status, report.filled, report.resting, report.cancelled, report.dropped)

    return lax.scan(step, book, messages)


class _Amounts(NamedTuple):
    status: Any
    filled: Any
    resting: Any
    cancelled: Any
    dropped: Any
