"""Parameters of an exchange agent: which level-2 data are read, how, and the law that is fitted to them."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from diffgames.errors import InvalidInput
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.ecn_fit import FitReport, check_mixture, fit_exchange
from diffgames.markets.ecn_memory_fit import fit_memory
from diffgames.markets.exchange import AbstractExchange
from diffgames.markets.level2 import PRICE_UNIT, Level2, read_level2
from diffgames.markets.snapshots import read_snapshots
from diffgames.markets.synthetic import synthetic_level2
from diffgames.studies.study import Parameter
from diffgames.studies.table_parameters import TableParameters
from diffgames.tables import table_of

TAKEN = (
    "lots",
    "price",
    "side",
    "level",
    "venue",
    "agent",
    "kind",
    "episode",
    "step",
    "supertype",
    "inventory",
    "cash",
)
"""Columns of a tape's tables, which sizes cannot be called."""


@dataclass(frozen=True, kw_only=True)
class LevelTwoParameters(TableParameters):
    """Which level-2 data are read, and how."""

    data: Annotated[
        str | None, Parameter("level-2 file (LOBSTER order book or 1-second) to fit; null: synthetic data")
    ] = None
    columns: Annotated[
        dict[str, str],
        Parameter("names of a table's columns: time, bid, bid_size, ask, ask_size", shape="{our name: theirs}"),
    ] = field(default_factory=dict)
    lot: Annotated[float, Parameter("units in a lot, in which sizes are counted", "units", minimum=1e-12)] = 1.0
    size_name: Annotated[str | None, Parameter("what sizes count, in tables: shares, contracts; null: lots")] = None


@dataclass(frozen=True, kw_only=True)
class ExchangeParameters(LevelTwoParameters):
    """What the exchange agent is fitted to."""

    exchange: Annotated[
        Literal["memory", "mixture"],
        Parameter("law of the exchange agent: recorded transitions of like states, or the paper's mixture"),
    ] = "memory"
    cell: Annotated[int, Parameter("least size of a cell of like states (memory)", "transitions", minimum=2)] = 80
    levels: Annotated[int, Parameter("order-book levels per side in the exchange model, m", "levels")] = 5
    components: Annotated[int, Parameter("components of the Gaussian mixtures (mixture)")] = 5
    variance_floor: Annotated[float, Parameter("least variance of a component in any direction, standardised", "1")] = (
        1e-3
    )


def fit_from(parameters: ExchangeParameters, seed: int) -> tuple[AbstractExchange, FitReport]:
    """Fit the exchange agent to the named file, or to an hour of synthetic level-2 data."""
    return fit_to(parameters.data, parameters, seed)


def snapshots_of(path: str | None, seed: int, parameters: LevelTwoParameters | None = None) -> Level2:
    """The named file, read as `parameters` say, or an hour of synthetic level-2 data.

    Where `columns` are given, or the header has our own names, it is a table with names, else in LOBSTER's layout.
    """
    given = parameters or LevelTwoParameters()
    if given.size_name is not None and (not given.size_name.isidentifier() or given.size_name in TAKEN):
        raise InvalidInput("size_name", given.size_name, "a word like shares or contracts")
    if path is None:
        if given.columns:
            raise InvalidInput("columns", given.columns, "none where data is null: they name the columns of a file")
        found = synthetic_level2(seconds=3600, seed=seed)
    elif given.columns or {"time", "bid_1", "ask_1"} <= set(table_of("data", path).names or ()):
        found = read_snapshots(
            path,
            columns=given.columns,
            price_unit=given.price_unit,
            tick=given.tick,
            lot=given.lot,
            time_unit=given.time_unit,
            zone=given.zone,
        )
    else:
        for name in ("price_unit", "lot", "time_unit", "zone"):
            if (value := getattr(given, name)) != getattr(LevelTwoParameters(), name):
                raise InvalidInput(name, value, "its default in LOBSTER's layout; name a table's columns by columns=")
        found = read_level2(path, tick=None if given.tick is None else round(given.tick * PRICE_UNIT))
    return replace(found, size_name=given.size_name)


def fit_to(path: str | None, parameters: ExchangeParameters, seed: int) -> tuple[AbstractExchange, FitReport]:
    """Fit the exchange agent to the file at `path`, or to an hour of synthetic level-2 data."""
    check_mixture(parameters.components, parameters.variance_floor)
    snapshots = snapshots_of(path, seed, parameters)
    if parameters.exchange == "memory":
        return fit_memory(snapshots, levels=parameters.levels, least=parameters.cell, seed=seed)
    return fit_mixture_exchange(snapshots, parameters, seed)


def fit_mixture_exchange(
    snapshots: Level2, parameters: ExchangeParameters, seed: int
) -> tuple[ExchangeModel, FitReport]:
    """The paper's exchange agent, whatever `parameters.exchange` says."""
    return fit_exchange(
        snapshots,
        levels=parameters.levels,
        components=parameters.components,
        variance_floor=parameters.variance_floor,
        seed=seed,
    )
