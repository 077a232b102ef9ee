"""A chain on this machine: its steps one after another on the local pool, by the same rules and with the same records
and journals as on Slurm. The pool's workers are kept from step to step."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fdbpl.slurm.causes import judge
from fdbpl.slurm.chain import Chain, Step, Todo, load_chain
from fdbpl.slurm.chain_status import ChainStatus, chain_status
from fdbpl.slurm.journal import Submission, read_journal, write_journal
from fdbpl.slurm.local_driver import local_driver
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.records import read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.status import StageStatus
from fdbpl.slurm.stopping import Stopped, stop_signals

OnUpdate = Callable[[StageStatus], None]


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What a task is run with, and the error for which it is run again."""

    resources: Resources
    reason: tuple[str, str] | None = None


def run_here(chain: Chain, pool: LocalPool, *, on_update: OnUpdate | None = None) -> ChainStatus:
    """Run what is missing of a chain, and wait for it.

    Args:
        chain: the steps.
        pool: runs the tasks.
        on_update: called with the tasks of the step that runs, now and then.

    Raises:
        KeyboardInterrupt: passed on, after the workers have ended; also where the process was asked to end by TERM, as
            `cancel_run` does, or by USR2.
        ValueError: another process is at work in this run folder, or a task asks for more GPUs than there are.
    """
    chain.folder.mkdir(parents=True, exist_ok=True)
    failed: set[str] = set()
    with local_driver(chain.folder), _stops_as_interrupt(), pool:
        old = load_chain(chain.folder)
        # Steps of the same run that are not run now stay known to those who ask how it stands.
        (chain.joined(old) if old is not None and old.environment == chain.environment else chain).save()
        for step in chain.steps:
            _note(chain, step, chain.todo(step))
        for step in chain.steps:
            if not failed.intersection(step.after) and not _run_step(chain, step, pool, on_update) and step.needs_all:
                failed.add(step.name)
                failed |= {follower.name for follower in chain.followers(step.name)}
    return chain_status(chain)


@contextmanager
def _stops_as_interrupt() -> Iterator[None]:
    """Let TERM and USR2 end the body as Ctrl-C does: at once, but with everything tidied up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return
    with stop_signals() as signals:
        try:
            with signals.released():
                yield
        except Stopped as stop:
            raise KeyboardInterrupt(str(stop)) from stop


def _run_step(chain: Chain, step: Step, pool: LocalPool, on_update: OnUpdate | None) -> bool:
    """Whether nothing is missing in the end."""
    todo = chain.todo(step)
    wanted = {task: _Wish(resources=step.resources) for task in todo.missing}
    round = 1
    while wanted:
        for resources in dict.fromkeys(wish.resources for wish in wanted.values()):
            tasks = [task for task, wish in wanted.items() if wish.resources == resources]
            reasons = {task: reason for task in tasks if (reason := wanted[task].reason) is not None}
            _note(chain, step, todo, _submission(chain, step, tasks, resources, round, reasons))
            pool.run(chain.stage(step, tasks, resources), on_update=on_update)
        todo = chain.todo(step)
        wanted = _again(chain, step, todo, wanted, round)
        round += 1
        if not todo.missing and not todo.is_finished and round <= chain.profile.retry.rounds:
            todo = _closed(chain, step)
            wanted = {task: _Wish(resources=step.resources) for task in todo.missing}
    if not todo.missing and not todo.is_finished:
        todo = _closed(chain, step)
    _note(chain, step, todo)
    return not todo.missing


def _closed(chain: Chain, step: Step) -> Todo:
    """How far a step is once it has been closed: what that found amiss, it has taken away."""
    chain.finish(step)
    return chain.todo(step)


def _again(chain: Chain, step: Step, todo: Todo, wanted: dict[str, _Wish], round: int) -> dict[str, _Wish]:
    """What of the wanted tasks is tried once more."""
    again = {}
    for task in wanted.keys() & set(todo.missing):
        record = read_record(chain.paths(step.name), task)
        verdict = judge(
            record,
            round=round,
            resources=wanted[task].resources,
            excluded=(),
            before=wanted[task].reason,
            rules=chain.profile.retry,
            fatal=chain.fatal,
        )
        if verdict.retry:
            reason = None if record.error is None else (record.error.type, record.error.message)
            # There is no more memory to ask for on this machine, but less company to share it with.
            alone = replace(wanted[task].resources, max_parallel=1)
            resources = alone if verdict.cause == "memory" else verdict.resources
            again[task] = _Wish(resources=resources, reason=reason)
    return {task: again[task] for task in wanted if task in again}


def _submission(
    chain: Chain, step: Step, tasks: list[str], resources: Resources, round: int, reasons: dict[str, tuple[str, str]]
) -> Submission:
    paths = chain.paths(step.name)
    return Submission(
        name=f"{step.name}-{secrets.token_hex(4)}",
        array="",
        bundles=tuple((task,) for task in tasks),
        round=round,
        attempts_before={task: read_record(paths, task).attempt for task in tasks},
        resources=resources,
        reasons=reasons,
        submitted=time.time(),
    )


def _note(chain: Chain, step: Step, todo: Todo, submission: Submission | None = None) -> None:
    """Keep the step's journal, as `placing` does on Slurm."""
    paths = chain.paths(step.name)
    journal = read_journal(paths)
    if submission is not None:
        journal = journal.with_submission(submission)
    unplaced = sum(task not in journal.latest for task in todo.missing)
    write_journal(paths, replace(journal, total=todo.total, unplaced=unplaced, is_finished=todo.is_finished))
