"""The record that `market-maker-real` estimates from: a LOBSTER day, quotes and trades, or one drawn from the model.

Each comes as records on several grids of times, a fifth of an interval apart, the first of which is estimated from.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

from diffgames.calibration.market_maker import DOLLAR, MarketRecord, record_of, synthetic_record
from diffgames.errors import InvalidInput
from diffgames.markets.lobster import read_pair
from diffgames.markets.top_of_book import as_events, read_quotes, read_trades
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
