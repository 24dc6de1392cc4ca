"""The two ways a command can fail, each in one line that says what to do.

`InvalidInput` is the user's slip (exit code 2); `RunFailed` is an honest negative result of a run that was set up
correctly (exit code 1).
"""


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
