"""The two ways a command can fail, each in one line that says what to do.

`InvalidInput` is the user's slip (exit code 2); `RunFailed` is an honest negative result of a run that was set up
correctly (exit code 1).
"""

import difflib
from collections.abc import Iterable


class InvalidInput(ValueError):
    """Bad input: names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str):
        self.key, self.value, self.allowed = key, value, allowed
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{key}: {shown} is not valid; allowed: {allowed}")


class RunFailed(RuntimeError):
    """A run that failed: names the reason and what to try."""

    def __init__(self, reason: str, remedy: str):
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{reason}; {remedy}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """What is allowed, in words, for an `InvalidInput`: the nearest known name first when there is one."""
    names = list(known)
    listed = ", ".join(names) if names else "none"
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}? (one of {listed})" if near else f"one of {listed}"
