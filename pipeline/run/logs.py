"""What a run's tasks have printed: of one task, of those that failed (grouped by cause), or of the latest."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdbpl.pipeline.run.state import CONFIG_VARIABLE, RunState
from fdbpl.pipeline.students.packs import pack_id, packs
from fdbpl.pipeline.students.plan import list_plans, stages
from fdbpl.slurm.causes import WORDS
from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import ChainStatus, StepStatus
from fdbpl.slurm.logs import last_lines
from fdbpl.slurm.records import TaskRecord

# Of each group of failures, and of the tasks that are shown where none was asked for.
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class _Task:
    step: StepStatus
    record: TaskRecord


def task_logs(chain: Chain, status: ChainStatus, task: str, tail: int) -> list[dict[str, Any]]:
    """The last lines of the tasks of that name, in any step, or of STEP:TASK; of the task that trains the student of
    that name where it trains with others.

    Raises:
        ValueError: no such task has begun.
    """
    found = _named(status, task) or _named(status, _pack_of(chain, task))
    if not found:
        known = [one.record.task_id for one in _tasks(status)]
        shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise ValueError(f"found no task {task!r} that was submitted, expected one of: {shown or 'none yet'}")
    return [_log(chain, one, tail) for one in found]


def failed_logs(chain: Chain, status: ChainStatus, tail: int) -> list[dict[str, Any]]:
    """The tasks that ended badly, grouped by step and cause, with some logs of each; what only waited is left out."""
    return [
        {
            "step": step.step.name,
            "cause": cause,
            "words": WORDS[cause],
            "tasks": [record.task_id for record in records],
            "logs": [_log(chain, _Task(step=step, record=record), tail) for record in _kinds(records)],
        }
        for step in status.steps
        for cause, records in step.causes.items()
        if not step.is_finished and cause != "blocked"
    ]


def latest_logs(chain: Chain, status: ChainStatus, tail: int) -> list[dict[str, Any]]:
    """The tasks that have told something last, the latest last."""
    begun = [one for one in _tasks(status) if one.record.log]
    begun.sort(key=lambda one: one.record.updated or 0.0)
    return [_log(chain, one, tail) for one in begun[-SHOWN:]]


def _named(status: ChainStatus, task: str) -> list[_Task]:
    return [one for one in _tasks(status) if task in (one.record.task_id, f"{one.step.step.name}:{one.record.task_id}")]


def _pack_of(chain: Chain, student: str) -> str:
    """The task that trains a student (or, of STEP:STUDENT, STEP:TASK); "" where the run has no such student, or nobody
    has kept its config where it was submitted."""
    if not Path(chain.environment.get(CONFIG_VARIABLE, "")).is_file():
        return ""
    run = RunState(chain.environment)
    step, colon, name = student.rpartition(":")
    for stage in stages(list_plans(run.config)):
        for pack in packs(stage, run.config.cluster, len(run.data.class_names)):
            if name in (plan.id for plan in pack):
                return f"{step}{colon}{pack_id(pack)}"
    return ""


def _kinds(records: list[TaskRecord]) -> list[TaskRecord]:
    """A few records whose errors differ: the first of each error."""
    differing: dict[tuple[str, str] | None, TaskRecord] = {}
    for record in records:
        differing.setdefault((record.error.type, record.error.message) if record.error else None, record)
    return list(differing.values())[:SHOWN]


def _tasks(status: ChainStatus) -> Iterator[_Task]:
    for step in status.steps:
        for seen in step.tasks.values():
            yield _Task(step=step, record=seen.record)
        if step.check is not None:
            yield _Task(step=step, record=step.check.record)


def _log(chain: Chain, task: _Task, tail: int) -> dict[str, Any]:
    record = task.record
    path = chain.folder / record.log if record.log else None
    text = last_lines(path, tail) if path is not None else ""
    return {
        "step": task.step.step.name,
        "task": record.task_id,
        "state": record.state,
        "attempt": record.attempt,
        "host": record.host,
        "job": record.job,
        "log": str(path) if path is not None else None,
        "error": f"{record.error.type}: {record.error.message}" if record.error is not None else None,
        # A killed task's own log may be empty: then what its job wrote.
        "lines": (text or (record.error.traceback if record.error is not None else "")).splitlines()[-tail:],
    }
