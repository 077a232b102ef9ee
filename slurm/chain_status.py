"""How a chain stands, by its journals, its tasks' records and one `squeue`. Reads only."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fdbpl.slurm.causes import Cause, cause_of
from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.local_driver import local_driver_lives
from fdbpl.slurm.queue import Queue, Seen
from fdbpl.slurm.records import State, TaskRecord
from fdbpl.slurm.status import StageStatus

Standing = Literal["complete", "running", "failed", "stopped", "blocked", "waiting"]


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """How a step stands.

    Attributes:
        step: which.
        total: its tasks, 0 where nobody has asked yet.
        unplaced: missing tasks that no submission holds yet.
        is_finished: nothing is missing, and it is closed.
        tasks: id -> as it is now, of all that were submitted.
        check: the last job that looked or will look after it, or None.
    """

    step: Step
    total: int
    unplaced: int
    is_finished: bool
    tasks: Mapping[str, Seen]
    check: Seen | None
    fatal: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> Counter[State]:
        """Tasks by state; those that were done before anything was submitted count as complete."""
        counts: Counter[State] = Counter(seen.record.state for seen in self.tasks.values())
        counts["pending"] += self.unplaced
        counts["complete"] = max(0, self.total - sum(n for state, n in counts.items() if state != "complete"))
        return counts

    @property
    def lives(self) -> bool:
        """Whether a job of it waits or runs."""
        return (self.check is not None and self.check.lives) or any(seen.lives for seen in self.tasks.values())

    @property
    def standing(self) -> Standing:
        if self.is_finished:
            return "complete"
        if self.lives:
            return "running"
        if self.counts["failed"] or (self.check is not None and self.check.record.state == "failed"):
            return "failed"
        if set(self.causes) == {"blocked"}:
            return "blocked"
        return "stopped" if self.counts["stopped"] else "waiting"

    @cached_property
    def causes(self) -> dict[Cause, list[TaskRecord]]:
        """The tasks that ended badly, by cause, the most frequent first; of a check that did, too."""
        found: dict[Cause, list[TaskRecord]] = {}
        seen = [*self.tasks.values()]
        if self.check is not None and not self.is_finished and not self.counts["failed"]:
            seen.append(self.check)
        for record in (one.record for one in seen if one.record.state in ("failed", "stopped")):
            found.setdefault(cause_of(record.error, self.fatal), []).append(record)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    @property
    def waiting(self) -> str:
        """Slurm's most frequent word for why tasks wait, or ""."""
        reasons = Counter(seen.waiting for seen in self.tasks.values() if seen.waiting)
        return reasons.most_common(1)[0][0] if reasons else ""

    @property
    def stage_status(self) -> StageStatus:
        """The submitted tasks, as a backend tells of a stage."""
        records = {task_id: seen.record for task_id, seen in self.tasks.items()}
        return StageStatus(stage=self.step.name, records=records, waiting=self.waiting)

    def sentence(self) -> str:
        """The counts in words, as in "teach: 12 tasks, 7 complete, 2 running, 3 pending (Resources)"."""
        order: tuple[State, ...] = ("complete", "running", "failed", "stopped", "pending")
        parts = [f"{self.counts[state]} {state}" for state in order if self.counts[state]]
        waiting = f" ({self.waiting})" if self.waiting and self.counts["pending"] else ""
        return f"{self.step.name}: {', '.join([f'{self.total} tasks', *parts])}{waiting}"

    @property
    def rate(self) -> float | None:
        """Units (views, steps) a second, of the tasks that run now together; None where none has told yet."""
        rates = [rate for seen in self.tasks.values() if (rate := _rate(seen.record)) is not None]
        return sum(rates) or None

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None where it is not known. Tasks that have not told are as long as the others."""
        rate = self.rate
        told = [seen.record.progress for seen in self.tasks.values() if seen.record.progress is not None]
        if rate is None or not told:
            return None
        each = sum(progress.total for progress in told) / len(told)
        open_tasks = self.total - self.counts["complete"]
        under_way = sum(
            seen.record.progress.done
            for seen in self.tasks.values()
            if seen.record.progress is not None and seen.record.state == "running"
        )
        return max(0.0, (open_tasks * each - under_way) / rate)


@dataclass(frozen=True, kw_only=True)
class ChainStatus:
    """How a chain stands: its steps in order, and whether a process on this machine is at work on them."""

    steps: tuple[StepStatus, ...]
    has_local_driver: bool = False

    @property
    def standing(self) -> Standing:
        found = {step.standing for step in self.steps}
        # A process that has just begun may not have looked yet for what is missing of a run that was complete.
        if self.has_local_driver:
            return "running"
        if found <= {"complete"}:
            return "complete"
        order: tuple[Standing, ...] = ("running", "failed", "stopped", "blocked", "waiting")
        return next(standing for standing in order if standing in found)

    def step(self, name: str) -> StepStatus:
        return next(status for status in self.steps if status.step.name == name)


def chain_status(chain: Chain, queue: Queue | None = None) -> ChainStatus:
    """How a chain stands now.

    Raises:
        SlurmError: the controller does not answer.
    """
    if queue is None:
        is_closed = all(read_journal(chain.paths(step.name)).is_finished for step in chain.steps)
        # A finished run is told of for ever, wherever its folder lies by then.
        queue = Queue.unasked(chain) if is_closed else Queue(chain)
    steps = tuple(_step_status(chain, step, queue) for step in chain.steps)
    return ChainStatus(steps=steps, has_local_driver=local_driver_lives(chain.folder))


def _step_status(chain: Chain, step: Step, queue: Queue) -> StepStatus:
    journal = queue.journals[step.name]
    checks = list(queue.journals[step.check_name].latest)
    return StepStatus(
        step=step,
        total=journal.total,
        unplaced=journal.unplaced,
        is_finished=journal.is_finished,
        tasks={task_id: queue.see(step.name, task_id) for task_id in journal.latest},
        check=queue.see(step.check_name, checks[-1]) if checks else None,
        fatal=chain.fatal,
    )


def _rate(record: TaskRecord) -> float | None:
    if record.state != "running" or record.progress is None or record.started is None or record.updated is None:
        return None
    seconds = record.updated - record.started
    return record.progress.done / seconds if seconds > 0 and record.progress.done else None
