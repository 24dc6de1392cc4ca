"""The one way in which benchmarks tell time: the shortest of several calls, after one that compiles.

Wall seconds say how long one waits; CPU seconds are those of all threads together, and let figures be compared that
were taken on a machine that others use.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Timed(NamedTuple):
    """Least wall and CPU seconds of a call, the wall seconds of the first, and what the last returned."""

    wall: float
    cpu: float
    first: float
    result: Any


def seconds_of(compute: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and CPU seconds of one call that is waited for, and what it returned."""
    began, worked = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(compute())
    return time.perf_counter() - began, time.process_time() - worked, result


def best_of(repeats: int, compute: Callable[[], Any]) -> Timed:
    """The best of `repeats` calls after a first one, which compiles."""
    first, _, result = seconds_of(compute)
    wall, cpu = [], []
    for _ in range(repeats):
        one, busy, result = seconds_of(compute)
        wall.append(one)
        cpu.append(busy)
    return Timed(min(wall), max(min(cpu), 1e-9), first, result)
