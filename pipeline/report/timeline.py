"""Where the time of a run's tasks went: in the queue, in starting a process, until the first part was done, at work.

A task that was run several times is told of by its last attempt. Records of earlier versions know no start of their
process: then the wait and the start are one.
"""

from dataclasses import dataclass
from pathlib import Path

from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import TaskRecord, read_record

PARTS = ("queue", "start-up", "first part", "work")


@dataclass(frozen=True, kw_only=True)
class TaskTime:
    """Moments of a task, seconds since 1970: `submitted` <= `began` <= `started` <= `first` <= `ended`.

    Attributes:
        device: where it computed, as its result tells; "" where that is not told.
        tells_start, tells_first: whether its record knows when its process began, and when a first part was done.
    """

    task: str
    state: str
    host: str
    attempt: int
    submitted: float
    began: float
    started: float
    first: float
    ended: float
    device: str = ""
    tells_start: bool = True
    tells_first: bool = True

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.ended - self.started

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of each of PARTS."""
        moments = (self.submitted, self.began, self.started, self.first, self.ended)
        return {name: moments[at + 1] - moments[at] for at, name in enumerate(PARTS)}


@dataclass(frozen=True, kw_only=True)
class StageTime:
    name: str
    tasks: tuple[TaskTime, ...]

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of each of PARTS, of all tasks together."""
        return {part: sum(task.parts[part] for task in self.tasks) for part in PARTS}

    def tells(self, part: str) -> bool:
        """Whether any task's record knows of one of PARTS; what is unknown counts to the part before or behind it."""
        if part == "start-up":
            return any(task.tells_start for task in self.tasks)
        return part != "first part" or any(task.tells_first for task in self.tasks)

    @property
    def span(self) -> float:
        """Seconds from the first start to the last end."""
        return max(task.ended for task in self.tasks) - min(task.started for task in self.tasks)


def read_timeline(folder: Path) -> tuple[StageTime, ...]:
    """The stages of a run of which a task has ended, by when they began."""
    stages = []
    for path in sorted((folder / "records").glob("*/jobs.json")):
        paths = StagePaths(folder=folder, stage=path.parent.name)
        latest = read_journal(paths).latest
        records = [(read_record(paths, task), submission.submitted) for task, submission in latest.items()]
        ended = [(record, submitted) for record, submitted in records if record.started and record.ended]
        if ended:
            stages.append(StageTime(name=path.parent.name, tasks=tuple(_times(ended))))
    return tuple(sorted(stages, key=lambda stage: min(task.started for task in stage.tasks)))


def _times(records: list[tuple[TaskRecord, float]]) -> list[TaskTime]:
    found = []
    free: dict[tuple[str, int], float] = {}  # since when each process has had nothing to do
    for record, submitted in sorted(records, key=lambda one: one[0].started or 0.0):
        started, ended = record.started or 0.0, record.ended or 0.0
        process = record.host, record.pid
        began = free.get(process, record.process_began or started)
        submitted = min(submitted or started, started)
        found.append(
            TaskTime(
                task=record.task_id,
                state=record.state,
                host=record.host,
                attempt=record.attempt,
                submitted=submitted,
                # A process that was there before waits for no start.
                began=min(max(began, submitted), started),
                started=started,
                first=min(max(record.first_report or started, started), ended),
                ended=ended,
                device=_device(record),
                tells_start=record.process_began is not None,
                tells_first=record.first_report is not None,
            )
        )
        free[process] = ended
    return found


def _device(record: TaskRecord) -> str:
    """A GPU with its number, where the task was given one."""
    device = str((record.result or {}).get("device", ""))
    return f"{device} (GPU {record.gpu})" if device and device != "cpu" and record.gpu else device
