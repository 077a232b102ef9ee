"""How many tasks a job runs in turn, by how long tasks of a step took so far: a job's start costs seconds, a task that
is cut off costs what it had not published."""

import math
import statistics
from functools import cached_property
from pathlib import Path

from fdbpl.pipeline.config import RunConfig, StepName
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.json_files import read_json
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import TaskRecord
from fdbpl.slurm.resources import Resources

# A job that is worth its start, and is not much to lose.
JOB_SECONDS = 600.0
# The part of the time limit that bundled tasks may fill as far as is known.
_FILLED = 0.5


class Sizes:
    """What the records in a run's folder tell of its tasks; each is read once, when first asked."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config

    def per_job(self, step: str, kind: StepName, asked: Resources) -> int:
        """Tasks that a job of a step runs in turn: as the config says; else as many as fill ten minutes and half of the
        time limit at most, and no more than leaves work for all jobs that may run at a time; one where nothing is known
        yet."""
        cluster = self._config.cluster
        own = cluster.steps.get(kind)
        wanted = cluster.per_job if own is None or own.per_job is None else own.per_job
        seconds = self.task_seconds(step)
        if wanted or seconds is None:
            return wanted or 1
        fitting = int(min(JOB_SECONDS, _FILLED * 60 * asked.minutes) / max(seconds, 1e-3))
        total = read_journal(StagePaths(folder=self._config.folder, stage=step)).total
        return max(1, min(fitting, math.ceil(total / (asked.max_parallel or 1))))

    def task_seconds(self, step: str) -> float | None:
        """The median time of the step's tasks that are complete, in seconds; None where there are none."""
        records = self.complete.get(step, [])
        times = [record.ended - record.started for record in records if record.ended and record.started]
        return statistics.median(times) if times else None

    def rate(self, step: str) -> tuple[float | None, str]:
        """Units a second of one task, by the step's complete tasks, and their number in words; (None, "") where there
        are none."""
        records = [one for one in self.complete.get(step, []) if one.progress is not None and one.progress.done]
        units = sum(one.progress.done for one in records if one.progress is not None)
        seconds = sum(one.ended - one.started for one in records if one.ended and one.started)
        return (units / seconds, f"{len(records)} complete tasks") if units and seconds else (None, "")

    @cached_property
    def complete(self) -> dict[str, list[TaskRecord]]:
        """The records of complete tasks, by step."""
        found: dict[str, list[TaskRecord]] = {}
        for path in (self._config.folder / "records").glob("*/*.json"):
            record = _complete(path)
            if record is not None:
                found.setdefault(path.parent.name, []).append(record)
        return found


def _complete(path: Path) -> TaskRecord | None:
    values = read_json(path) or {}
    return TaskRecord.from_json(values) if values.get("state") == "complete" else None
