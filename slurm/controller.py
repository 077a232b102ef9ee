"""Questions to Slurm's controller, by its own commands: is it there, how long arrays may be, how jobs are.

Works without accounting: one `squeue` tells the state of all jobs, ended ones too for as long as the
controller remembers them (MinJobAge, five minutes by default).
"""

import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fdbpl.slurm.errors import SlurmError

logger = logging.getLogger(__name__)
T = TypeVar("T")

# What Slurm's commands say of a controller that is away or too busy; other refusals are final.
_TRANSIENT = re.compile(
    r"unable to contact|socket timed out|connection refused|connection timed out|zero bytes were transmitted"
    r"|communication connection failure|temporarily unable|no answer within|connection reset",
    re.IGNORECASE,
)

# In any other state, known or new, a job may still do something.
ENDED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
# States in which a job that had begun waits to begin again.
WAITING = frozenset(["CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"])


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What squeue says of a job or of one element of an array."""

    job: str
    state: str
    reason: str
    nodes: str
    name: str

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def availability(timeout_seconds: float = 5.0) -> tuple[bool, str]:
    """Whether jobs can be submitted from here, and the reason in words."""
    if shutil.which("sbatch") is None:
        return False, "sbatch is not on PATH"
    try:
        answer = ask(["scontrol", "ping"], timeout_seconds)
    except SlurmError as error:
        return False, str(error)
    line = answer.strip().splitlines()[0] if answer.strip() else "scontrol ping said nothing"
    return "is UP" in answer, line


def max_array_size(timeout_seconds: float = 30.0) -> int:
    """The longest array that the cluster takes: its indices are below this number."""
    answer = ask(["scontrol", "show", "config"], timeout_seconds)
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
    if found is None:
        raise SlurmError("scontrol show config names no MaxArraySize; is this Slurm?")
    return int(found.group(1))


def job_states(jobs: Iterable[str], timeout_seconds: float = 60.0) -> dict[str, JobState]:
    """The state of each job that the controller remembers, by id ("12" or "12_3").

    Args:
        jobs: ids; elements of one array are asked for together.
        timeout_seconds: how long to wait for the controller.

    Raises:
        SlurmError: the controller did not answer; nothing is known then.
    """
    arrays = sorted({job.partition("_")[0] for job in jobs}, key=int)
    if not arrays:
        return {}
    command = ["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%N|%j", f"--jobs={','.join(arrays)}"]
    try:
        answer = ask(command, timeout_seconds)
    except SlurmError as error:
        # Asked for a single job that it no longer knows, squeue fails; of several it leaves out the unknown.
        if "Invalid job id" in str(error):
            return {}
        raise
    return parse_job_states(answer)


def parse_job_states(answer: str) -> dict[str, JobState]:
    """The lines of squeue's `%i|%T|%r|%N|%j`, by job id."""
    states = {}
    for line in answer.splitlines():
        job, state, reason, nodes, name = line.strip().split("|", 4)
        states[job] = JobState(job=job, state=state, reason=reason, nodes=nodes, name=name)
    return states


def unfinished_named(name: str, timeout_seconds: float = 60.0) -> list[str]:
    """Ids of the jobs and arrays of that name that have not ended."""
    answer = ask(["squeue", "-h", "-o", "%F", f"--name={name}"], timeout_seconds)
    return sorted(set(answer.split()), key=int)


def cancel(jobs: Iterable[str], *, signal: str = "", waiting_only: bool = False, timeout_seconds: float = 30.0) -> None:
    """End jobs and whole arrays, those that wait and those that run.

    Args:
        jobs: ids, or JOB.0 for what runs in a job.
        signal: only send this to the tasks of those that run (to the whole job, srun would hear a TERM and kill them).
        waiting_only: leave those that run alone.
        timeout_seconds: how long to wait for the controller.

    Raises:
        SlurmError: the controller did not answer. That a job has ended already is no error.
    """
    ids = sorted(set(jobs))
    if not ids:
        return
    options = [f"--signal={signal}"] if signal else ["--state=PENDING"] if waiting_only else []
    try:
        ask(["scancel", *options, *ids], timeout_seconds)
    except SlurmError as error:
        if is_transient(error):
            raise


def set_dependency(job: str, dependency: str, timeout_seconds: float = 30.0) -> None:
    """Let a waiting job or array wait for something else. Raises SlurmError."""
    ask(["scontrol", "update", f"jobid={job}", f"dependency={dependency}"], timeout_seconds)


def release(jobs: Iterable[str], timeout_seconds: float = 30.0) -> None:
    """Let held jobs begin.

    Raises:
        SlurmError: the controller did not answer. That it does not let them is no error: they are seen to wait.
    """
    try:
        ask(["scontrol", "release", *jobs], timeout_seconds)
    except SlurmError as error:
        if is_transient(error):
            raise


def is_transient(error: SlurmError) -> bool:
    """Whether the controller may well answer later."""
    return _TRANSIENT.search(str(error)) is not None


def patiently(
    request: Callable[[], T],
    patience_seconds: float,
    *,
    before_next: Callable[[], None] | None = None,
    first_wait_seconds: float = 1.0,
) -> T:
    """Make a request again while the controller is away, at growing intervals of up to a minute.

    Args:
        before_next: called before the request is made again; may raise a transient error itself.

    Raises:
        SlurmError: a refusal, or still no answer after so long.
    """
    deadline = time.monotonic() + patience_seconds
    wait_seconds = first_wait_seconds
    failed = False
    while True:
        try:
            if failed and before_next is not None:
                before_next()
            return request()
        except SlurmError as error:
            failed = True
            if not is_transient(error) or time.monotonic() + wait_seconds > deadline:
                raise
            logger.warning("Slurm does not answer, trying again in %.0f s: %s", wait_seconds, error)
        time.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, 60.0)


def ask(command: Sequence[str], timeout_seconds: float) -> str:
    """Standard output of one of Slurm's commands.

    Raises:
        SlurmError: it is missing, failed, or took too long.
    """
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise SlurmError(f"{command[0]} is not on PATH; is Slurm installed here?") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{' '.join(command)}: no answer within {timeout_seconds:g} s") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit {done.returncode}"]
        raise SlurmError(f"{' '.join(command)}: {lines[-1]}")
    return done.stdout
