"""What Slurm, or the local pool, has of a chain's tasks: each task's record as it is to be seen now.

A record is what a task's own process wrote. It may be out of date: the process was killed, its node died, its job was
put back into the queue. So the record is shown beside what `squeue` says of its job; one question for all jobs.
Accounting is never asked: what a record, `squeue` and the job's own output do not say is not known.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.controller import WAITING, JobState, job_states
from fdbpl.slurm.journal import Journal, Submission, read_journal
from fdbpl.slurm.local_driver import local_driver_lives
from fdbpl.slurm.logs import last_lines
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import TaskError, TaskRecord, read_record


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A task as it is now.

    Attributes:
        record: the task's record, with the state that it has in truth, and the reason where its job is gone.
        lives: whether a job (or the local pool) will still run it or runs it.
        waiting: Slurm's word for why it waits, or "".
    """

    record: TaskRecord
    lives: bool
    waiting: str = ""


class Queue:
    """The jobs of a chain at one moment.

    Args:
        chain: whose.
        before: of a moment ago: what Slurm said then is taken, unless there are other jobs to ask about now.

    Raises:
        SlurmError: the controller does not answer, and there are jobs to ask it about.
    """

    def __init__(self, chain: Chain, *, before: "Queue | None" = None) -> None:
        self._chain = chain
        self.journals: Mapping[str, Journal] = _journals(chain)
        self._asked = {
            submission.array
            for journal in self.journals.values()
            for submission in set_of_latest(journal)
            if submission.array
        }
        is_known = before is not None and before._asked == self._asked
        self.states: Mapping[str, JobState] = before.states if before and is_known else job_states(self._asked)
        self._local_lives = local_driver_lives(chain.folder)

    @classmethod
    def unasked(cls, chain: Chain) -> "Queue":
        """As the records alone have it, for when the controller is silent: jobs are taken to live."""
        queue = cls.__new__(cls)
        queue._chain, queue._asked, queue._local_lives = chain, set(), local_driver_lives(chain.folder)
        queue.journals = _journals(chain)
        queue.states = {
            job: JobState(job=job, state="UNKNOWN", reason="", nodes="", name=submission.name)
            for journal in queue.journals.values()
            for submission in set_of_latest(journal)
            for job in submission.jobs.values()
        }
        return queue

    def job_state(self, submission: Submission, task_id: str) -> JobState | None:
        """The task's job; None where Slurm has forgotten it, though its number may be another job's by now."""
        state = self.states.get(submission.jobs[task_id])
        return state if state is not None and state.name == submission.name else None

    def lives(self, stage: str, task_id: str) -> bool:
        """Whether the task's last submission is still in the queue or running."""
        submission = self.journals[stage].latest.get(task_id)
        if submission is None:
            return False
        if not submission.array:
            return self._local_lives
        state = self.job_state(submission, task_id)
        return state is not None and not state.has_ended

    def living_jobs(self, stage: str, *, but: str = "") -> dict[str, Submission]:
        """Job -> its submission, for each job of the stage that lives, but for one."""
        return {
            submission.jobs[task_id]: submission
            for task_id, submission in self.journals[stage].latest.items()
            if submission.array and submission.jobs[task_id] != but and self.lives(stage, task_id)
        }

    def held_jobs(self) -> list[str]:
        """Jobs that wait for a person's word since Slurm could not launch them."""
        jobs = [job for stage in self.journals for job in self.living_jobs(stage)]
        return [job for job in jobs if self.states[job].reason.replace("_", " ") == "launch failed requeued held"]

    def see(self, stage: str, task_id: str) -> Seen:
        """The task as it is now. A task that was never submitted is pending and does not live."""
        submission = self.journals[stage].latest.get(task_id)
        paths = self._chain.paths(stage)
        if submission is None:
            return Seen(record=TaskRecord(task_id=task_id), lives=False)
        record = read_record(paths, task_id)
        if record.attempt <= submission.attempts_before[task_id]:
            record = TaskRecord(task_id=task_id, attempt=submission.attempts_before[task_id])
        if record.state in ("complete", "failed"):
            return Seen(record=record, lives=False)
        lives = self.lives(stage, task_id)
        state = self.job_state(submission, task_id) if submission.array else None
        if not lives:
            record = self._ended(paths, record, submission, state)
            if submission.jobs[task_id] in self.journals[stage].cancelled:
                record = _cancelled(record)
            return Seen(record=record, lives=False)
        if state is not None and state.state in WAITING:
            reason = "" if state.reason == "None" else state.reason
            return Seen(record=replace(record, state="pending"), lives=True, waiting=reason)
        # A stopped task whose job still lives may yet be requeued.
        shown = "running" if record.state == "stopped" else record.state
        return Seen(record=replace(record, state=shown), lives=True)

    def _ended(
        self, paths: StagePaths, record: TaskRecord, submission: Submission, state: JobState | None
    ) -> TaskRecord:
        """The record of a task whose job is gone: its own last word, or what is known of its end."""
        if not submission.array:
            return _left_by_the_pool(record)
        if record.state == "stopped":
            return _stopped_for(record, state)
        job = submission.jobs[record.task_id]
        found = "VANISHED" if state is None else state.state
        said = "no longer knows" if state is None else f"says {state.state} ({state.reason}) of"
        logs = [paths.slurm_log(job), *([paths.folder / record.log] if record.log else [])]
        # Its bundle's job ended before it began: nothing is wrong with the task itself.
        unbegun = "" if record.state == "running" else ", before the task began"
        return replace(
            record,
            state="stopped" if found == "CANCELLED" else "failed",
            attempt=max(record.attempt, submission.attempts_before[record.task_id] + 1),
            host=record.host or ("" if state is None else state.nodes),
            ended=record.updated or time.time(),
            error=TaskError(
                type=found,
                message=f"Slurm {said} job {job}{unbegun}, and the task left no final record; see "
                f"{paths.relative(logs[0])}",
                traceback="\n".join(text for text in map(last_lines, logs) if text),
            ),
            log=record.log or paths.relative(logs[0]),
            job=job,
        )


def _journals(chain: Chain) -> dict[str, Journal]:
    stages = [name for step in chain.steps for name in (step.name, step.check_name)]
    return {name: read_journal(chain.paths(name)) for name in stages}


def set_of_latest(journal: Journal) -> list[Submission]:
    """The submissions that are the last one of some task."""
    return list({id(submission): submission for submission in journal.latest.values()}.values())


def _stopped_for(record: TaskRecord, state: JobState | None) -> TaskRecord:
    """A task that was told to stop and did: why, as far as Slurm still knows."""
    if state is None or record.error is None or state.state not in ("CANCELLED", "PREEMPTED", "NODE_FAIL", "TIMEOUT"):
        return record
    return replace(record, error=replace(record.error, type=state.state))


def _cancelled(record: TaskRecord) -> TaskRecord:
    """A task that ended because a person has ended the run: Slurm may tell of it as of any other death."""
    if record.error is None:
        return record
    error = replace(record.error, type="CANCELLED", message="the run was cancelled")
    return replace(record, state="stopped", error=error)


def _left_by_the_pool(record: TaskRecord) -> TaskRecord:
    if record.state not in ("running", "pending"):
        return record
    message = "the process that ran the tasks here has ended"
    error = None if record.state == "pending" else TaskError(type="VANISHED", message=message)
    return replace(record, state="pending" if error is None else "stopped", error=error)
