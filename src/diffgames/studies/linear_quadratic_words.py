"""What the linear-quadratic studies share: matrices as parameters, and how a run past its escape time ends."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.studies.study import StudyResult

Matrix = float | tuple[tuple[float, ...], ...]
"""A number (1×1) or a list of rows."""


def plain_block(block: Any) -> Any:
    """A block of a value or gain matrix as it stands in a headline: a number where it is 1×1, else a list of rows."""
    array = np.asarray(block)
    return float(array[0, 0]) if array.shape == (1, 1) else array.tolist()


def numbers_by(blocks: Float[np.ndarray, "labels *block"]) -> list:
    """A block for each type or regime: a number where it has one entry, else the vector or matrix."""
    return blocks.reshape(-1).tolist() if blocks[0].size == 1 else blocks.tolist()


def escaped(escape_time: float, horizon: float, **rest: Any) -> StudyResult:
    """The result of a run whose horizon is not before the escape time."""
    return StudyResult(
        headline={"escape_time": escape_time},
        failure=RunFailed(
            f"no equilibrium on the whole horizon: values escape at time-to-go {escape_time:.9g}, T = {horizon:g}",
            f"choose T below {escape_time:.6g}, or dearer controls; the figure runs up to the escape",
        ),
        **rest,
    )


def searched(search: Callable[[float], Any], horizon: float, limit: float) -> tuple[Any, tuple[str, ...]]:
    """What a search for an escape up to `limit` finds; where it cannot go that far, up to the horizon and a warning."""
    try:
        return search(limit), ()
    except RunFailed as failure:
        return search(horizon), (f"no escape is known beyond the horizon, where the search ended: {failure.reason}",)


def as_vector(name: str, value: Any, size: int) -> np.ndarray:
    """A number repeated, or a list of that size."""
    array = np.asarray(value, float)
    if array.ndim == 0:
        return np.full(size, float(array))
    if array.shape != (size,):
        raise InvalidInput(name, value, f"a number, or a list of {size}")
    return array


def over_time(values: Mapping[str, Any], time: Any, axis: str = "time") -> Any:
    """A dataset of series over time; further axes are numbered."""
    import xarray

    data = {}
    for name, series in values.items():
        array = np.asarray(series)
        data[name] = ((axis, *(f"{name}_{k}" for k in range(array.ndim - 1))), array)
    return xarray.Dataset(data, coords={axis: np.asarray(time)})
