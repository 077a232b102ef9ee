"""The Slurm backend: a stage's tasks as job arrays.

Two sources tell how a task is: its record (the truth about what was done) and one `squeue` for all jobs
(whether anything still runs). A task ends when its record says so, or when its job has ended, or is unknown
to Slurm, and no final record has come: then this side writes the record, with Slurm's state and the last
lines of the log. So a dead task never hangs the caller. The jobs belong to Slurm: a caller that is
interrupted or killed leaves them running, and the next run of the stage attaches to those that live instead
of submitting them again.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fdbpl.slurm.controller import WAITING, JobState, job_states
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.local_pool import OnUpdate
from fdbpl.slurm.logs import last_lines
from fdbpl.slurm.records import RecordBook, TaskError, TaskRecord
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus
from fdbpl.slurm.submission import SubmittedTask, read_jobs, submit

logger = logging.getLogger(__name__)


class SlurmArray:
    """Runs stages on a Slurm cluster.

    Args:
        parameters: for submitit's AutoExecutor: `slurm_partition`, `slurm_account`, `slurm_qos`, `slurm_setup`
            (script lines), `slurm_python`, `slurm_additional_parameters`, …; they win over the stage's resources.
        reason: why this backend was chosen, for people.
        squeue_seconds: least time between two questions to the controller.
        settle_seconds: how long a record may be in coming after its job has ended (file servers lag).
        silence_seconds: how long the controller may be silent before `run` gives up.
    """

    name = "slurm"

    def __init__(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        reason: str = "",
        squeue_seconds: float = 10.0,
        settle_seconds: float = 5.0,
        silence_seconds: float = 600.0,
    ) -> None:
        self.parameters = {} if parameters is None else dict(parameters)
        self.reason = reason
        self.squeue_seconds = squeue_seconds
        self.settle_seconds = settle_seconds
        self.silence_seconds = silence_seconds

    def run(self, stage: Stage, *, on_update: OnUpdate | None = None, poll_seconds: float | None = None) -> StageStatus:
        """Run every task of the stage once and wait for all; tasks whose jobs still live are only waited for.

        Args:
            stage: the tasks.
            on_update: called with the status after each look at the records.
            poll_seconds: time between two looks at the records; 1 where None.

        Returns:
            The status in the end: every task is complete, failed or stopped.

        Raises:
            SlurmError: Slurm refused the tasks, or was silent for too long; the jobs go on.
            KeyboardInterrupt: passed on; the jobs go on.
            ValueError: jobs of another function still live for this stage, or a parameter is unknown.
        """
        poll_seconds = 1.0 if poll_seconds is None else poll_seconds
        watch = _Watch(self, stage, self._place(stage))
        while True:
            status = watch.look()
            if on_update is not None:
                on_update(status)
            if status.is_finished:
                return status
            time.sleep(poll_seconds)

    def _place(self, stage: Stage) -> dict[str, SubmittedTask]:
        """The job of each task: one that lives, or a new one."""
        placed = _living_jobs(stage)
        missing = [task_id for task_id in stage.task_ids if task_id not in placed]
        if placed:
            logger.info("%s: attached to %d tasks that are queued or running", stage.name, len(placed))
        if missing:
            before = RecordBook(stage.paths, missing).attempts_before
            placed |= submit(stage, before, self.parameters)
        return placed


def _living_jobs(stage: Stage) -> dict[str, SubmittedTask]:
    known = {task: job for task, job in read_jobs(stage.paths).items() if task in stage.task_ids}
    states = job_states(job.job for job in known.values())
    living = {task: job for task, job in known.items() if _lives(job, states)}
    others = sorted({job.function for job in living.values()} - {stage.function})
    if others:
        numbers = sorted({job.job.partition("_")[0] for job in living.values()}, key=int)
        raise ValueError(
            f"stage {stage.name} of {stage.folder}: jobs that run {others[0]} are still queued or running, "
            f"expected {stage.function}; wait for them or end them: scancel {' '.join(numbers)}"
        )
    return living


def _lives(job: SubmittedTask, states: Mapping[str, JobState]) -> bool:
    state = _state_of(job, states)
    return state is not None and not state.has_ended


def _state_of(job: SubmittedTask, states: Mapping[str, JobState]) -> JobState | None:
    """The job's state; None where Slurm has forgotten it, though its number may be another job's by now."""
    state = states.get(job.job)
    return state if state is not None and state.name == job.name else None


class _Watch:
    """What one run knows of its tasks."""

    def __init__(self, backend: SlurmArray, stage: Stage, jobs: Mapping[str, SubmittedTask]) -> None:
        self._backend = backend
        self._stage = stage
        self._jobs = jobs
        before = {task_id: job.attempts_before for task_id, job in jobs.items()}
        self._book = RecordBook(stage.paths, stage.task_ids, before)
        self._states: dict[str, JobState] = {}
        self._asked = float("-inf")
        self._answered = time.monotonic()
        self._ended: dict[str, float] = {}

    def look(self) -> StageStatus:
        """Ask Slurm where it is time, then read the records, and end the tasks whose jobs are gone."""
        # In this order: a job that is seen to have ended has written its record before.
        is_news = time.monotonic() - self._asked >= self._backend.squeue_seconds and self._ask()
        records = self._book.refresh()
        if is_news:
            for task_id, record in records.items():
                if not record.is_final:
                    self._end_if_gone(task_id)
        shown = {task_id: self._seen(task_id, record) for task_id, record in records.items()}
        return StageStatus(stage=self._stage.name, records=shown, waiting=self._waiting(shown))

    def _ask(self) -> bool:
        try:
            self._states = job_states(job.job for job in self._jobs.values())
        except SlurmError as error:
            silence = time.monotonic() - self._answered
            logger.warning("Slurm has not answered for %.0f s: %s", silence, error)
            if silence > self._backend.silence_seconds:
                raise
            return False
        finally:
            # After the answer: a controller that is away keeps squeue waiting, and the records wait with it.
            self._asked = time.monotonic()
        self._answered = self._asked
        return True

    def _end_if_gone(self, task_id: str) -> None:
        if _lives(self._jobs[task_id], self._states):
            self._ended.pop(task_id, None)
            return
        since = self._ended.setdefault(task_id, self._answered)
        if self._answered - since >= self._backend.settle_seconds:
            self._book.close(task_id, self._ending(task_id))

    def _ending(self, task_id: str) -> TaskRecord:
        paths, job, now = self._stage.paths, self._jobs[task_id], time.time()
        found = _state_of(job, self._states)
        state = "VANISHED" if found is None else found.state
        said = "no longer knows" if found is None else f"says {found.state} ({found.reason}) of"
        record = self._book.read(task_id)
        logs = [paths.slurm_log(job.job), *([paths.folder / record.log] if record.log else [])]
        return TaskRecord(
            task_id=task_id,
            # Somebody has cancelled the job: no fault of the task, which is resumed by a new run.
            state="stopped" if state == "CANCELLED" else "failed",
            host="" if found is None else found.nodes,
            ended=now,
            updated=now,
            error=TaskError(
                type=state,
                message=f"Slurm {said} job {job.job}, and the task left no final record; see {paths.relative(logs[0])}",
                traceback="\n".join(text for text in map(last_lines, logs) if text),
            ),
            log=paths.relative(logs[0]),
            job=job.job,
        )

    def _seen(self, task_id: str, record: TaskRecord) -> TaskRecord:
        """The record as it is shown: a task that Slurm has put back into the queue is pending again."""
        state = _state_of(self._jobs[task_id], self._states)
        if state is None or state.has_ended or record.state not in ("running", "stopped"):
            return record
        if state.state in WAITING:
            return replace(record, state="pending")
        # A stopped task whose job still lives may yet be requeued.
        return replace(record, state="running")

    def _waiting(self, records: Mapping[str, TaskRecord]) -> str:
        reasons: Counter[str] = Counter()
        for task_id, record in records.items():
            state = _state_of(self._jobs[task_id], self._states)
            if record.state == "pending" and state is not None and state.reason not in ("", "None"):
                reasons[state.reason] += 1
        return reasons.most_common(1)[0][0] if reasons else ""
