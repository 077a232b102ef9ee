"""Progress of a task, told from inside its function, and the sign of life of one that tells nothing.

Costs one small file at most twice a second, and one every 25 seconds; the last report is kept for the final record.
In a process that runs no task, as in a notebook or in a child of the task's process, it does nothing.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fdbpl.slurm.records import Progress

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 0.5
SECONDS_BETWEEN_HEARTBEATS = 25.0


class Reporter:
    """Keeps the last report of the running task and hands some of them on, one at a time, until it is closed.

    Attributes:
        latest: the last report; None before the first.
        first: when something was first told to be done, seconds since 1970.

    Args:
        write: puts a report, or None before the first one, into the task's record.
    """

    def __init__(self, write: Callable[[Progress | None], None]) -> None:
        self.latest: Progress | None = None
        self.first: float | None = None
        self._write = write
        self._written = float("-inf")
        self._owner = os.getpid()
        # Held while a record is written: a heartbeat that began earlier must not replace a later report. Reentrant for
        # a task that reports from a signal handler.
        self._lock = threading.RLock()
        self._is_closed = False

    def report(self, progress: Progress) -> None:
        if os.getpid() != self._owner:
            return
        self.latest = progress
        if self.first is None and progress.done > 0:
            self.first = time.time()
        now = time.monotonic()
        if now - self._written < SECONDS_BETWEEN_WRITES:
            return
        self._written = now
        self._hand_on()

    def close(self) -> None:
        """Write nothing from now on; a write that is under way is waited for."""
        # In a forked child the lock may be held by a thread that the child does not have.
        if os.getpid() == self._owner:
            with self._lock:
                self._is_closed = True

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Hand the last report on every 25 s while the body runs, so that the record's `updated` stays fresh."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(is_over,), name="heartbeat", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            logger.warning("no sign of life will be written: %s", error)
        try:
            yield
        finally:
            is_over.set()

    def _beat(self, is_over: threading.Event) -> None:
        # Signals are the main thread's: they must interrupt what the task waits for.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not is_over.wait(SECONDS_BETWEEN_HEARTBEATS):
            try:
                self._hand_on()
            except Exception as error:  # noqa: BLE001 - the task's own report raises it where it can be seen
                logger.warning("the sign of life could not be written: %s", error)

    def _hand_on(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            try:
                self._write(self.latest)
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
