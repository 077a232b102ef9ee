"""The error of a step whose tasks did not all complete: causes in words, and the exit code they call for."""

from fdbpl.pipeline.exit_codes import STOPPED, TASKS_FAILED, WRONG_INPUT
from fdbpl.slurm.chain_status import StepStatus
from fdbpl.slurm.records import TaskRecord


class StageFailed(Exception):
    """Some tasks of a step did not complete; the others did, and their work is kept."""

    def __init__(self, status: StepStatus, command: str) -> None:
        super().__init__(status, command)
        self.status = status
        self.command = command

    @property
    def unfinished(self) -> tuple[TaskRecord, ...]:
        """The records of the tasks that ended badly; of the check that closes the step, where only that did."""
        return tuple(record for records in self.status.causes.values() for record in records)

    @property
    def exit_code(self) -> int:
        if self.unfinished and all(record.state == "stopped" for record in self.unfinished):
            return STOPPED
        return WRONG_INPUT if set(self.status.causes) == {"input"} else TASKS_FAILED

    def __str__(self) -> str:
        """The causes, each once, with the tasks that it hit and where to read more."""
        causes: dict[str, list[str]] = {}
        for record in self.unfinished:
            error = record.error
            cause = f"{error.type}: {error.message}" if error else record.state
            causes.setdefault(cause, []).append(f"{record.task_id} (log: {record.log})")
        lines = [self.status.sentence()]
        for cause, tasks in causes.items():
            more = f" and {len(tasks) - 3} more" if len(tasks) > 3 else ""
            lines.append(f"  {', '.join(tasks[:3])}{more}\n    {cause}")
        lines.append(f"what is complete is kept; mend the cause and run again: {self.command}")
        return "\n".join(lines)
