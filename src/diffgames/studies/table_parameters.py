"""Parameters that say how a user's table is to be read, shared by all studies that read one."""

from dataclasses import dataclass
from typing import Annotated, Literal

from diffgames.studies.study import Parameter


@dataclass(frozen=True, kw_only=True)
class TableParameters:
    """Units and clock of a table; docs/markets/formats.md has every format with an example."""

    price_unit: Annotated[
        float, Parameter("what 1 in a price column is worth: 0.01 for cents", "currency", minimum=1e-12)
    ] = 1.0
    tick: Annotated[float | None, Parameter("tick of the price; null: from the data", "currency", minimum=1e-12)] = None
    time_unit: Annotated[Literal["s", "ms", "us", "ns"], Parameter("unit of a time column of numbers")] = "s"
    zone: Annotated[str, Parameter("clock of a time column of text without an offset: UTC, Europe/London")] = "UTC"
