"""The record that `market-maker-real` estimates from: a LOBSTER day, quotes and trades, or one drawn from the model.

Each comes as records on several grids of times, a fifth of an interval apart, the first of which is estimated from.
What is stored of a record and of the fit to it, and how both are drawn, stands below.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import xarray
from matplotlib.axes import Axes

from diffgames.calibration.market_maker import DOLLAR, MarketFit, MarketRecord, record_of, synthetic_record
from diffgames.errors import InvalidInput
from diffgames.markets.lobster import read_pair
from diffgames.markets.top_of_book import as_events, read_quotes, read_trades
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.study import Parameter
from diffgames.studies.table_parameters import TableParameters

CLOCKS = 5  # starts of the grid of times, a fifth of an interval apart
CENT = 0.01


@dataclass(frozen=True, kw_only=True)
class RecordParameters(TableParameters):
    """Where the record comes from."""

    messages: Annotated[str | None, Parameter("LOBSTER message file; null: a synthetic record")] = None
    orderbook: Annotated[str | None, Parameter("LOBSTER order-book file of the same day")] = None
    quotes: Annotated[str | None, Parameter("table of best quotes: time, bid, ask[, bid_size, ask_size]")] = None
    trades: Annotated[str | None, Parameter("table of trades: time, price, size[, side]")] = None
    quote_columns: Annotated[
        dict[str, str], Parameter("names, or positions, of the quotes' columns", shape="{our name: theirs}")
    ] = field(default_factory=dict)
    trade_columns: Annotated[
        dict[str, str], Parameter("names, or positions, of the trades' columns", shape="{our name: theirs}")
    ] = field(default_factory=dict)
    seconds: Annotated[float, Parameter("length of the synthetic record", "s", minimum=60.0, plausible=(600, 1e5))] = (
        7200.0
    )
    interval: Annotated[float, Parameter("time between mid prices", "s", minimum=0.01, plausible=(0.1, 300))] = 5.0


def records(config: RecordParameters, seed: int) -> tuple[list[MarketRecord], float]:
    """The record on every grid of times, and its tick in currency."""
    pairs = (("messages", "orderbook"), ("quotes", "trades"))
    for pair in pairs:
        values = [getattr(config, name) for name in pair]
        if (values[0] is None) != (values[1] is None):
            missing = pair[values.index(None) if None in values else 0]
            raise InvalidInput(missing, None, f"both files, {' and '.join(pair)}, or neither")
    if config.messages is not None and config.quotes is not None:
        raise InvalidInput("quotes", config.quotes, "null where messages and orderbook are given")
    for name in ("quote_columns", "trade_columns"):
        if config.quotes is None and getattr(config, name):
            raise InvalidInput(name, getattr(config, name), "none where quotes and trades are null")
    tick, unit = config.tick or CENT, DOLLAR
    if config.messages is not None and config.orderbook is not None:
        events, book = read_pair(config.messages, config.orderbook)
    elif config.quotes is not None:
        clock = {"price_unit": config.price_unit, "time_unit": config.time_unit, "zone": config.zone}
        quotes = read_quotes(config.quotes, columns=config.quote_columns, tick=config.tick, **clock)
        trades = read_trades(config.trades, columns=config.trade_columns, **clock)
        events, book = as_events(quotes, trades)
        tick, unit = quotes.tick, 1.0 / quotes.tick
    else:
        return [synthetic_record(seconds=config.seconds, interval=config.interval, seed=seed)], tick
    waits = [config.interval * number / CLOCKS for number in range(CLOCKS)]
    found = [record_of(events, book, config.interval, wait, unit=unit, tick=tick) for wait in waits]
    if config.quotes is not None:
        sided = 0 if trades.side.all() else int((trades.side == 0).sum())
        note = f"{sided} trades give no side: it is that of the mid on which their price lies"
        found[0] = replace(found[0], notes=(*found[0].notes, *([note] if sided else [])))
    return found, tick


def record_dataset(record: MarketRecord, fit: MarketFit) -> xarray.Dataset:
    """The mid, and the probability of every regime in the intervals between."""
    time = np.arange(record.mid.size) * record.interval
    return xarray.Dataset(
        {
            "mid": ("time", record.mid, {"units": "currency"}),
            "probability": (("step", "regime"), fit.regimes.probability, {"units": "1"}),
            "sigma": ("regime", fit.sigma, {"units": "currency/√s"}),
        },
        coords={"time": time},
        attrs={"source": record.source.rsplit("/", 1)[-1]},
    )


def orders_dataset(record: MarketRecord, fit: MarketFit) -> xarray.Dataset:
    """The depth and regime of every market order, and per regime the fit and the time spent in it."""
    state = fit.regimes.probability.argmax(axis=1)
    at = np.minimum((record.trade_time / record.interval).astype(int), state.size - 1)
    spent = np.bincount(state, minlength=len(fit.k)) * record.interval
    per_regime = {"A": fit.A, "k": fit.k, "cutoff": fit.cutoff, "seconds": spent}
    return xarray.Dataset(
        {"depth": ("order", record.depth), "state": ("order", state[at])}
        | {name: ("regime", values) for name, values in per_regime.items()}
    )


def mid_panel(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """The mid price."""
    ax = axes_or_new(ax)
    ax.plot(data.time / 60.0, data.mid, color=COLOURS[6], linewidth=0.8)
    return label(ax, x=("time from the start", "minutes"), y=("mid price", "currency"), title=data.source)


def regimes_panel(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """The probability of each volatility regime given the whole record."""
    ax, names = axes_or_new(ax), [f"σ = {sigma:.3g} currency/√s" for sigma in data.sigma.values]
    colours = COLOURS[: len(names)]
    ax.stackplot(data.time[1:] / 60.0, data.probability.T, labels=names, colors=colours, linewidth=0)
    ax.set_ylim(0, 1)
    return label(ax, x=("time from the start", "minutes"), y=("probability of the regime", ""))


def fills_panel(data: xarray.Dataset, ax: Axes | None = None) -> Axes:
    """Rate of market orders that reach a distance, per side, observed and fitted, in each regime."""
    ax = axes_or_new(ax)
    for i, colour in zip(range(data.sizes["regime"]), COLOURS, strict=False):
        A, k, cutoff, seconds = (float(data[name][i]) for name in ("A", "k", "cutoff", "seconds"))
        depth = np.sort(data.depth.values[data.state.values == i])
        rate, grid = np.arange(depth.size, 0, -1) / (2 * seconds), np.linspace(cutoff, depth[-1], 50)
        ax.step(depth, rate, where="post", color=colour, label=f"regime {i}, observed")
        text = f"regime {i}, A = {A:.3g} /s, k = {k:.3g} /currency"
        ax.plot(grid, A * np.exp(-k * grid), "--", color=colour, label=text)
    ax.set_yscale("log")
    words = ("market orders that reach δ", "1/s, per side")
    return label(ax, x=("distance from the mid δ", "currency"), y=words, title="Fills")
