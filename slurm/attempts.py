"""Which of a step's missing tasks are to be submitted now, and how: for the first time, again with what was learned of
them, or not any more."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fdbpl.slurm.causes import WORDS, Verdict, judge
from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.journal import Submission
from fdbpl.slurm.queue import Queue
from fdbpl.slurm.records import write_record
from fdbpl.slurm.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How a task is to be submitted. Tasks with equal ones can share an array."""

    round: int
    resources: Resources
    excluded: tuple[str, ...] = ()
    reason: tuple[str, str] | None = field(default=None, compare=False)


def next_attempts(
    chain: Chain, queue: Queue, step: Step, tasks: Sequence[str], *, check_of: str, is_decided_here: bool
) -> tuple[dict[str, Attempt], dict[str, str]]:
    """Decide about the missing tasks of a step that no job is at; their ends are written down where they could not.

    Args:
        chain, queue, step: whose.
        tasks: their ids.
        check_of: the step whose check this is; "": a person's command, which begins all rounds anew.
        is_decided_here: whether tasks that have ended are decided about; else by their own step's check.

    Returns:
        Task -> how it is to be submitted, and task -> why it is given up.
    """
    latest = queue.journals[step.name].latest
    wanted: dict[str, Attempt] = {}
    given_up: dict[str, str] = {}
    first = Attempt(round=1, resources=step.resources)
    for task in tasks:
        last = latest.get(task)
        if last is None:
            wanted[task] = first
        elif check_of != step.name and queue.see(step.name, task).record.state == "complete":
            # What it made is not what it would make now, since steps before it have made something new.
            wanted[task] = first
        elif is_decided_here:
            verdict, reason = _judge(chain, queue, step, task, last)
            if not check_of:
                wanted[task] = _anew(step, verdict)
            elif verdict.retry:
                wanted[task] = Attempt(
                    round=last.round + 1, resources=verdict.resources, excluded=verdict.excluded, reason=reason
                )
            else:
                given_up[task] = f"{WORDS[verdict.cause]}: {verdict.reason}"
    return wanted, given_up


def bundled(wanted: Mapping[str, Attempt], per_job: int) -> Iterator[tuple[Attempt, list[tuple[str, ...]]]]:
    """The wanted tasks by what they ask for, in the bundles that jobs are to run."""
    for attempt in dict.fromkeys(wanted.values()):
        tasks = [task for task, other in wanted.items() if other == attempt]
        # A task that failed goes alone, so that it does not take others with it again.
        size = per_job if attempt.round == 1 else 1
        yield attempt, [tuple(tasks[start : start + size]) for start in range(0, len(tasks), size)]


def _judge(
    chain: Chain, queue: Queue, step: Step, task: str, last: Submission
) -> tuple[Verdict, tuple[str, str] | None]:
    """Write the task's end down where its process could not, and decide about it."""
    record = queue.see(step.name, task).record
    if record.is_final:
        write_record(chain.paths(step.name), record)
    state = queue.job_state(last, task) if last.array else None
    verdict = judge(
        # A node's name in Slurm need not be what the machine calls itself, and sbatch takes no other.
        replace(record, host="" if state is None else state.nodes),
        round=last.round,
        resources=last.resources,
        excluded=last.excluded,
        before=last.reasons.get(task),
        rules=chain.profile.retry,
        fatal=chain.fatal,
    )
    return verdict, None if record.error is None else (record.error.type, record.error.message)


def _anew(step: Step, verdict: Verdict) -> Attempt:
    """A person begins the rounds anew; what was learned of memory, time and nodes stays."""
    learned, own = verdict.resources, step.resources
    resources = replace(own, memory_gb=max(learned.memory_gb, own.memory_gb), minutes=max(learned.minutes, own.minutes))
    return Attempt(round=1, resources=resources, excluded=verdict.excluded)
