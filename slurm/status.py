"""How a stage stands: what a backend tells its caller while it runs, and in the end."""

from collections.abc import Mapping
from dataclasses import dataclass

from fdbpl.slurm.records import Progress, State, TaskRecord


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """A snapshot of a stage.

    Attributes:
        stage: its name.
        records: task id -> record, in the order of the stage's task ids.
        waiting: the scheduler's word for why tasks wait ("Resources", …), or "".
    """

    stage: str
    records: Mapping[str, TaskRecord]
    waiting: str = ""

    def count(self, state: State) -> int:
        return sum(record.state == state for record in self.records.values())

    @property
    def total(self) -> int:
        return len(self.records)

    @property
    def pending(self) -> int:
        return self.count("pending")

    @property
    def running(self) -> int:
        return self.count("running")

    @property
    def complete(self) -> int:
        return self.count("complete")

    @property
    def failed(self) -> int:
        return self.count("failed")

    @property
    def stopped(self) -> int:
        return self.count("stopped")

    @property
    def is_finished(self) -> bool:
        """Whether nothing runs or waits, however it ended."""
        return all(record.is_final for record in self.records.values())

    @property
    def is_complete(self) -> bool:
        return self.complete == self.total

    @property
    def unfinished(self) -> tuple[TaskRecord, ...]:
        """The tasks that failed or were stopped, in order."""
        return tuple(record for record in self.records.values() if record.state in ("failed", "stopped"))

    @property
    def progress(self) -> Progress:
        """Sum over the tasks that have reported; a task that has not yet adds nothing to done or total."""
        reports = [record.progress for record in self.records.values() if record.progress is not None]
        return Progress(done=sum(one.done for one in reports), total=sum(one.total for one in reports))
