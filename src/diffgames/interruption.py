"""Ctrl-C and a scheduler's stop, which must not get lost.

Python raises `KeyboardInterrupt` wherever it happens to be, and where that is a callback of the garbage collector or of
a library the exception is printed and forgotten. So the request is also remembered, and `check`, called wherever a run
reports progress or saves a checkpoint, raises it again.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

_requested = False


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = True
    raise KeyboardInterrupt


def check() -> None:
    """Raise `KeyboardInterrupt` if an interruption was requested and got lost."""
    if _requested:
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGINT and SIGTERM as interruptions that do not get lost; outside the main thread, change nothing."""
    global _requested
    _requested = False
    before: dict[int, Any] = {}
    hook = sys.unraisablehook

    def quiet(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):  # ours is remembered: no need to print it
            hook(lost)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # only the main thread may set handlers
                before[number] = signal.signal(number, _request)
        sys.unraisablehook = quiet
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        _requested = False
