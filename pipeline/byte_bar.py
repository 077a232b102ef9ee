"""Progress in bytes a second, on stderr: a bar on a terminal, plain lines elsewhere, nothing where it is not wanted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from fdbpl.pipeline.progress import SECONDS_BETWEEN_LINES, OnProgress, Ui


@contextmanager
def byte_bar(ui: Ui, title: str) -> Iterator[OnProgress]:
    """A bar for work that is counted in bytes; call what it yields with (done, total)."""
    if ui.console.quiet:
        yield lambda done, total: None
    elif ui.console.is_terminal:
        columns = (BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True))
        with Progress(TextColumn("{task.description}"), *columns, console=ui.console) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
    else:
        yield _Lines(ui.console, title)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._started = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-9)
        self._console.print(f"{self._title}: {done / 1e9:.3f} of {total / 1e9:.3f} GB ({rate / 1e6:.0f} MB/s)")
