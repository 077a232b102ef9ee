"""The local pool's hold on one worker process: give it a task, hear the answer, notice its death, end it.

The worker has a session of its own: Ctrl-C in the terminal reaches the caller alone, which then ends the
workers in order, and a kill takes the processes with it that a task has started.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fdbpl.slurm.stage import TaskCall


class LocalWorker:
    """One process of `python -m fdbpl.slurm.worker --serve`.

    Attributes:
        task_id: the task it runs, or None.
        replies: the descriptor on which it answers, or None once the worker has closed it.
    """

    def __init__(self, *, environment: Mapping[str, str], log: Path) -> None:
        """Start it. Until its first task has begun, what it prints goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        request_read, self._requests = os.pipe()
        self.replies, reply_write = os.pipe()
        self.task_id: str | None = None
        command = [sys.executable, "-u", "-m", "fdbpl.slurm.worker", "--serve"]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command, str(request_read), str(reply_write), str(os.getpid())],
                    env={**os.environ, **environment},
                    pass_fds=(request_read, reply_write),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._requests)
            os.close(self.replies)
            raise
        finally:
            os.close(request_read)
            os.close(reply_write)
        self._is_open = True

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a task, and has not been told that none comes."""
        return self.task_id is None and self._is_open

    @property
    def exit_status(self) -> int | None:
        """None while it lives; else its exit code, or minus the signal that killed it."""
        return self._process.poll()

    def give(self, call: TaskCall) -> None:
        """Let it run a task; a worker that has just died is noticed by its exit status."""
        assert self.is_idle, "a worker runs one task at a time"
        self.task_id = call.task_id
        with contextlib.suppress(BrokenPipeError):
            os.write(self._requests, (call.to_json() + "\n").encode())

    def hear(self) -> bool:
        """Read an answer that is there. False: the worker has closed the pipe and will not answer again."""
        if not os.read(self.replies, 4096):
            return False
        self.task_id = None
        return True

    def dismiss(self) -> None:
        """Tell it that no more tasks come: it ends by itself."""
        if self._is_open:
            os.close(self._requests)
            self._is_open = False

    def terminate(self) -> None:
        """Ask it to stop its task: the record will say stopped."""
        if self.exit_status is None:
            self._process.terminate()

    def end(self, timeout_seconds: float) -> int:
        """Wait for its end, kill what is left after the time-out, and release everything.

        Returns:
            Its exit status.
        """
        self.dismiss()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        # The whole session: a task's own children must not outlive it. They keep the group's id from reuse.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        os.close(self.replies)
        return self._process.wait()
