"""Recorded messages replayed through the exact order book, and compared with the recorded book after every event.

The files are a LOBSTER day (messages, and the order book after each); without them a synthetic day of order flow is
replayed, told by the plain-Python book. Orders from before the file are recovered in a first pass over it
(`markets.lobster_replay`); the plain replay, which knows the first recorded row alone, is reported beside.

The certificate replays the recovered orders and every message once more through the plain-Python book, an engine
without arrays: its gap to the record, and the number of events after which the two engines show different books.
"""

import functools
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr

from diffgames.errors import InvalidInput
from diffgames.markets.lobster import EventType, LobsterBook, LobsterMessages, read_messages, read_orderbook, read_pair
from diffgames.markets.lobster_replay import RecoveredOrders, Replay, recover_orders, replay
from diffgames.markets.plain_replay import replay_plainly
from diffgames.markets.synthetic_orders import synthetic_orders
from diffgames.studies.context import RunContext
from diffgames.studies.replay_figures import book_and_trades
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

TOP = 5


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """What is replayed."""

    messages: Annotated[str | None, Parameter("LOBSTER message file (.csv or .csv.gz); null: a synthetic day")] = None
    orderbook: Annotated[str | None, Parameter("LOBSTER order-book file of the same day, one row per message")] = None
    first: Annotated[
        int | None, Parameter("replay the first events of the file only; null: all", "events", minimum=1)
    ] = None
    synthetic_events: Annotated[
        int, Parameter("length of the synthetic day", "events", minimum=100, maximum=1_000_000)
    ] = 20_000


def run(config: ReplayConfig, context: RunContext) -> StudyResult:
    """Recover, replay, compare."""
    messages, orderbook = _day(config, context)
    context.progress.update("recovering orders", 0.0)
    levels = orderbook.levels
    recovered = recover_orders(messages, orderbook)
    context.log(f"{len(messages)} events; {len(recovered)} orders recovered from before the file")
    started = time.perf_counter()
    replayed = replay(
        messages,
        orderbook,
        levels=levels,
        recovered=recovered,
        progress=lambda fraction: context.progress.update("replaying", fraction),
    )
    seconds = time.perf_counter() - started
    plain = replay(messages, orderbook, levels=min(levels, TOP), reveal=False)
    executions = messages.type == EventType.EXECUTION
    headline = {
        "match_best": _share(replayed.match, 1),
        "match_top5": _share(replayed.match, TOP),
        "events": len(messages),
        "unexplained": replayed.unexplained,
        "executions_in_turn": _mean(replayed.reason[executions] == 0),
        "recovered_orders": len(recovered),
        "plain_match_best": _share(plain.match, 1),
        "plain_match_top5": _share(plain.match, TOP),
        "plain_unexplained": plain.unexplained,
        "capacity": replayed.capacity,
        "messages_per_second": len(messages) / seconds,
    }
    return StudyResult(
        headline=headline,
        certificate=_certificate(messages, orderbook, recovered, replayed),
        warnings=_warnings(replayed, orderbook),
        arrays={"replay": _dataset(messages, replayed), "recovered": _orders(recovered)},
        profile={name: np.asarray(getattr(recovered, name)) for name in vars(recovered)},
        figures={"book": functools.partial(book_and_trades, messages, replayed)},
    )


