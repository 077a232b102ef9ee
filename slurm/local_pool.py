"""The local backend: a few worker processes that take a stage's tasks one after another.

Never more tasks at a time than the limit. A worker that dies costs the task that it ran, is replaced, and the
other tasks go on: the loop waits on pipes and exit statuses with a time-out, never on a task's word alone.
Whatever ends `run` (an interrupt, an error) ends the workers; if the caller itself is killed, the kernel
kills them. Costs the start of `max_workers` interpreters for a stage, not one for each task.
"""

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable

from fdbpl.slurm.local_worker import LocalWorker
from fdbpl.slurm.logs import last_lines
from fdbpl.slurm.records import RecordBook, TaskError, TaskRecord
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus
from fdbpl.slurm.stopping import SIGNALS
from fdbpl.slurm.tasks import EXIT_CODES

OnUpdate = Callable[[StageStatus], None]

# How a worker ends that is asked to stop.
_STOPPED = (EXIT_CODES["stopped"], *(-signum for signum in SIGNALS))


class LocalPool:
    """Runs stages on this machine.

    Args:
        max_workers: most tasks at a time; None: as many as the cores allow, at `resources.cpus` each.
        reason: why this backend was chosen, for people.
        grace_seconds: time that a worker has to end after it was asked to, before it is killed.
    """

    name = "local"

    def __init__(self, max_workers: int | None = None, *, reason: str = "", grace_seconds: float = 5.0) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers: found {max_workers}, expected at least 1")
        self.max_workers = max_workers
        self.reason = reason
        self.grace_seconds = grace_seconds

    def run(self, stage: Stage, *, on_update: OnUpdate | None = None, poll_seconds: float | None = None) -> StageStatus:
        """Run every task of the stage once, however often it ran before, and wait for all.

        Args:
            stage: the tasks.
            on_update: called with the status at the start, about every `poll_seconds`, and at the end.
            poll_seconds: 0.2 where None.

        Returns:
            The status in the end: every task is complete, failed or stopped.

        Raises:
            KeyboardInterrupt: passed on, after the workers have ended and the records say stopped.
        """
        run = _Run(stage, self._limit(stage), self.grace_seconds)
        poll_seconds = 0.2 if poll_seconds is None else poll_seconds
        next_update = time.monotonic()
        try:
            while run.is_busy:
                run.hand_out()
                if on_update is not None and time.monotonic() >= next_update:
                    on_update(run.status())
                    next_update = time.monotonic() + poll_seconds
                run.wait(poll_seconds)
        finally:
            run.end()
        status = run.status()
        if on_update is not None:
            on_update(status)
        return status

    def _limit(self, stage: Stage) -> int:
        cores = len(os.sched_getaffinity(0))
        limit = self.max_workers or max(1, cores // stage.resources.cpus)
        return min(limit, stage.resources.max_parallel or limit)


class _Run:
    """The workers and the queue of one run of a stage."""

    def __init__(self, stage: Stage, limit: int, grace_seconds: float) -> None:
        self.stage = stage
        self.book = RecordBook(stage.paths, stage.task_ids)
        self._queue = deque(stage.task_ids)
        self._limit = limit
        self._grace_seconds = grace_seconds
        self._workers: list[LocalWorker] = []
        self._put_back: set[str] = set()
        self._selector = selectors.DefaultSelector()

    @property
    def is_busy(self) -> bool:
        return bool(self._queue) or any(worker.task_id is not None for worker in self._workers)

    def status(self) -> StageStatus:
        return StageStatus(stage=self.stage.name, records=dict(self.book.refresh()))

    def hand_out(self) -> None:
        """Give the waiting tasks to idle workers, starting workers up to the limit."""
        idle = [worker for worker in self._workers if worker.is_idle]
        while self._queue and (idle or len(self._workers) < self._limit):
            task_id = self._queue.popleft()
            worker = idle.pop() if idle else self._start(task_id)
            worker.give(self.stage.call(task_id))
        for worker in idle:
            worker.dismiss()

    def wait(self, timeout_seconds: float) -> None:
        """Wait for an answer, at most so long, and look after dead workers."""
        for key, _ in self._selector.select(timeout_seconds):
            worker: LocalWorker = key.data
            if not worker.hear():
                self._selector.unregister(worker.replies)
        for worker in [worker for worker in self._workers if worker.exit_status is not None]:
            self._bury(worker)

    def end(self) -> None:
        """End every worker; a task that still runs is stopped."""
        for worker in self._workers:
            worker.dismiss()
            if worker.task_id is not None:
                worker.terminate()
        deadline = time.monotonic() + self._grace_seconds
        for worker in list(self._workers):
            self._bury(worker, stopped=True, timeout_seconds=max(0.0, deadline - time.monotonic()))
        self._selector.close()

    def _start(self, task_id: str) -> LocalWorker:
        log = self.stage.paths.log(task_id, self.book.attempts_before[task_id] + 1)
        worker = LocalWorker(environment=self.stage.task_environment(), log=log)
        self._workers.append(worker)
        self._selector.register(worker.replies, selectors.EVENT_READ, worker)
        return worker

    def _bury(self, worker: LocalWorker, *, stopped: bool = False, timeout_seconds: float = 0.0) -> None:
        """Release a worker that is dead or must now be, and end the task that it ran."""
        self._workers.remove(worker)
        if worker.replies in self._selector.get_map():
            self._selector.unregister(worker.replies)
        exit_status = worker.end(timeout_seconds)
        if worker.task_id is None:
            return
        if not stopped and self._may_put_back(worker.task_id):
            self._put_back.add(worker.task_id)
            self._queue.appendleft(worker.task_id)
            return
        self.book.close(worker.task_id, self._ending(worker, exit_status, stopped=stopped))

    def _may_put_back(self, task_id: str) -> bool:
        """Whether a task has not begun: once only, lest workers that cannot start are started for ever."""
        return task_id not in self._put_back and self.book.read(task_id).state == "pending"

    def _ending(self, worker: LocalWorker, exit_status: int, *, stopped: bool) -> TaskRecord:
        assert worker.task_id is not None
        paths, now = self.stage.paths, time.time()
        log = paths.log(worker.task_id, self.book.attempts_before[worker.task_id] + 1)
        name = signal.Signals(-exit_status).name if exit_status < 0 else f"exit {exit_status}"
        hint = " (often: out of memory)" if exit_status == -signal.SIGKILL and not stopped else ""
        message = f"the worker process ended by {name}{hint} while it ran the task; see {paths.relative(log)}"
        return TaskRecord(
            task_id=worker.task_id,
            state="stopped" if stopped or exit_status in _STOPPED else "failed",
            host=os.uname().nodename,
            pid=worker.pid,
            ended=now,
            updated=now,
            error=TaskError(type=name, message=message, traceback=last_lines(log)),
            log=paths.relative(log),
            exit_status=exit_status,
        )
