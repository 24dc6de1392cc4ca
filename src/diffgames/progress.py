"""Progress of a run, told between compiled chunks: a live line on a terminal, plain lines elsewhere.

    context.progress.update("training", 0.25, reward=1.3, kl=0.011)

A call costs next to nothing when nothing is due to be shown, and nothing is ever shown from inside compiled code.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import SupportsFloat

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from diffgames import interruption

PLAIN_INTERVAL = 10.0
"""Seconds between plain lines of one label."""


def figures_text(figures: dict[str, float | int | str]) -> str:
    """The figures that matter, shortly: `reward 1.3, kl 0.011`."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in figures.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


class Progress:
    """Shows the newest state of each labelled piece of work; a context manager.

    `log` receives every line that is shown as plain text, so that the log of a run tells the same story; `prefix`
    stands before every label.
    """

    def __init__(
        self,
        console: Console | None = None,
        log: Callable[[str], None] | None = None,
        quiet: bool = False,
        prefix: str = "",
    ):
        self._console = console if console is not None else Console(stderr=True)
        self._log, self._quiet, self._prefix = log, quiet, prefix
        self._live = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
        )
        self._tasks: dict[str, int] = {}
        self._shown: dict[str, float] = {}

    def __enter__(self) -> "Progress":
        if self._console.is_terminal and not self._quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.live.is_started:  # stopping one that never started would print an empty line
            self._live.stop()

    def update(self, label: str, fraction: SupportsFloat, **figures: SupportsFloat | str) -> None:
        """Say that `label` is done to `fraction` (0 to 1), with the figures that matter now."""
        interruption.check()
        label, fraction = self._prefix + label, min(max(float(fraction), 0.0), 1.0)
        text = figures_text({name: v if isinstance(v, int | str) else float(v) for name, v in figures.items()})
        if self._console.is_terminal and not self._quiet:
            if label not in self._tasks:
                self._tasks[label] = self._live.add_task(label, total=1.0, figures="")
            self._live.update(self._tasks[label], completed=fraction, figures=text)  # pyright: ignore[reportArgumentType]
        now = time.monotonic()
        due = label not in self._shown or fraction >= 1.0 or now - self._shown[label] >= PLAIN_INTERVAL
        if not due:
            return
        self._shown[label] = now
        line = f"{label} {fraction:4.0%}" + (f"  {text}" if text else "")
        if self._log is not None:
            self._log(line)
        if not self._console.is_terminal and not self._quiet:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def message(self, text: str) -> None:
        """One line outside the progress lines."""
        if not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)
