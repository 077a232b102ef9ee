"""The error of a stage whose tasks did not all complete: causes in words, and the exit code they call for."""

from fdbpl.pipeline.exit_codes import STOPPED, TASKS_FAILED, WRONG_INPUT
from fdbpl.slurm.status import StageStatus

# A task that ends by one of these was given bad input: the command is wrong, not the machine.
_INPUT_ERRORS = {
    "CacheError",
    "DamagedFile",
    "ManifestMismatch",
    "MissingBlocks",
    "NoSuchLabels",
    "NotFinite",
    "UnknownArray",
    "UnreadableImage",
    "UnreadableImages",
    "UnsealedStore",
    "ValueError",
}


class StageFailed(Exception):
    """Some tasks of a stage did not complete; the others did, and their work is kept."""

    def __init__(self, status: StageStatus, command: str) -> None:
        super().__init__(status, command)
        self.status = status
        self.command = command

    @property
    def exit_code(self) -> int:
        kinds = {record.error.type if record.error else "" for record in self.status.unfinished}
        if all(record.state == "stopped" for record in self.status.unfinished):
            return STOPPED
        return WRONG_INPUT if kinds <= _INPUT_ERRORS else TASKS_FAILED

    def __str__(self) -> str:
        """The causes, each once, with the tasks that it hit and where to read more."""
        causes: dict[str, list[str]] = {}
        for record in self.status.unfinished:
            error = record.error
            cause = f"{error.type}: {error.message}" if error else record.state
            causes.setdefault(cause, []).append(f"{record.task_id} (log: {record.log})")
        lines = [self.status.sentence()]
        for cause, tasks in causes.items():
            more = f" and {len(tasks) - 3} more" if len(tasks) > 3 else ""
            lines.append(f"  {', '.join(tasks[:3])}{more}\n    {cause}")
        lines.append(f"what is complete is kept; mend the cause and run again: {self.command}")
        return "\n".join(lines)
