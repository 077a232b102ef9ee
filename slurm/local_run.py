"""One run of a stage by the local pool: the queue, and what becomes of each task."""

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable

from fdbpl.slurm.local_worker import LocalWorker
from fdbpl.slurm.logs import last_lines
from fdbpl.slurm.records import RecordBook, State, TaskError, TaskRecord
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus
from fdbpl.slurm.stopping import SIGNALS
from fdbpl.slurm.tasks import EXIT_CODES

# How a worker ends that is asked to stop.
_STOPPED = (EXIT_CODES["stopped"], *(-signum for signum in SIGNALS))


class LocalRun:
    """The tasks of a stage and the workers that take them.

    Args:
        stage: the tasks.
        workers: the pool's, all fit for the stage; those that die are taken out.
        limit: most tasks at a time.
        start: starts one more worker for (stage, task id, attempt), and puts it into `workers`.
    """

    def __init__(
        self, stage: Stage, workers: list[LocalWorker], limit: int, start: Callable[[Stage, str, int], LocalWorker]
    ) -> None:
        self._stage = stage
        self._book = RecordBook(stage.paths, stage.task_ids)
        self._queue = deque(stage.task_ids)
        self._workers = workers
        self._limit = limit
        self._start = start
        self._put_back: set[str] = set()
        self._selector = selectors.DefaultSelector()
        for worker in workers:
            self._selector.register(worker.replies, selectors.EVENT_READ, worker)

    @property
    def is_busy(self) -> bool:
        return bool(self._queue) or bool(self._busy)

    @property
    def _busy(self) -> list[LocalWorker]:
        return [worker for worker in self._workers if worker.task_id is not None]

    def status(self) -> StageStatus:
        return StageStatus(stage=self._stage.name, records=dict(self._book.refresh()))

    def hand_out(self) -> None:
        """Give the waiting tasks to idle workers, starting workers up to the limit."""
        while self._queue and len(self._busy) < self._limit:
            worker = next((worker for worker in self._workers if worker.is_idle), None)
            if worker is None:
                if len(self._workers) >= self._limit:
                    return
                worker = self._start(self._stage, self._queue[0], self._attempt(self._queue[0]))
                self._selector.register(worker.replies, selectors.EVENT_READ, worker)
            call = self._stage.call(self._queue.popleft())
            worker.give(call, self._stage.task_environment(), 60 * self._stage.resources.minutes)

    def dismiss_idle(self) -> None:
        """Let the workers end that have no task; called after `hand_out`, none is waiting for them."""
        for worker in self._workers:
            if worker.is_idle:
                worker.dismiss()

    def wait(self, timeout_seconds: float) -> None:
        """Wait for an answer, at most so long, and look after dead workers and those that are over their time."""
        due = min((worker.due for worker in self._workers), default=float("inf"))
        for key, _ in self._selector.select(max(0.0, min(timeout_seconds, due - time.monotonic()))):
            worker: LocalWorker = key.data
            if not worker.hear():
                self._selector.unregister(worker.replies)
        for worker in list(self._workers):
            worker.keep_time()
            if worker.exit_status is not None:
                self._bury(worker)

    def end(self, grace_seconds: float) -> None:
        """Stop the tasks that still run, with their workers."""
        busy = self._busy
        for worker in busy:
            worker.dismiss()
            worker.terminate()
        deadline = time.monotonic() + grace_seconds
        for worker in busy:
            self._bury(worker, stopped=True, timeout_seconds=max(0.0, deadline - time.monotonic()))
        self._selector.close()

    def _attempt(self, task_id: str) -> int:
        return self._book.attempts_before[task_id] + 1

    def _bury(self, worker: LocalWorker, *, stopped: bool = False, timeout_seconds: float = 0.0) -> None:
        """Release a worker that is dead or must now be, and end the task that it ran."""
        if worker.replies in self._selector.get_map():
            self._selector.unregister(worker.replies)
        exit_status = worker.end(timeout_seconds)
        self._workers.remove(worker)
        task_id = worker.task_id
        if task_id is None:
            return
        if not stopped and self._may_put_back(worker, task_id):
            self._put_back.add(task_id)
            self._queue.appendleft(task_id)
            return
        ending = self._ending(worker, task_id, exit_status, stopped=stopped)
        # A task that stopped in order at its time limit has said so, but not that it is to have more time.
        replacing: tuple[State, ...] = ("stopped",) if worker.is_over_time else ()
        self._book.close(task_id, ending, replacing=replacing)

    def _may_put_back(self, worker: LocalWorker, task_id: str) -> bool:
        """Whether a task has not begun: new workers that cannot start would otherwise be started for ever."""
        has_begun = self._book.read(task_id).state != "pending"
        return not has_begun and not worker.is_over_time and not (worker.is_new and task_id in self._put_back)

    def _ending(self, worker: LocalWorker, task_id: str, exit_status: int, *, stopped: bool) -> TaskRecord:
        paths, now = self._stage.paths, time.time()
        log = paths.log(task_id, self._attempt(task_id))
        name = signal.Signals(-exit_status).name if exit_status < 0 else f"exit {exit_status}"
        hint = " (often: out of memory)" if exit_status == -signal.SIGKILL and not stopped else ""
        message = f"the worker process ended by {name}{hint} while it ran the task; see {paths.relative(log)}"
        traceback = last_lines(log)
        if worker.is_over_time:
            name = "TIMEOUT"
            message = f"not done within {self._stage.resources.minutes:g} minutes; see {paths.relative(log)}"
            own = self._book.read(task_id).error
            traceback = traceback if own is None else own.traceback
        is_stopped = not worker.is_over_time and (stopped or exit_status in _STOPPED)
        return TaskRecord(
            task_id=task_id,
            state="stopped" if is_stopped else "failed",
            host=os.uname().nodename,
            pid=worker.pid,
            ended=now,
            updated=now,
            error=TaskError(type=name, message=message, traceback=traceback),
            log=paths.relative(log),
            exit_status=exit_status,
            gpu=",".join(worker.gpus),
        )
