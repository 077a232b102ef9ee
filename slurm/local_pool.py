"""The local backend: a few worker processes that take a stage's tasks one after another.

Never more tasks at a time than the limit. A worker that dies costs the task that it ran, is replaced, and the
other tasks go on: the loop waits on pipes and exit statuses with a time-out, never on a task's word alone.
Whatever ends `run` (an interrupt, an error) ends the tasks; if the caller itself is killed, the kernel
kills the workers. Costs the start of `max_workers` interpreters for a stage, not one for each task; within
`with pool:` one start for all stages.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Self

from fdbpl.slurm.gpus import VARIABLE as GPUS_VARIABLE
from fdbpl.slurm.gpus import visible_gpus
from fdbpl.slurm.local_run import LocalRun
from fdbpl.slurm.local_worker import LocalWorker
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus

OnUpdate = Callable[[StageStatus], None]


class LocalPool:
    """Runs stages on this machine; not for several threads at a time.

    `with pool:` keeps idle workers from one `run` to the next, also of other stages, run folders and environments.
    Then modules that the tasks import are loaded once, and the caller's environment is that at the `with`. A stage
    that differs in GPUs, or in variables that are read at a start only (OMP_NUM_THREADS, that is `resources.cpus`,
    PYTHONPATH, CUDA_…), ends the workers that do not fit it, and starts others.

    A task that asks for GPUs has them for itself: its CUDA_VISIBLE_DEVICES names them, whatever its stage's environment
    says. Tasks that ask for none have the caller's.

    Args:
        max_workers: most tasks at a time; None: as many as the cores allow, at `resources.cpus` each.
        reason: why this backend was chosen, for people.
        grace_seconds: time that a worker has to end after it was asked to, before it is killed.
        gpus: ids of the GPUs to hand out, as CUDA_VISIBLE_DEVICES takes them; None: those that the caller sees.

    Raises:
        ValueError: max_workers is below 1, or a GPU is named twice.
    """

    name = "local"

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        reason: str = "",
        grace_seconds: float = 5.0,
        gpus: Sequence[str] | None = None,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers: found {max_workers}, expected at least 1")
        self.max_workers = max_workers
        self.reason = reason
        self.grace_seconds = grace_seconds
        self.gpus = visible_gpus() if gpus is None else tuple(gpus)
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError(f"gpus: found {', '.join(self.gpus)}, expected each GPU once")
        self._workers: list[LocalWorker] = []
        self._depth = 0
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._depth == 0:
            self._environment = dict(os.environ)
        self._depth += 1
        return self

    def __exit__(self, *raised: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.close()

    def close(self) -> None:
        """End all workers; a later `run` starts new ones."""
        self._end(list(self._workers))

    def run(self, stage: Stage, *, on_update: OnUpdate | None = None, poll_seconds: float | None = None) -> StageStatus:
        """Run every task of the stage once, however often it ran before, and wait for all.

        Args:
            stage: the tasks. One that runs longer than `resources.minutes` (from when it is handed to a worker) gets
                SIGUSR2, is killed after the grace, and its record says failed by TIMEOUT.
            on_update: called with the status at the start, about every `poll_seconds`, and at the end.
            poll_seconds: 0.2 where None.

        Returns:
            The status in the end: every task is complete, failed or stopped.

        Raises:
            ValueError: a task asks for more GPUs than there are.
            KeyboardInterrupt: passed on, after the tasks have ended and the records say stopped.
        """
        limit = self._limit(stage)
        poll_seconds = 0.2 if poll_seconds is None else poll_seconds
        next_update = time.monotonic()
        keep = self._depth > 0
        with self:
            environment, gpus = stage.task_environment(), stage.resources.gpus
            self._end([worker for worker in self._workers if not (worker.is_idle and worker.fits(environment, gpus))])
            run = LocalRun(stage, self._workers, limit, self._start_worker)
            try:
                while run.is_busy:
                    run.hand_out()
                    if not keep:
                        run.dismiss_idle()
                    if on_update is not None and time.monotonic() >= next_update:
                        on_update(run.status())
                        next_update = time.monotonic() + poll_seconds
                    run.wait(poll_seconds)
            finally:
                run.end(self.grace_seconds)
        status = run.status()
        if on_update is not None:
            on_update(status)
        return status

    def _limit(self, stage: Stage) -> int:
        """Most tasks of the stage at a time."""
        cpus, gpus = stage.resources.cpus, stage.resources.gpus
        if gpus > len(self.gpus):
            raise ValueError(
                f"stage {stage.name}: found {len(self.gpus)} GPUs ({', '.join(self.gpus) or 'none'}), expected at "
                f"least the {gpus} that each task asks for: ask for fewer (`gpus`), or name more in {GPUS_VARIABLE}"
            )
        limit = self.max_workers or max(1, len(os.sched_getaffinity(0)) // cpus)
        by_gpus = len(self.gpus) // gpus if gpus else math.inf
        return int(min(limit, by_gpus, stage.resources.max_parallel or limit))

    def _start_worker(self, stage: Stage, task_id: str, attempt: int) -> LocalWorker:
        taken = {gpu for worker in self._workers for gpu in worker.gpus}
        worker = LocalWorker(
            base=self._environment,
            environment=stage.task_environment(),
            gpus=[gpu for gpu in self.gpus if gpu not in taken][: stage.resources.gpus],
            log=stage.paths.log(task_id, attempt),
            grace_seconds=self.grace_seconds,
        )
        self._workers.append(worker)
        return worker

    def _end(self, workers: Sequence[LocalWorker]) -> None:
        for worker in workers:
            worker.dismiss()
            if worker.task_id is not None:
                worker.terminate()
        deadline = time.monotonic() + self.grace_seconds
        for worker in workers:
            worker.end(max(0.0, deadline - time.monotonic()))
            self._workers.remove(worker)
