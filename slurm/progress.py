"""Progress of a task, told from inside its function.

Costs one small file at most twice a second; the last report is kept for the final record. In a process that
runs no task, as in a notebook or in a child of the task's process, it does nothing.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fdbpl.slurm.records import Progress

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 0.5


class Reporter:
    """Keeps the last report of the running task and hands some of them on."""

    def __init__(self, write: Callable[[Progress], None]) -> None:
        self.latest: Progress | None = None
        self._write = write
        self._written = float("-inf")
        self._owner = os.getpid()

    def report(self, progress: Progress) -> None:
        if os.getpid() != self._owner:
            return
        self.latest = progress
        now = time.monotonic()
        if now - self._written < SECONDS_BETWEEN_WRITES:
            return
        self._written = now
        try:
            self._write(progress)
        except OSError as error:
            # A full disk or a file server that is away must not cost the task its work.
            logger.warning("progress could not be written: %s", error)


_reporter: Reporter | None = None


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Let `report_progress` reach `reporter` while the body runs."""
    global _reporter
    _reporter = reporter
    try:
        yield
    finally:
        _reporter = None


def report_progress(done: float, total: float, **extra: Any) -> None:
    """Say how much of the running task is done.

    Args:
        done, total: in any unit that all tasks of the stage share (views, steps).
        extra: further values for the record, JSON.
    """
    if _reporter is not None:
        _reporter.report(Progress(done=done, total=total, extra=extra))
