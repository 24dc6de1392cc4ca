"""What arrays need in memory, held against what is free before anything is allocated.

Asked for without a check, sizes beyond the machine end the process, or the machine, without a word.
"""

import math
import os
from pathlib import Path
from typing import Any

from diffgames.errors import InvalidInput

DOUBLE = 8  # bytes
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def check_memory(key: str, value: Any, needed: float, what: str) -> None:
    """`InvalidInput`, with both figures, where `what` needs more bytes than are free."""
    free = free_memory()
    if needed > free:
        raise InvalidInput(key, value, f"smaller sizes: {what} need {in_words(needed)}, and {in_words(free)} are free")


def free_memory() -> float:
    """Bytes that this process can still have, in its container and on its accelerator; infinite where nothing says."""
    found = [_available(), _contained(), _on_device()]
    return min((free for free in found if free is not None), default=math.inf)


def in_words(size: float) -> str:
    """A number of bytes with three digits: `41.2 GB`."""
    power = min(int(math.log(size, 1000)) if size >= 1 else 0, len(UNITS) - 1)
    return f"{size / 1000**power:.3g} {UNITS[power]}"


def _available() -> float | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return None


def _contained(group: Path = Path("/sys/fs/cgroup")) -> float | None:
    """What a control group leaves, cached files aside, which it gives up when asked; None where it sets no limit."""
    try:
        limit, used = (float((group / name).read_text()) for name in ("memory.max", "memory.current"))
        stated = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit - used + sum(float(stated.get(name, 0)) for name in ("active_file", "inactive_file"))
    except (OSError, ValueError):  # `max`: no limit
        return None


def _on_device() -> float | None:
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0)) if stats and "bytes_limit" in stats else None
