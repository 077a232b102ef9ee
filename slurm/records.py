"""The record of a task: a small JSON file that says how far it is and how it ended.

Records are the truth about tasks, never exit codes, pickles or the scheduler's word. The process that runs a
task writes its record; the caller writes it only for a task that died without a last word. A record is
replaced whole. `attempt` counts the runs of a task, and a record of an older attempt never replaces that of a
newer one, so a late copy of a task (after a network partition, say) does not undo the news.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.paths import StagePaths

State = Literal["pending", "running", "complete", "failed", "stopped"]
STATES: tuple[State, ...] = ("pending", "running", "complete", "failed", "stopped")
FINAL: tuple[State, ...] = ("complete", "failed", "stopped")


@dataclass(frozen=True, kw_only=True)
class TaskError:
    """Why a task ended badly.

    Attributes:
        type: the exception's class; for a death, the signal ("SIGKILL"), "exit 3", or Slurm's state
        ("TIMEOUT"). message: one sentence or the exception's text. traceback: the exception's traceback; for
        a death, the last lines of the log. bases: the names of the exception's base classes, up to Exception.
    """

    type: str
    message: str
    traceback: str = ""
    bases: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> "TaskError":
        return cls(**{**payload, "bases": tuple(payload.get("bases", ()))})


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How much of a task, or of a stage, is done, in units of the task's own choosing."""

    done: float = 0
    total: float = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """State of one task.

    Attributes:
        state: pending, running, complete, failed, or stopped (by a signal; to be resumed).
        attempt: 1 for the first run; 0 while the task has never started.
        host, pid: where it runs or ran.
        started, ended, updated: seconds since 1970, UTC; a task that runs renews `updated` every 25 s.
        process_began: when the process began that runs it, maybe after others. None in records of earlier versions.
        first_report: when the task first told of a part that was done, or None.
        result: what the function returned.
        error: set where the state is failed or stopped.
        progress: the last that the task reported, or None.
        log: the task's output, relative to the run folder.
        job: the Slurm job ("12_3"), or None.
        exit_status: of a worker process that died under a local task (-9: by signal 9), or None.
        gpu: the CUDA_VISIBLE_DEVICES that the task ran with, or "".
    """

    task_id: str
    state: State = "pending"
    attempt: int = 0
    host: str = ""
    pid: int = 0
    started: float | None = None
    ended: float | None = None
    updated: float | None = None
    process_began: float | None = None
    first_report: float | None = None
    result: dict[str, Any] | None = None
    error: TaskError | None = None
    progress: Progress | None = None
    log: str = ""
    job: str | None = None
    exit_status: int | None = None
    gpu: str = ""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def to_json(self) -> dict[str, Any]:
        return {"format": 1, **asdict(self)}

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> "TaskRecord":
        """The record in `payload`; keys that a later version may have added are left out.

        Raises:
            ValueError: the payload is no record.
        """
        known = {name: payload[name] for name in cls.__dataclass_fields__ if name in payload}
        if "task_id" not in known or known.get("state") not in STATES:
            raise ValueError(f"found {dict(payload)!r}, expected a task's record with task_id and state")
        if known.get("error") is not None:
            known["error"] = TaskError.from_json(known["error"])
        if known.get("progress") is not None:
            known["progress"] = Progress(**known["progress"])
        return cls(**known)


def read_record(paths: StagePaths, task_id: str) -> TaskRecord:
    """The task's record; a pending one of attempt 0 where there is none."""
    payload = read_json(paths.record(task_id))
    return TaskRecord(task_id=task_id) if payload is None else TaskRecord.from_json(payload)


def write_record(paths: StagePaths, record: TaskRecord) -> bool:
    """Write the record, unless one of a newer attempt is there. A final state waits for the disk.

    Returns:
        Whether it was written.
    """
    if read_record(paths, record.task_id).attempt > record.attempt:
        return False
    path = paths.record(record.task_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record.to_json(), durable=record.is_final)
    return True


class RecordBook:
    """The records of a stage's tasks as of one run: what an earlier run left counts as pending.

    `refresh` reads again only what may still change, so watching 5,000 tasks costs one failed open each
    for those that wait.
    """

    def __init__(
        self, paths: StagePaths, task_ids: Iterable[str], attempts_before: Mapping[str, int] | None = None
    ) -> None:
        self.paths = paths
        task_ids = tuple(task_ids)
        before = {} if attempts_before is None else attempts_before
        self.attempts_before = {
            task_id: before[task_id] if task_id in before else read_record(paths, task_id).attempt
            for task_id in task_ids
        }
        self.records = {task_id: self._unstarted(task_id) for task_id in task_ids}

    def refresh(self) -> dict[str, TaskRecord]:
        """The records, those that have not come to a lasting end read anew ('stopped' may be requeued)."""
        for task_id, record in self.records.items():
            if record.state not in ("complete", "failed"):
                self.records[task_id] = self.read(task_id)
        return self.records

    def read(self, task_id: str) -> TaskRecord:
        record = read_record(self.paths, task_id)
        return record if record.attempt > self.attempts_before[task_id] else self._unstarted(task_id)

    def close(self, task_id: str, ending: TaskRecord, *, replacing: Collection[State] = ()) -> TaskRecord:
        """End a task that cannot write its record any more: as given, unless it did leave a final one.

        Args:
            task_id, ending: of the task.
            replacing: final states that are no last word.
        """
        found = self.read(task_id)
        if not found.is_final or found.state in replacing:
            attempt = max(found.attempt, self.attempts_before[task_id] + 1)
            found = replace(
                ending,
                attempt=attempt,
                host=found.host or ending.host,
                pid=found.pid or ending.pid,
                started=found.started,
                progress=found.progress,
                log=found.log or ending.log,
                job=found.job or ending.job,
                gpu=found.gpu or ending.gpu,
            )
            write_record(self.paths, found)
        self.records[task_id] = found
        return found

    def _unstarted(self, task_id: str) -> TaskRecord:
        return TaskRecord(task_id=task_id, attempt=self.attempts_before[task_id])
