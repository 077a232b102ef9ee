"""Making Slurm's queue hold what a chain lacks: the one procedure behind `submit`, `retry` and every check.

For each step in order: what is missing is asked of the results; tasks whose jobs live are left to them; the others are
submitted, after the checks of the steps that theirs needs; and a small checking job waits for the end of them all.
Calling it again changes nothing while the jobs live, so it is safe after any interruption.

A check calls it for its own step, whose jobs have ended: it decides about each task that is still missing (again, with
more memory or time or away from a node, or given up), or closes the step. Where tasks are submitted again, a new check
is too, and all that waits for the old one is pointed to the new one. Where a step fails, what waits for it is ended.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fdbpl.slurm.attempts import Attempt, bundled, next_attempts
from fdbpl.slurm.chain import Chain, Step, Todo
from fdbpl.slurm.controller import cancel, patiently, set_dependency
from fdbpl.slurm.errors import SlurmError, StepFailed
from fdbpl.slurm.held import release_held
from fdbpl.slurm.journal import read_journal, write_journal
from fdbpl.slurm.profile import CHECK
from fdbpl.slurm.queue import Queue
from fdbpl.slurm.records import TaskRecord
from fdbpl.slurm.run_lock import deciding
from fdbpl.slurm.submission import PATIENCE_SECONDS, prepare_folders, submit

# Before a check looks again for room in a full queue.
DELAY_SECONDS = 60


@dataclass(kw_only=True)
class Placed:
    """What was done about a step.

    Attributes:
        todo: how far it was.
        submitted: tasks that were submitted now.
        attached: missing tasks that jobs of an earlier call are at.
        given_up: task id -> why.
        is_finished: all is there and the step is closed.
        is_blocked: a step that it needs has failed.
        result: of the step's `finish`, where it was closed now.
        check: the job that looks after it, or "".
    """

    todo: Todo
    submitted: list[str] = field(default_factory=list)
    attached: list[str] = field(default_factory=list)
    given_up: dict[str, str] = field(default_factory=dict)
    is_finished: bool = False
    is_blocked: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    check: str = ""

    @property
    def has_failed(self) -> bool:
        """Nothing goes on, and it is not finished."""
        return not self.is_finished and not self.check


def place(
    chain: Chain, *, check_of: str = "", own_job: str = "", patience_seconds: float = PATIENCE_SECONDS
) -> dict[str, Placed]:
    """Submit what is missing of a chain and is not in the queue.

    Args:
        chain: the steps.
        check_of: the step whose checking job this is; "": a person's command, which begins all rounds anew.
        own_job: the job that this process is.
        patience_seconds: how long a controller that is away is waited for.

    Returns:
        Step -> what was done.

    Raises:
        SlurmError: Slurm refused, or did not answer for so long. What was submitted before that stays.
        ValueError, PermissionError: as `submission.submit`.
    """
    prepare_folders(chain.paths(chain.steps[0].name))
    with deciding(chain.folder):
        placing = _Placing(chain, check_of, own_job, patience_seconds)
        try:
            for step in chain.steps:
                placing.step(step)
        finally:
            placing.note()
        return placing.placed


class _Placing:
    def __init__(self, chain: Chain, check_of: str, own_job: str, patience_seconds: float) -> None:
        self.chain, self.check_of, self.own_job, self.patience_seconds = chain, check_of, own_job, patience_seconds
        self.queue = patiently(lambda: Queue(chain), patience_seconds)
        self._ask(lambda: release_held(self.queue))
        self.placed: dict[str, Placed] = {}
        self._new_checks: set[str] = set()
        living = sum(len(self.queue.living_jobs(stage)) for stage in self.queue.journals)
        # A check for each step is kept room for.
        limit = chain.profile.max_jobs
        self.room = float("inf") if limit is None else limit - living - len(chain.steps)
        if limit is not None and limit <= len(chain.steps):
            raise SlurmError(
                f"max_jobs of the site profile: found {limit}, expected more than {len(chain.steps)}: each step of the "
                "run has a job that looks after it"
            )

    def step(self, step: Step) -> None:
        todo = self.chain.todo(step)
        placed = self.placed[step.name] = Placed(todo=todo, is_finished=todo.is_finished)
        placed.check = next(iter(self.queue.living_jobs(step.check_name, but=self.own_job)), "")
        if not todo.is_finished:
            self._go_on(step, placed)

    def note(self) -> None:
        """Write down how far the steps are: the last ones first, so that whoever looks meanwhile does not take a run
        for complete of which a step has just been closed and a later one begun anew."""
        for name, placed in reversed(self.placed.items()):
            paths = self.chain.paths(name)
            journal = read_journal(paths)
            unplaced = sum(task not in journal.latest for task in placed.todo.missing)
            total = placed.todo.total
            write_journal(paths, replace(journal, total=total, unplaced=unplaced, is_finished=placed.is_finished))

    def _go_on(self, step: Step, placed: Placed) -> None:
        """Submit what is to be submitted, and see to it that a check comes after; or close the step."""
        if any(self._keeps_out(name) for name in step.after):
            placed.is_blocked = True
            self._end(step, placed)
            return
        placed.attached = [task for task in placed.todo.missing if self.queue.lives(step.name, task)]
        is_decided_here = self.check_of in ("", step.name) or self._check_was_lost(step)
        attached = set(placed.attached)
        free = [task for task in placed.todo.missing if task not in attached]
        wanted, placed.given_up = next_attempts(
            self.chain, self.queue, step, free, check_of=self.check_of, is_decided_here=is_decided_here
        )
        if not (is_decided_here or wanted or placed.attached):
            return  # its own check decides, or has decided
        old = {submission.array for submission in self.queue.living_jobs(step.name).values()}
        new = {
            array
            for attempt, bundles in bundled(wanted, step.per_job)
            for array in self._submit(step, attempt, bundles, wanted)
        }
        waits_for_room = len(wanted) > len(placed.submitted)
        if self.check_of == step.name and not (old or new or waits_for_room):
            if not placed.todo.missing:
                self._close(step, placed)
            return
        self._see_to_check(step, placed, old, new, looks_for_room=waits_for_room)

    def _keeps_out(self, name: str) -> bool:
        """Whether a step will never be such that what needs it can begin."""
        before = self.placed[name]
        return before.is_blocked or (before.has_failed and self.chain.step(name).needs_all)

    def _close(self, step: Step, placed: Placed) -> None:
        """Do what closes a step. Where that finds results amiss and takes them away, they are made again."""
        placed.result = self.chain.finish(step)
        placed.todo = self.chain.todo(step)
        placed.is_finished = placed.todo.is_finished
        if placed.todo.missing:
            self._go_on(step, placed)
        elif not placed.is_finished:
            raise RuntimeError(f"{step.finish} has left {step.name} unfinished, though nothing of it is missing")

    def _end(self, step: Step, placed: Placed) -> None:
        """End all jobs of a step, those that look after it first."""
        for stage in (step.check_name, step.name):
            jobs = {submission.array for submission in self.queue.living_jobs(stage, but=self.own_job).values()}
            self._ask(lambda jobs=jobs: cancel(jobs))  # type: ignore[misc]
        placed.check = ""

    def _check_was_lost(self, step: Step) -> bool:
        """Whether the last check of a step died without a decision; not for ever, lest each new one dies too."""
        checks = self.queue.journals[step.check_name].submissions
        lost = 0
        for submission in reversed(checks):
            (task_id,) = submission.attempts_before
            seen = self.queue.see(step.check_name, task_id)
            if seen.lives or seen.record.state == "complete" or _has_decided(seen.record):
                break
            lost += 1
        return 0 < lost < self.chain.profile.retry.rounds

    def _submit(
        self, step: Step, attempt: Attempt, bundles: list[tuple[str, ...]], wanted: dict[str, Attempt]
    ) -> list[str]:
        """The arrays of those bundles that there is room for."""
        bundles = bundles[: max(0, int(min(self.room, len(bundles))))]
        if not bundles:
            return []
        self.room -= len(bundles)
        submissions = submit(
            self.chain.stage(step, resources=attempt.resources),
            bundles,
            self.chain.profile,
            site=step.name,
            round=attempt.round,
            excluded=attempt.excluded,
            reasons={task: reason for task, other in wanted.items() if (reason := other.reason) is not None},
            dependency=self._needs(step),
            patience_seconds=self.patience_seconds,
        )
        self.placed[step.name].submitted += [task for bundle in bundles for task in bundle]
        return [submission.array for submission in submissions]

    # Checks, and what waits for them

    def _needs(self, step: Step, condition: str = "afterok") -> str:
        """The dependency on the checks of what a step needs and is not finished."""
        checks = [self.placed[name].check for name in step.after if not self.placed[name].is_finished]
        checks = [check for check in checks if check]
        return f"{condition}:{':'.join(checks)}" if checks else ""

    def _see_to_check(self, step: Step, placed: Placed, old: set[str], new: set[str], *, looks_for_room: bool) -> None:
        """Let a check come after the arrays, and let all jobs of the step wait for the checks that there are now."""
        ended = f"afterany:{':'.join(sorted(old | new, key=int))}" if old or new else ""
        # After the checks before it however they end: one that is killed is noticed and replaced by the next.
        dependency = ",".join(filter(None, [ended, self._needs(step, "afterany")]))
        moved = self._new_checks.intersection(step.after)
        if moved:
            for array in old:
                self._point(array, self._needs(step))
        if placed.check:
            if moved or new:
                self._point(placed.check, dependency)
            return
        number = 1 + len(read_journal(self.chain.paths(step.check_name)).submissions)
        (check,) = submit(
            self.chain.check_stage(step),
            [(f"{step.name}@{number}",)],
            self.chain.profile,
            site=CHECK,
            round=number,
            dependency=dependency,
            delay_seconds=DELAY_SECONDS if looks_for_room and not dependency else 0,
            patience_seconds=self.patience_seconds,
        )
        placed.check = check.array
        self._new_checks.add(step.name)

    def _point(self, job: str, dependency: str) -> None:
        """Let a job wait for something else, if it waits at all."""
        waits = any(
            name.partition("_")[0] == job and state.state == "PENDING" for name, state in self.queue.states.items()
        )
        if waits:
            self._ask(lambda: set_dependency(job, dependency))

    def _ask(self, request: Callable[[], None]) -> None:
        patiently(request, self.patience_seconds)


def _has_decided(record: TaskRecord) -> bool:
    """A check that failed by its own decision, or that a person has ended."""
    return record.error is not None and record.error.type in (StepFailed.__name__, "CANCELLED")
