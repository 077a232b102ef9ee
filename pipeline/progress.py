"""Progress for people, on stderr: bars on a terminal, plain lines elsewhere, nothing where it is not wanted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

OnProgress = Callable[[int, int], None]
SECONDS_BETWEEN_LINES = 5.0


class Ui:
    """Says what is going on. A quiet one says nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def say(self, text: str) -> None:
        """One line; text may hold rich's markup."""
        self.console.print(text)

    @contextmanager
    def busy(self, title: str) -> Iterator[None]:
        """Something turns on a terminal while work lasts of which no part can be counted."""
        if self.console.is_terminal and not self.console.quiet:
            with self.console.status(f"{title} …"):
                yield
        else:
            yield

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[OnProgress]:
        """A bar for one piece of work; call what it yields with (done, total)."""
        if self.console.quiet:
            yield lambda done, total: None
        elif self.console.is_terminal:
            with self._progress(unit) as progress:
                task = progress.add_task(title, total=None)
                yield lambda done, total: progress.update(task, completed=done, total=total)
        else:
            yield _Lines(self.console, title, unit)

    def _progress(self, unit: str) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn(unit),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=False,
        )


class _Rate(ProgressColumn):
    """Units a second of the last half minute, or of all where that is too few to tell."""

    def render(self, task: Task) -> Text:
        whole = task.completed / task.elapsed if task.elapsed else None
        rate = task.finished_speed or task.speed or whole
        return Text("" if rate is None else f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")


class _Lines:
    """Plain progress: a line when work begins to last, then one every few seconds, and one at the end."""

    def __init__(self, console: Console, title: str, unit: str) -> None:
        self._console, self._title, self._unit = console, title, unit
        self._started = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        finished = total > 0 and done >= total
        if not finished and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if not finished and rate > 0 else ""
        self._console.print(f"{self._title}: {done}/{total} {self._unit} ({rate:.0f}/s{left})")
