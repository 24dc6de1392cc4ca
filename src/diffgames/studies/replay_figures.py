"""The replayed book as a heat map over time and price, with its mid, the trades, and what remains unexplained."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from diffgames.markets.level2 import EMPTY_PRICE
from diffgames.markets.lobster import EventType, LobsterMessages
from diffgames.markets.lobster_replay import Replay
from diffgames.plotting import COLOURS, label, legends, new_figure

DOLLAR = 10_000
COLUMNS, ROWS = 600, 160
WINDOW = 60.0  # seconds shown close up


def book_and_trades(messages: LobsterMessages, replayed: Replay) -> Figure:
    """Above the whole file, below its minute with the most executions."""
    figure, (whole, close) = new_figure(rows=2, width=11.0, height=4.2)
    start, end = float(messages.time[0]), float(messages.time[-1])
    executions = messages.time[messages.type == EventType.EXECUTION]
    counts = np.searchsorted(executions, executions + WINDOW) - np.arange(len(executions))
    busy = float(executions[np.argmax(counts)]) if len(executions) else start
    busy = max(start, min(busy, end - WINDOW))
    _panel(whole, messages, replayed, start, end, marks=5.0)
    _panel(close, messages, replayed, busy, min(busy + WINDOW, end), marks=24.0)
    label(
        whole, x=("time since the first event", "s"), y=("price", "dollars"), title=f"Replayed book: {_name(messages)}"
    )
    label(close, x=("time since the first event", "s"), y=("price", "dollars"), title="The minute with the most trades")
    legends(whole, close)
    return figure


def _name(messages: LobsterMessages) -> str:
    return messages.source.rsplit("/", 1)[-1].split("_message")[0]


def _panel(axis: Axes, messages: LobsterMessages, replayed: Replay, start: float, end: float, marks: float) -> None:
    """One stretch of time: volumes per cell on a logarithmic scale, mid, trades by aggressor, unexplained events."""
    origin = float(messages.time[0])
    edges = np.linspace(start, max(end, start + 1e-6), COLUMNS + 1)
    at = np.maximum(np.searchsorted(messages.time, edges[1:], side="right") - 1, 0)
    prices = [np.where(np.abs(p) < EMPTY_PRICE, p, np.nan) for p in (replayed.bid_price[at], replayed.ask_price[at])]
    levels = np.concatenate([p.ravel() for p in prices]) / DOLLAR
    low, high = np.nanmin(levels), np.nanmax(levels)
    height = np.linspace(low, high + 0.01, ROWS + 1)
    sides = zip(
        prices, (replayed.bid_size[at], replayed.ask_size[at]), ("Blues", "Oranges"), ("bids", "asks"), strict=True
    )
    top = max(float(np.max(replayed.bid_size[at])), float(np.max(replayed.ask_size[at])), 10.0)
    for price, size, colours, name in sides:
        image = _image(price / DOLLAR, size, height)
        mesh = axis.pcolormesh(
            edges - origin, height, np.ma.masked_equal(image, 0.0), cmap=colours, norm=LogNorm(1, top), rasterized=True
        )
        axis.figure.colorbar(mesh, ax=axis, pad=0.01, aspect=30, label=f"{name} [shares]")
    mid = (prices[0][:, 0] + prices[1][:, 0]) / (2 * DOLLAR)
    axis.step(edges[1:] - origin, mid, where="pre", color="black", lw=0.9, label="mid")
    here = (messages.time >= start) & (messages.time <= end)
    trades = here & (messages.type == EventType.EXECUTION)
    for direction, marker, name in ((-1, "^", "buyer"), (1, "v", "seller")):
        shown = trades & (messages.direction == direction)
        _mark(axis, messages, shown, origin, marker, COLOURS[2], marks, f"trade, by a {name}")
    reasons = here & (replayed.reason != 0)
    _mark(axis, messages, reasons, origin, "x", COLOURS[3], 90.0, f"unexplained ({int(reasons.sum())})")
    axis.set(xlim=(start - origin, end - origin), ylim=(low, max(high, low + 0.01)))


def _image(price: np.ndarray, size: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Volume by price cell and time cell: that of the levels (times × levels) shown at the end of each time cell."""
    times = np.broadcast_to(np.arange(len(price))[:, None], price.shape)
    exists = np.isfinite(price) & (size > 0)
    cell = np.clip(np.searchsorted(height, price[exists], side="right") - 1, 0, ROWS - 1)
    image = np.zeros((ROWS, len(price)))
    np.add.at(image, (cell, times[exists]), size[exists])
    return image


def _mark(
    axis: Axes,
    messages: LobsterMessages,
    shown: np.ndarray,
    origin: float,
    marker: str,
    colour: str,
    size: float,
    name: str,
) -> None:
    """Marks at the shown events, named for the legend."""
    axis.scatter(
        messages.time[shown] - origin,
        messages.price[shown] / DOLLAR,
        s=size,
        marker=marker,
        color=colour,
        lw=0.8,
        zorder=3,
        label=name,
    )
