"""Level-2 snapshots from tables whose columns have names: a time, and price and size of each level of both sides.

    time, bid_1, bid_size_1, ask_1, ask_size_1, bid_2, …        levels counted from 0 or from 1, best first

`columns` gives other names, with `{}` for the level's number: {"time": "ts", "bid": "bids[{}].price", …}. A name
without `{}` is a record of one level, so that quotes with sizes (`markets.top_of_book`) are read as well. A size of
zero is a level that does not exist. Prices become whole ticks, sizes whole lots (`markets.ticks`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diffgames.errors import InvalidInput, suggestion
from diffgames.markets.level2 import EMPTY_PRICE, Level2, level2_of, ordered
from diffgames.markets.ticks import Number, in_lots, in_ticks
from diffgames.markets.timestamps import times
from diffgames.tables import read_columns, table_of

PARTS = ("ask", "ask_size", "bid", "bid_size")
MOST_LEVELS = 1000


def read_snapshots(
    source: Any,
    *,
    columns: Mapping[str, Any] | None = None,
    price_unit: Number = 1.0,
    tick: Number | None = None,
    lot: Number = 1.0,
    time_unit: str = "s",
    zone: str = "UTC",
    settle: Number = 4.0,
) -> Level2:
    """Snapshots from a file with a header, or a data frame; those left out are counted as by `read_level2`.

    Raises `InvalidInput` naming the line and what is allowed there.
    """
    table, given = table_of("data", source), dict(columns or {})
    for name in given:
        if name not in ("time", *PARTS):
            raise InvalidInput("columns", name, suggestion(str(name), ("time", *PARTS)))
    if table.names is None:
        raise table.refused(0, "a header that names the columns, where columns= is used")
    pattern = {name: str(given.get(name, f"{name}_{{}}")) for name in PARTS}
    if "{}" not in "".join(pattern.values()):
        levels = [""]
    else:
        first = next((n for n in (0, 1) if pattern["bid"].replace("{}", str(n)) in table.names), 1)
        end = first
        while end < MOST_LEVELS and pattern["bid"].replace("{}", str(end)) in table.names:
            end += 1
        levels = [str(n) for n in range(first, max(end, first + 1))]
    theirs = {f"{name} {n}": pattern[name].replace("{}", n) for n in levels for name in PARTS}
    found = read_columns("data", table, ("time", *theirs), (), {"time": given.get("time", "time"), **theirs})
    clock = times(table, found.cells["time"], time_unit, zone)
    raw = np.stack([found.numbers(name) for name in theirs], axis=1).reshape(len(table), len(levels), 4)
    sizes = in_lots(table, raw[:, :, 1::2].reshape(len(table), -1), lot).reshape(len(table), -1, 2)
    prices = np.where(sizes > 0, raw[:, :, ::2], np.nan)
    ticks, step = in_ticks(table, prices.reshape(len(table), -1), price_unit, tick)
    whole = np.where(sizes > 0, ticks.reshape(sizes.shape), [EMPTY_PRICE, -EMPTY_PRICE])
    rising = ordered(whole[:, :, 0]) & ordered(-whole[:, :, 1])
    table.check([(rising, "asks in rising and bids in falling order of price")])
    book = np.stack([whole[:, :, 0], sizes[:, :, 0], whole[:, :, 1], sizes[:, :, 1]], axis=2)
    return replace(level2_of(table.source, clock / 1e9, book, settle=settle), price_unit=1.0 / step, lot=float(lot))
