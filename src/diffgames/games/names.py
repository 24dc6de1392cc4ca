"""Names of players and roles: they become headline keys, file names and words in figures, and are checked for all."""

from collections.abc import Sequence

from diffgames.errors import InvalidInput

LONGEST = 50
FORBIDDEN = "/\\$"  # they part folders, and begin a formula in a figure
ALLOWED = (
    f"one or more names that differ, each of 1 to {LONGEST} printable characters without / \\ $ or blanks at its ends"
)


def check_names(key: str, names: Sequence[object]) -> None:
    """Raise `InvalidInput` for no names, for two that are alike, and for one that no file or figure can bear."""
    for name in names:
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST or not name.isprintable():
            raise InvalidInput(key, name, ALLOWED)
        if name != name.strip() or any(mark in name for mark in FORBIDDEN) or name.startswith("."):
            raise InvalidInput(key, name, ALLOWED)
    if not names or len(set(names)) < len(names):
        raise InvalidInput(key, list(names), ALLOWED)
