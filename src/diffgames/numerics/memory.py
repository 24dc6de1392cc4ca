"""What a computation would take of the machine's memory, said before it is asked for."""

import os
from typing import Any

from diffgames.errors import InvalidInput

DOUBLE = 8  # bytes


def machine_memory() -> float:
    """Bytes of physical memory; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * float(os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def check_memory(key: str, value: Any, numbers: float, what: str) -> None:
    """`InvalidInput`, with the figure in GB, where so many double numbers are more than the machine holds."""
    most = machine_memory()
    if numbers * DOUBLE > most:
        allowed = f"less: {what} would take {numbers * DOUBLE / 1e9:.3g} GB, this machine has {most / 1e9:.3g} GB"
        raise InvalidInput(key, value, allowed)
