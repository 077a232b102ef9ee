"""Why a task ended badly, as one of a few causes, and what is to be done about each.

Told by the record alone: the exception's class, Slurm's state of the job, and what Slurm wrote into the job's output.
Only some sites tell of an out-of-memory kill by its own state; all write it into the output.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from fdbpl.slurm.profile import RetryRules
from fdbpl.slurm.records import TaskError, TaskRecord
from fdbpl.slurm.resources import Resources

Cause = Literal[
    "memory", "time", "node", "preempted", "cancelled", "blocked", "input", "error", "died", "lost", "unknown"
]

WORDS: dict[Cause, str] = {
    "memory": "out of memory",
    "time": "time limit",
    "node": "node failure",
    "preempted": "preempted or shut down",
    "cancelled": "cancelled",
    "blocked": "what it waited for ended badly",
    "input": "wrong input",
    "error": "error",
    "died": "killed",
    "lost": "lost: its job is gone without a word",
    "unknown": "unknown",
}

_BY_STATE: dict[str, Cause] = {
    "OUT_OF_MEMORY": "memory",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "LAUNCH_FAILED": "node",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "VANISHED": "lost",
}
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")
_BY_OUTPUT: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    (
        "memory",
        re.compile(r"oom[-_ ]?kill|exceeded \w+ memory limit|out of memory|cannot allocate memory", re.I),
    ),
    ("time", re.compile(r"DUE TO TIME LIMIT")),
    ("node", re.compile(r"DUE TO NODE FAILURE")),
    ("preempted", re.compile(r"DUE TO PREEMPTION")),
    ("cancelled", re.compile(r"CANCELLED AT \S+ \*\*\*")),
)


def cause_of(error: TaskError | None, fatal: Collection[str] = ()) -> Cause:
    """The cause of a bad end.

    Args:
        error: of the task's record.
        fatal: exceptions (or bases of them) that say the input is wrong.
    """
    if error is None:
        return "unknown"
    names = {error.type, *error.bases}
    if names.intersection(_OUT_OF_MEMORY):
        return "memory"
    if names.intersection(fatal):
        return "input"
    if error.type == "CANCELLED" and "Depend" in error.message:
        return "blocked"
    if error.type == "Stopped":
        return "time" if "SIGUSR2" in error.message else "preempted"
    if error.type in ("FAILED", "VANISHED") or error.type.startswith(("SIG", "exit ")):
        said = next((cause for cause, pattern in _BY_OUTPUT if pattern.search(error.traceback)), None)
        if said is not None:
            return said
        if error.type == "SIGKILL":
            return "memory"  # most often: the kernel kills so where memory ends
        return _BY_STATE.get(error.type, "died")
    return _BY_STATE.get(error.type, "error")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is done about a task.

    Attributes:
        retry: whether it is submitted again.
        cause: why it ended.
        resources: to ask for.
        excluded: nodes to keep away from.
        reason: why it is given up, or "".
    """

    retry: bool
    cause: Cause
    resources: Resources
    excluded: tuple[str, ...]
    reason: str = ""


def judge(
    record: TaskRecord,
    *,
    round: int,
    resources: Resources,
    excluded: tuple[str, ...],
    before: tuple[str, str] | None,
    rules: RetryRules,
    fatal: Collection[str],
) -> Verdict:
    """Decide about a task that is still to be done after a submission of it ended.

    Args:
        record: of its last attempt.
        round, resources, excluded: of the submission that ended.
        before: (type, message) of the error for which it had been submitted again.
        rules: of the site.
        fatal: as of `cause_of`.
    """
    cause = cause_of(record.error, fatal)
    reason = ""
    if cause == "input":
        reason = "no second run mends it"
    elif cause == "cancelled":
        reason = "somebody has cancelled it"
    elif cause == "error" and record.error is not None and before == (record.error.type, record.error.message):
        reason = "the same error twice"
    elif round >= rules.rounds and cause != "blocked":
        reason = f"submitted {round} times"
    if cause == "memory":
        wanted = min(resources.memory_gb * rules.memory_factor, rules.max_memory_gb or float("inf"))
        resources = replace(resources, memory_gb=max(wanted, resources.memory_gb))
    elif cause == "time":
        minutes = min(resources.minutes * rules.time_factor, rules.max_minutes or float("inf"))
        resources = replace(resources, minutes=max(minutes, resources.minutes))
    elif cause == "node" and rules.exclude_failed_nodes and record.host:
        excluded = tuple(dict.fromkeys((*excluded, record.host)))[-rules.max_excluded :] if rules.max_excluded else ()
    return Verdict(retry=not reason, cause=cause, resources=resources, excluded=excluded, reason=reason)
