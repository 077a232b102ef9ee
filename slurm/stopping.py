"""Being stopped by a signal in an orderly way: TERM (scancel, preemption, shutdown) and USR2 (Slurm's warning
before the time limit) raise `Stopped` in the main thread, once; a second signal does not disturb the
clean-up.

`Stopped` is no Exception, so that `except Exception` in a task does not swallow it.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class Stopped(BaseException):
    """The process was asked to stop; what it did so far is resumable."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"stopped by {signal_name}")
        self.signal_name = signal_name


class StopSignals:
    """The handler of one process. Begins held: signals wait until `released`."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._held = True
        self._raised = False
        self._owner = os.getpid()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Run the body such that a signal, or one that has waited, raises Stopped in it."""
        self._held = False
        try:
            self._raise_if_due()
            yield
        finally:
            self._held = True

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A process that a task forked: it has no record to write, so it dies as it would have.
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        self.received = self.received or signal.Signals(signum).name
        if not self._held:
            self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self.received is not None and not self._raised:
            self._raised = True
            raise Stopped(self.received)


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Install the handler for TERM and USR2 in the main thread, and put the old ones back at the end."""
    handler = StopSignals()
    before: dict[int, Callable[..., Any] | int | None] = {
        signum: signal.signal(signum, handler._handle) for signum in SIGNALS
    }
    try:
        yield handler
    finally:
        for signum, old in before.items():
            signal.signal(signum, signal.SIG_DFL if old is None else old)
