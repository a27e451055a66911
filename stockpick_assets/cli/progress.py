"""How long work looks in a terminal."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


def progress_bar(*, err: bool = False) -> Progress:
    """A bar that counts what is done, with the time it has taken; plain lines where there is no terminal.

    err: on standard error, of a command whose standard output is for programs.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=err),
    )


class AssetsDone:
    """Told of each asset of a run as it is done: prints a line with its seconds and moves the bar."""

    def __init__(self, progress: Progress, bar: TaskID, label: str) -> None:
        self._progress, self._bar, self._label = progress, bar, label
        self._since = time.monotonic()

    def __call__(self, asset: str) -> None:
        """One more asset is done."""
        now = time.monotonic()
        self._progress.console.print(f"{self._label}: {asset} in {now - self._since:.1f} s")
        self._since = now
        self._progress.advance(self._bar)
