"""The tape of recorded episodes: labelled arrays to keep, and the tables that a desk reads.

`dataset` turns a `StepRecord` into arrays with coordinates (step, episode, provider, taker, venue, exchange, level);
`tables` turns those into four tables, one row for each

* `trades`: a taker's trade (`kind` taker) or a provider's hedge (hedge) with who traded where, side (+1 buys, −1
  sells), lots, price per lot as paid, mid before (P_t) and after (P_{t+1}) the step, and what every venue that could
  have had the taker's trade quoted (`quote_VENUE`; empty where not connected, and for hedges);
* `quotes`: a venue's bid and ask for one trade size; `books`: a level of an exchange before the step's trades;
* `accounts`: an agent's step: inventory after it (lots), cash, and PnL in its parts, which add up: with Δq, Δcash from
  takers (or a taker's own) and Δq', Δcash' from hedges,

      pnl_spread = Δcash + Δq P_t,    hedge_cost = −(Δcash' + Δq' P_t),    pnl_inventory = q_{t+1}(P_{t+1} − P_t),

  and the change of cash + q P is pnl_spread − hedge_cost + pnl_inventory. An exchange's own part is the trades at it
  with the sign turned round, so that trades alone give every account. `pnl_penalty` comes on top: the change of ℓ
  (`settlement`), zero where inventory is worth the mid.

Prices are in ticks from a tick within half a tick of the episode's initial mid, cash in ticks × lots. Where level-2
data say what a tick is worth and where the record opens, tables also have prices in currency (`_currency`), counted
from there, and their distance from it in basis points (`_bp`). Where they say what sizes count, `shares` say, tables
have lots in that unit too.
"""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from diffgames.markets.level2 import Level2
from diffgames.markets.market_state import StepRecord

MEMORY = 64 * 2**20
"""Bytes of a stored tape; the first episodes that fit are kept."""

TABLES = ("trades", "quotes", "books", "accounts")
KEYS = ["episode", "step"]


