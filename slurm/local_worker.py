"""The local pool's hold on one worker process: give it a task, hear the answer, notice its death, end it.

The worker has a session of its own: Ctrl-C in the terminal reaches the caller alone, which then ends the
workers in order, and a kill takes the processes with it that a task has started.
"""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fdbpl.slurm.gpus import VARIABLE as GPUS_VARIABLE
from fdbpl.slurm.stage import TaskCall

# Variables that Python or a library reads once, when it starts: they cannot change for a process that has run tasks.
_READ_ONCE = (
    *("CUDA_", "GOMP_", "HF_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "NCCL_", "NVIDIA_", "OMP_"),
    *("OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH_", "TZ"),
)


def read_once(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a worker must have been started with."""
    return {name: value for name, value in environment.items() if name.startswith(_READ_ONCE)}


class LocalWorker:
    """One process of `python -m fdbpl.slurm.worker --serve`.

    Args:
        base: the whole environment of the caller.
        environment: the tasks' variables; the worker is started with those that are read once.
        gpus: its GPUs for as long as it lives, or none: it has what the caller has.
        log: where what it prints goes until its first task has begun.
        grace_seconds: time that it has to end after it was asked to, before it is killed.

    Attributes:
        task_id: the task it runs, or None.
        replies: the descriptor on which it answers.
        is_new: whether it has not yet answered a task.
        is_over_time: whether its last task was still running at its time limit.
    """

    def __init__(
        self,
        *,
        base: Mapping[str, str],
        environment: Mapping[str, str],
        gpus: Sequence[str],
        log: Path,
        grace_seconds: float,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.gpus = tuple(gpus)
        self.task_id: str | None = None
        self.is_new = True
        self.is_over_time = False
        self._has_hung_up = False
        self._grace_seconds = grace_seconds
        self._read_once = read_once(environment)
        self._time_limit = self._kill_at = math.inf
        request_read, self._requests = os.pipe()
        self.replies, reply_write = os.pipe()
        command = [sys.executable, "-u", "-m", "fdbpl.slurm.worker", "--serve"]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command, str(request_read), str(reply_write), str(os.getpid())],
                    env={**base, **self._read_once, **self._gpu_variable},
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
        """Whether it lives, waits for a task, and has not been told that none comes."""
        return self.task_id is None and self._is_open and self.exit_status is None

    @property
    def exit_status(self) -> int | None:
        """None while it lives; else its exit code, or minus the signal that killed it."""
        return self._process.poll()

    @property
    def due(self) -> float:
        """When to call `keep_time` and to look at `exit_status`, on the monotonic clock."""
        # The pipe of a process that ends is closed a moment before there is an exit status.
        ends_at = time.monotonic() + 0.01 if self._has_hung_up else math.inf
        return min(self._time_limit, self._kill_at, ends_at)

    @property
    def _gpu_variable(self) -> dict[str, str]:
        return {GPUS_VARIABLE: ",".join(self.gpus)} if self.gpus else {}

    def fits(self, environment: Mapping[str, str], gpus: int) -> bool:
        """Whether tasks with these variables and so many GPUs can run in it."""
        return len(self.gpus) == gpus and self._read_once == read_once(environment)

    def give(self, call: TaskCall, environment: Mapping[str, str], limit_seconds: float) -> None:
        """Let it run a task; a worker that has just died is noticed by its exit status."""
        assert self.task_id is None and self._is_open, "a worker runs one task at a time"
        self.task_id = call.task_id
        self._time_limit = time.monotonic() + limit_seconds
        request = call.with_environment({**environment, **self._gpu_variable}).to_json()
        with contextlib.suppress(BrokenPipeError):
            os.write(self._requests, (request + "\n").encode())

    def hear(self) -> bool:
        """Read an answer that is there. False: the worker has closed the pipe and will not answer again.

        A worker whose task failed is not used again: a broken CUDA context or memory that is not given back
        would fail the next task, too.
        """
        answer = os.read(self.replies, 4096)
        if not answer:
            self._has_hung_up = True
            return False
        self.task_id = None
        self.is_new = False
        self._time_limit = math.inf
        if answer.split() != [b"0"] or self.is_over_time:
            self.dismiss()
        return True

    def keep_time(self) -> None:
        """Ask a task that is over its time limit to stop; kill a worker whose grace is over."""
        now = time.monotonic()
        if now >= self._kill_at:
            self._kill_at = math.inf
            self._kill()
        elif now >= self._time_limit:
            self._time_limit = math.inf
            self.is_over_time = True
            self._kill_at = now + self._grace_seconds
            if self.exit_status is None:
                self._process.send_signal(signal.SIGUSR2)

    def dismiss(self) -> None:
        """Tell it that no more tasks come: it ends by itself after the one that it runs, or is killed later."""
        if self._is_open:
            os.close(self._requests)
            self._is_open = False
        if self.task_id is None:
            self._kill_at = min(self._kill_at, time.monotonic() + self._grace_seconds)

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
        self._kill()
        if self.replies >= 0:
            os.close(self.replies)
            self.replies = -1
        return self._process.wait()

    def _kill(self) -> None:
        """Kill the whole session: a task's own children must not outlive it, in whatever group they are."""
        # What is left of the session keeps its id from reuse.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in _session(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    found.append(int(folder.name))
    return found
