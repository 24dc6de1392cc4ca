"""What a run needs in memory, held against what the machine has before anything is allocated.

A study says what its largest arrays take at the least (`Study.memory`); sizes beyond the machine are refused by the
parameters to lower. Asked for without a check, they end the process, or the machine, without a word.
"""

import math
import os
from pathlib import Path
from typing import Any

from diffgames.errors import InvalidInput
from diffgames.studies.parameters import value_of
from diffgames.studies.study import Study

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def refuse_what_does_not_fit(study: Study, config: Any) -> None:
    """Raise `InvalidInput` naming the parameters whose arrays alone need more memory than is free."""
    if study.memory is None:
        return
    free = free_memory()
    for keys, needed in study.memory(config).items():
        if needed > free:
            values = [value_of(config, name) for name in keys.split(", ")]
            allowed = f"smaller sizes: these need {in_words(needed)} of memory, and {in_words(free)} are free here"
            raise InvalidInput(keys, values[0] if len(values) == 1 else values, allowed)


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


def _contained() -> float | None:
    """What a control group leaves; None where there is none or it sets no limit."""
    group = Path("/sys/fs/cgroup")
    try:
        return float((group / "memory.max").read_text()) - float((group / "memory.current").read_text())
    except (OSError, ValueError):  # `max`: no limit
        return None


def _on_device() -> float | None:
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0)) if stats and "bytes_limit" in stats else None