def dataset(record: StepRecord, provider_supertype, taker_supertype, data: Level2 | None = None) -> xr.Dataset:
    """The tape as arrays, [step, episode, …]: trades, hedges, quotes, books, types and the network.

    `data` says what a tick is worth. As many episodes are kept as `MEMORY` holds (attributes `episodes_kept` of
    `episodes_played`); taker supertypes label the columns of quotes, or takers where sizes vary.
    """
    axes = _axes(record)
    named = {name: getattr(record, name) for name in axes}
    for part in ("provider_type", "taker_type", "network"):
        named |= {f"{part.removesuffix('_type')}_{name}": value for name, value in vars(getattr(record, part)).items()}
    episodes = record.price.shape[1]
    bytes_each = sum(np.asarray(value).nbytes for value in named.values()) / episodes
    kept = int(np.clip(MEMORY // bytes_each, 1, episodes))
    static = {name: ("episode", *_static_axes(name)) for name in named if name not in axes}
    variables = {}
    for name, value in named.items():
        values = np.asarray(value[:, :kept] if name in axes else value[0, :kept])
        variables[name] = (("step", "episode", *axes[name]) if name in axes else static[name], values)
    tick = {} if data is None else worth(data)
    exchanges = record.best_bid.shape[-1]
    venues = [f"provider_{i}" for i in range(len(provider_supertype))] + [f"exchange_{e}" for e in range(exchanges)]
    coords = {
        "venue": venues,
        "provider_supertype": ("provider", list(provider_supertype)),
        "taker_supertype": ("taker", list(taker_supertype)),
    }
    attrs = {"episodes_kept": kept, "episodes_played": episodes, "price_units": "ticks", **tick}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def worth(data: Level2) -> dict[str, Any]:
    """What a tick and a lot are: attributes of the tape."""
    name = {} if data.size_name is None else {"size_name": data.size_name}
    return {"tick_currency": data.tick / data.price_unit, "opening_currency": _opening(data), "lot": data.lot, **name}


def tables(tape: xr.Dataset) -> dict[str, pd.DataFrame]:
    """The four tables of the module's docstring by name."""
    trades = _stacked(_taker_trades(tape), _hedges(tape))
    found = {"trades": trades, "quotes": _quotes(tape), "books": _books(tape), "accounts": _accounts(tape)}
    return {name: _inworth(table, tape) for name, table in found.items()}


def _stacked(*frames: pd.DataFrame) -> pd.DataFrame:
    """The frames below one another in the order of episodes and steps, takers before hedges."""
    return pd.concat(frames, ignore_index=True).sort_values(KEYS, kind="stable", ignore_index=True)


def _frame(at: tuple[np.ndarray, ...], columns: dict[str, Any]) -> pd.DataFrame:
    """A table of the entries [step, episode, …] at the indices `at`."""
    return pd.DataFrame({"episode": at[1], "step": at[0], **columns}).sort_values(
        KEYS, kind="stable", ignore_index=True
    )


def _taker_trades(tape: xr.Dataset) -> pd.DataFrame:
    lots, cash = (tape[name].values.astype(np.float64) for name in ("taker_traded", "taker_cash"))
    at = np.nonzero(lots)
    step, episode, taker = at
    venue, names = tape.taker_venue.values[at], tape.venue.values
    side = np.sign(lots[at]).astype(np.int64)
    column = taker if tape.sizes["size"] == tape.sizes["taker"] else tape.taker_supertype.values[taker]
    quoted = np.where(
        side[:, None] > 0, tape.ask.values[step, episode, :, column], tape.bid.values[step, episode, :, column]
    )
    reach = np.concatenate(
        [tape.network_provider_taker.values, tape.network_taker_exchange.values.swapaxes(1, 2)], axis=1
    )
    offers = np.where(reach[episode, :, taker], np.round(quoted.astype(np.float64), 5), np.nan)
    return _frame(
        at,
        {
            "kind": "taker",
            "agent": [f"taker_{i}" for i in taker],
            "supertype": tape.taker_supertype.values[taker],
            "venue": names[venue],
            **_terms(tape, at, lots[at], cash[at]),
            **{f"quote_{name}": offers[:, v] for v, name in enumerate(names)},
        },
    )


def _hedges(tape: xr.Dataset) -> pd.DataFrame:
    lots, cash = (tape[name].values.astype(np.float64) for name in ("hedged", "hedge_cash"))
    at = np.nonzero(lots)
    return _frame(
        at,
        {
            "kind": "hedge",
            "agent": [f"provider_{i}" for i in at[2]],
            "supertype": tape.provider_supertype.values[at[2]],
            "venue": tape.venue.values[tape.hedge_venue.values[at]],
            **_terms(tape, at, lots[at], cash[at]),
        },
    )


def _terms(tape: xr.Dataset, at: tuple[np.ndarray, ...], lots: np.ndarray, cash: np.ndarray) -> dict[str, Any]:
    return {
        "side": np.sign(lots).astype(np.int64),
        "lots": np.abs(lots),
        "price": -cash / lots,
        "mid_before": tape.price.values[at[0], at[1]].astype(np.float64),
        "mid_after": tape.next_price.values[at[0], at[1]].astype(np.float64),
    }


def _quotes(tape: xr.Dataset) -> pd.DataFrame:
    at = tuple(index.ravel() for index in np.indices(tape.ask.shape))
    by = "taker" if tape.sizes["size"] == tape.sizes["taker"] else "taker_supertype"
    bid, ask = (np.round(tape[name].values.ravel().astype(np.float64), 5) for name in ("bid", "ask"))
    return _frame(at, {"venue": tape.venue.values[at[2]], by: at[3], "bid": bid, "ask": ask})


def _books(tape: xr.Dataset) -> pd.DataFrame:
    lots = tape.level_volume.values.astype(np.float64)
    at = np.nonzero(lots)
    levels, first = lots.shape[-1] // 2, len(tape.venue) - lots.shape[2]
    return _frame(
        at,
        {
            "venue": tape.venue.values[first + at[2]],
            "side": np.where(at[3] < levels, "bid", "ask"),
            "level": at[3] % levels + 1,
            "price": tape.level_price.values[at].astype(np.float64),
            "lots": lots[at],
        },
    )


def _accounts(tape: xr.Dataset) -> pd.DataFrame:
    """Every agent's step from the trades alone; see the module's docstring for the parts of the PnL."""
    names = ("taker_traded", "taker_cash", "hedged", "hedge_cash")
    taken, paid, hedged, hedge_cash = (tape[name].values.astype(np.float64) for name in names)
    venue = tape.taker_venue.values
    served = (venue[..., None] == np.arange(len(tape.venue))).astype(np.float64)
    lots_of = {"provider": -np.einsum("tbl,tblv->tbv", taken, served), "taker": taken}
    cash_of = {"provider": -np.einsum("tbl,tblv->tbv", paid, served), "taker": paid}
    providers = tape.sizes["provider"]
    rows = []
    for role, count in (("provider", providers), ("taker", tape.sizes["taker"])):
        lots, cash = lots_of[role][..., :count], cash_of[role][..., :count]
        hedges = (hedged, hedge_cash) if role == "provider" else (0.0 * lots, 0.0 * cash)
        rows.append(_account_rows(role, tape, (lots, cash, *hedges)))
    return _stacked(*rows)


def _account_rows(role: str, tape: xr.Dataset, parts: tuple[np.ndarray, ...]) -> pd.DataFrame:
    lots, cash, hedged, hedge_cash = parts
    before, after = (tape[name].values.astype(np.float64)[..., None] for name in ("price", "next_price"))
    inventory = np.cumsum(lots + hedged, axis=0)
    at = tuple(index.ravel() for index in np.indices(lots.shape))
    columns = {
        "inventory": inventory,
        "cash": np.cumsum(cash + hedge_cash, axis=0),
        "pnl_spread": cash + lots * before,
        "hedge_cost": -(hedge_cash + hedged * before),
        "pnl_inventory": inventory * (after - before),
        "pnl_penalty": _penalty(role, tape),
    }
    named = {"agent": [f"{role}_{i}" for i in at[2]], "supertype": tape[f"{role}_supertype"].values[at[2]]}
    return _frame(at, {**named, **{name: values.ravel() for name, values in columns.items()}})


def _penalty(role: str, tape: xr.Dataset) -> np.ndarray:
    """The change of ℓ; zero in tapes stored before there was any."""
    name = "pnl_penalty" if role == "provider" else "taker_pnl_penalty"
    shape = tuple(tape.sizes[axis] for axis in ("step", "episode", role))
    return tape[name].values.astype(np.float64) if name in tape else np.zeros(shape)


def _inworth(table: pd.DataFrame, tape: xr.Dataset) -> pd.DataFrame:
    """Prices also in currency and basis points from the opening, cash and PnL also in currency."""
    tick, opening = tape.attrs.get("tick_currency"), tape.attrs.get("opening_currency")
    lot, unit = tape.attrs.get("lot", 1.0), tape.attrs.get("size_name")
    sizes = {"lots": unit, "inventory": f"inventory_{unit}"} if unit else {}
    table = table.assign(**{theirs: lot * table[ours] for ours, theirs in sizes.items() if ours in table})
    if tick is None or opening is None:
        return table
    prices = [name for name in ("price", "mid_before", "mid_after", "bid", "ask") if name in table]
    money = [name for name in ("cash", "pnl_spread", "hedge_cost", "pnl_inventory", "pnl_penalty") if name in table]
    added = {f"{name}_currency": opening + tick * table[name] for name in prices}
    added |= {f"{name}_bp": 1e4 * tick * table[name] / opening for name in prices}
    return table.assign(**added, **{f"{name}_currency": tick * lot * table[name] for name in money})


def _opening(data: Level2) -> float:
    """The currency price of tick zero: a price of the first recorded book within half a tick of its mid."""
    half_spread = int(data.spread[0]) // 2 * data.tick
    return float((data.bid_price[0, 0] + half_spread) / data.price_unit)


def _axes(record: StepRecord) -> dict[str, tuple[str, ...]]:
    """The axes of what the tape keeps, after step and episode."""
    each = {"price": (), "next_price": (), "level_price": ("exchange", "level"), "level_volume": ("exchange", "level")}
    each |= dict.fromkeys(("ask", "bid"), ("venue", "size"))
    each |= dict.fromkeys(("hedged", "hedge_cash", "hedge_venue", "pnl_penalty"), ("provider",))
    each |= dict.fromkeys(("taker_venue", "taker_traded", "taker_cash", "taker_pnl_penalty"), ("taker",))
    return each | {"flow": ("provider", "side", "group")}


def _static_axes(name: str) -> tuple[str, ...]:
    """The axes of a type or a part of the network, after the episode."""
    networks = {
        "network_provider_taker": ("provider", "taker"),
        "network_provider_exchange": ("provider", "exchange"),
        "network_taker_exchange": ("taker", "exchange"),
        "network_provider_fraction": ("provider", "group"),
        "network_taker_fraction": ("taker", "provider_group"),
    }
    return networks.get(name) or (name.partition("_")[0],)
