"""Sending a chain to Slurm, waiting for it, and ending it."""

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fdbpl.slurm.chain import Chain, load_chain
from fdbpl.slurm.chain_status import ChainStatus, chain_status
from fdbpl.slurm.controller import cancel, job_states, patiently
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.held import release_held
from fdbpl.slurm.journal import write_journal
from fdbpl.slurm.local_driver import local_driver_pid
from fdbpl.slurm.placing import Placed, place
from fdbpl.slurm.queue import Queue
from fdbpl.slurm.run_lock import deciding
from fdbpl.slurm.status import StageStatus
from fdbpl.slurm.submission import prepare_folders

logger = logging.getLogger(__name__)
OnUpdate = Callable[[StageStatus], None]

# A person waits for a controller that is away no longer than this.
PATIENCE_SECONDS = 60.0


def start(chain: Chain, *, patience_seconds: float = PATIENCE_SECONDS) -> dict[str, Placed]:
    """Submit what is missing of a chain; what is queued or running already is attached to.

    Raises:
        ValueError: jobs of the same run folder, but of another config, are at work.
        SlurmError: Slurm refused, or does not answer.
        PermissionError: the run folder is somebody else's.
    """
    prepare_folders(chain.paths(chain.steps[0].name))
    with deciding(chain.folder):
        old = load_chain(chain.folder)
        if old is not None:
            arrays = sorted(living_arrays(old, patience_seconds), key=int)
            if arrays and old.environment != chain.environment:
                raise ValueError(
                    f"jobs of another config are at work in {chain.folder} ({', '.join(arrays)}), expected none: wait "
                    "for them, end them (`fdbpl cancel`; what is done is kept), or use another folder for this run"
                )
            chain = chain.joined(old) if arrays else chain
        chain.save()
    return place(chain, patience_seconds=patience_seconds)


def living_arrays(chain: Chain, patience_seconds: float = PATIENCE_SECONDS) -> set[str]:
    """Job ids of all arrays of a chain that wait or run."""
    queue = patiently(lambda: Queue(chain), patience_seconds)
    return {one.array for stage in queue.journals for one in queue.living_jobs(stage).values()}


def watch(
    chain: Chain,
    *,
    on_update: OnUpdate | None = None,
    poll_seconds: float = 1.0,
    squeue_seconds: float = 10.0,
    settle_seconds: float = 5.0,
    silence_seconds: float = 600.0,
) -> ChainStatus:
    """Wait until nothing of a chain waits or runs any more. Jobs that Slurm could not launch and holds are released.

    Args:
        on_update: called with each step's tasks at each look, for steps that have any.
        poll_seconds: between two looks at the records.
        squeue_seconds: least time between two questions to the controller.
        settle_seconds: how long a record may be in coming after its job has ended (file servers lag).
        silence_seconds: how long the controller may be silent.

    Raises:
        SlurmError: it was silent for longer; the jobs go on.
        KeyboardInterrupt: passed on; the jobs go on.
    """
    queue: Queue | None = None
    answered = time.monotonic()
    ended: float | None = None
    released: Counter[str] = Counter()
    while True:
        try:
            fresh = queue is None or time.monotonic() - answered >= squeue_seconds
            queue = Queue(chain, before=None if fresh else queue)
            if fresh:
                answered = time.monotonic()
                release_held(queue, released)
        except SlurmError as error:
            silence = time.monotonic() - answered
            logger.warning("Slurm has not answered for %.0f s: %s", silence, error)
            if queue is None or silence > silence_seconds:
                raise
        status = chain_status(chain, queue)
        if on_update is not None:
            for step in status.steps:
                if step.tasks:
                    on_update(step.stage_status)
        if status.standing == "running":
            ended = None
        elif status.standing == "complete" or (ended is not None and time.monotonic() - ended >= settle_seconds):
            return status
        elif ended is None:
            ended, queue = time.monotonic(), None
        time.sleep(poll_seconds)


def cancel_run(folder: Path, *, grace_seconds: float = 3.0) -> list[str]:
    """End everything of a run, checks first, so that nothing is submitted any more; the ids of what was ended.

    What does not end within the grace after being told to is killed.

    Raises:
        SlurmError: the controller does not answer.
        ValueError: nothing was ever submitted here.
        TimeoutError: something is still there, and is named.
    """
    chain = load_chain(folder)
    if chain is None:
        raise ValueError(f"found no run in {folder}, expected a run folder with records/chain.json")
    ended = []
    pid = local_driver_pid(folder)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        ended.append(f"process {pid}")
    queue = patiently(lambda: Queue(chain), PATIENCE_SECONDS)
    checks = {one.array for step in chain.steps for one in queue.living_jobs(step.check_name).values()}
    _end(checks, grace_seconds)
    # A check that was just deciding may have submitted more; it is gone now, and the lock is free.
    with deciding(chain.folder, wait_seconds=grace_seconds + 2):
        arrays = _note_cancelled(chain, checks)
        _end(arrays, grace_seconds)
    ended += sorted(checks | arrays, key=int)
    _wait_for_driver(folder, pid, grace_seconds)
    return ended


def _note_cancelled(chain: Chain, ended: set[str]) -> set[str]:
    """Write down which jobs have been ended and which are about to be; the arrays of these."""
    queue = patiently(lambda: Queue(chain), PATIENCE_SECONDS)
    arrays = set()
    for stage, journal in queue.journals.items():
        living = queue.living_jobs(stage)
        jobs = (*living, *(one.array for one in journal.submissions if one.array in ended))
        if jobs:
            write_journal(chain.paths(stage), replace(journal, cancelled=jobs))
        arrays |= {submission.array for submission in living.values()}
    return arrays


def _end(jobs: set[str], grace_seconds: float) -> None:
    """End jobs and wait until their processes have ended.

    Slurm's own way gives a process that does not listen half a minute or more (KillWait), and a job that is being ended
    so takes no signal any more. So what runs is told to stop first, then its steps are killed, and only then the jobs
    are ended.
    """
    patiently(lambda: cancel(jobs, waiting_only=True), PATIENCE_SECONDS)
    patiently(lambda: cancel(jobs, signal="TERM"), PATIENCE_SECONDS)
    asked = time.monotonic()
    killed = False
    while left := patiently(lambda: _left(jobs), PATIENCE_SECONDS):
        if time.monotonic() - asked > grace_seconds and not killed:
            killed = True
            steps = [f"{job}.0" for job in left]
            patiently(lambda steps=steps: cancel(steps, signal="KILL"), PATIENCE_SECONDS)  # type: ignore[misc]
            patiently(lambda: cancel(jobs), PATIENCE_SECONDS)
        if time.monotonic() - asked > 10 * grace_seconds:
            raise TimeoutError(f"still there after {10 * grace_seconds:.0f} s: {', '.join(left)}")
        time.sleep(0.1)


def _left(arrays: set[str]) -> list[str]:
    """The jobs of these arrays whose processes have not all ended."""
    return [job for job, state in job_states(arrays).items() if not state.has_ended]


def _wait_for_driver(folder: Path, pid: int | None, grace_seconds: float) -> None:
    """Wait until the process that runs the tasks here has ended; after the grace it is killed, and its workers die."""
    asked = time.monotonic()
    killed = False
    while pid is not None and local_driver_pid(folder) == pid:
        if time.monotonic() - asked > grace_seconds and not killed:
            killed = True
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() - asked > 10 * grace_seconds:
            raise TimeoutError(f"still there after {10 * grace_seconds:.0f} s: process {pid}")
        time.sleep(0.1)