def verify(config: ReplayConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate once more, from the recovered orders that the run stored."""
    messages, orderbook = _day(config, context)
    recovered = RecoveredOrders(**{name: np.asarray(values) for name, values in profile.items()})
    replayed = replay(messages, orderbook, levels=orderbook.levels, recovered=recovered)
    return _certificate(messages, orderbook, recovered, replayed)


def _day(config: ReplayConfig, context: RunContext) -> tuple[LobsterMessages, LobsterBook]:
    """The files, or a synthetic day; a file without the other is refused once it is itself in order."""
    if config.messages is None and config.orderbook is None:
        return synthetic_orders(config.synthetic_events, seed=context.seed)
    if config.messages is None:
        read_orderbook(str(config.orderbook))
        raise InvalidInput("messages", None, f"the message file of {config.orderbook}")
    if config.orderbook is None:
        read_messages(config.messages)
        raise InvalidInput("orderbook", None, f"the order-book file of {config.messages}")
    messages, orderbook = read_pair(config.messages, config.orderbook)
    return messages.head(config.first or len(messages)), orderbook.head(config.first or len(orderbook))


def _certificate(
    messages: LobsterMessages, orderbook: LobsterBook, recovered: RecoveredOrders, replayed: Replay
) -> Certificate:
    """How far either book is from the record, the plain-Python one too, and the events on which they disagree."""
    twin = replay_plainly(messages, orderbook, recovered, orderbook.levels)
    executions = messages.type == EventType.EXECUTION
    checks = {
        "levels": orderbook.levels,
        "books_that_differ": int(np.sum(np.any(twin.match != replayed.match, axis=1))),
        "executions": twin.executions,
        "executions_out_of_turn": int(np.sum(replayed.reason[executions] != 0)),
        "twin_executions_out_of_turn": twin.not_first,
    }
    for name, found in (("unlike", replayed), ("twin_unlike", twin)):
        checks |= {
            f"{name}_best": 1 - _share(found.match, 1),
            f"{name}_all_levels": 1 - _share(found.match, orderbook.levels),
        }
    return Certificate(
        (),
        how="every message once more through a plain-Python order book, both compared with the record",
        unseen="no player chooses anything here: a recorded day is replayed, and nobody could deviate",
        checks=checks,
    )


def _share(match: np.ndarray, levels: int) -> float:
    """Share of the events after which that many levels of both sides (or all recorded ones) equal the record."""
    return _mean(match[:, min(levels, match.shape[1]) - 1])


def _mean(holds: np.ndarray) -> float:
    return float(np.mean(holds)) if holds.size else 1.0


def _warnings(replayed: Replay, orderbook: LobsterBook) -> list[str]:
    found = {reason: count for reason, count in replayed.unexplained.items() if count}
    said = []
    if found:
        words = ", ".join(f"{reason} {count}" for reason, count in found.items())
        said.append(f"{sum(found.values())} of {len(orderbook)} events are not what the book would do ({words})")
    if orderbook.levels < TOP:
        said.append(f"the file records {orderbook.levels} levels: match_top5 compares those")
    return said


def _dataset(messages: LobsterMessages, replayed: Replay) -> xr.Dataset:
    return xr.Dataset(
        {
            "best_bid": ("event", replayed.bid_price[:, 0], {"units": "dollars × 10,000"}),
            "best_ask": ("event", replayed.ask_price[:, 0], {"units": "dollars × 10,000"}),
            "matching_levels": ("event", replayed.match.sum(axis=1).astype(np.int32)),
            "reason": ("event", replayed.reason.astype(np.int32)),
            "type": ("event", messages.type.astype(np.int32)),
        },
        coords={"time": ("event", messages.time, {"units": "seconds after midnight"})},
        attrs={"source": messages.source},
    )


def _orders(recovered: RecoveredOrders) -> xr.Dataset:
    return xr.Dataset({name: ("order", np.asarray(getattr(recovered, name))) for name in vars(recovered)})


STUDY = Study(
    name="replay",
    source="LOBSTER (Huang & Polak 2011); price–time priority",
    shows="recorded messages, sent through the exact order book, reproduce the recorded book event by event",
    config=ReplayConfig,
    run=run,
    verify=verify,
    presets={"quick": {}, "paper": {"synthetic_events": 100_000}},
    minutes={"quick": 0.2, "paper": 0.5},
    headline={
        "match_best": Headline("share of events after which best bid and ask, price and size, equal the record"),
        "match_top5": Headline("the same of the five best levels of both sides"),
        "events": Headline("rows replayed", "events"),
        "unexplained": Headline("events that the book does not reproduce", "events", shape="reason"),
        "executions_in_turn": Headline("share of executions of the very order that has priority"),
        "recovered_orders": Headline("orders from before the file (volume without identity too)", "orders"),
        "plain_match_best": Headline("match_best from the first recorded row alone, without recovered orders"),
        "plain_match_top5": Headline("match_top5 from the first recorded row alone"),
        "plain_unexplained": Headline("unexplained from the first row alone", "events", shape="reason"),
        "capacity": Headline("slots per side of the book, sized to the file", "orders"),
        "messages_per_second": Headline("replayed, compilation included", "1/s", timing=True),
    },
    example="diffgames run replay --set messages=AAPL_message.csv.gz --set orderbook=AAPL_orderbook.csv.gz",
    published="no results; the recorded book itself is what the replay is held to",
    figures={
        "book": (
            "the black mid runs between bids and asks, and trades lie on the best prices; crosses are "
            "unexplained events"
        ),
    },
)
