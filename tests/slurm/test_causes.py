"""Why tasks ended badly, told by their records, and what is done about each."""

from typing import Any

import pytest

from fdbpl.slurm.causes import WORDS, Cause, Verdict, cause_of, judge
from fdbpl.slurm.profile import RetryRules
from fdbpl.slurm.records import TaskError, TaskRecord
from fdbpl.slurm.resources import Resources

ASKED = Resources(memory_gb=4, minutes=60)


def error(kind: str, message: str = "", output: str = "", bases: tuple[str, ...] = ()) -> TaskError:
    return TaskError(type=kind, message=message, traceback=output, bases=bases)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (error("OUT_OF_MEMORY"), "memory"),
        (error("MemoryError"), "memory"),
        (error("OutOfMemoryError", bases=("RuntimeError",)), "memory"),
        (error("OutOfHostMemory", bases=("MemoryError", "Exception")), "memory"),
        (error("SIGKILL"), "memory"),
        (error("FAILED", output="slurmstepd: error: Detected 1 oom_kill event in StepId=7.0"), "memory"),
        (error("FAILED", output="slurmstepd: error: Exceeded job memory limit"), "memory"),
        (error("exit 1", output="OSError: [Errno 12] Cannot allocate memory"), "memory"),
        (error("SIGABRT", output="terminate: CUDA out of memory"), "memory"),
        (error("TIMEOUT"), "time"),
        (error("DEADLINE"), "time"),
        (error("Stopped", message="stopped by SIGUSR2"), "time"),
        (error("FAILED", output="error: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***"), "time"),
        (error("VANISHED", output="error: *** STEP 7.0 ON n1 CANCELLED AT 2026 DUE TO NODE FAILURE ***"), "node"),
        (error("NODE_FAIL"), "node"),
        (error("BOOT_FAIL"), "node"),
        (error("LAUNCH_FAILED"), "node"),
        (error("PREEMPTED"), "preempted"),
        (error("Stopped", message="stopped by SIGTERM"), "preempted"),
        (error("SIGTERM", output="error: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO PREEMPTION ***"), "preempted"),
        (error("CANCELLED"), "cancelled"),
        (error("REVOKED"), "cancelled"),
        (error("VANISHED", output="error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***"), "cancelled"),
        (error("CANCELLED", message="Slurm says CANCELLED (DependencyNeverSatisfied) of job 7"), "blocked"),
        (error("WrongInput"), "input"),
        (error("Sharper", bases=("WrongInput", "Exception")), "input"),
        (error("RuntimeError", output="… out of memory …"), "error"),
        (error("FAILED"), "died"),
        (error("SIGSEGV"), "died"),
        (error("exit 3", output="Traceback"), "died"),
        (error("VANISHED"), "lost"),
        (None, "unknown"),
    ],
    ids=lambda value: value.type if isinstance(value, TaskError) else None,
)
def test_causes(found: TaskError | None, cause: Cause) -> None:
    assert cause_of(found, ("WrongInput",)) == cause


def test_every_cause_has_words() -> None:
    assert all(WORDS.values())
    assert set(WORDS) == set(Cause.__args__)  # type: ignore[attr-defined]  # a Literal has its values there


def decide(found: TaskError | None, *, rules: dict[str, Any] | None = None, **changes: Any) -> Verdict:
    record = TaskRecord(task_id="a", state="failed", host="n1", error=found)
    given: dict[str, Any] = {"round": 1, "resources": ASKED, "excluded": (), "before": None, **changes}
    return judge(record, rules=RetryRules.model_validate(rules or {}), fatal=("WrongInput",), **given)


@pytest.mark.parametrize("kind", ["OUT_OF_MEMORY", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "RuntimeError", "SIGSEGV"])
def test_most_are_tried_again_until_the_rounds_are_used_up(kind: str) -> None:
    assert decide(error(kind), round=2).retry
    last = decide(error(kind), round=3)
    assert (last.retry, last.reason) == (False, "submitted 3 times")
    assert decide(error(kind), round=3, rules={"rounds": 4}).retry


def test_what_only_waited_is_not_given_up() -> None:
    assert decide(error("CANCELLED", message="(Dependency)"), round=9).retry


@pytest.mark.parametrize(
    ("kind", "reason"), [("WrongInput", "no second run mends it"), ("CANCELLED", "somebody has cancelled it")]
)
def test_what_no_second_run_mends_is_given_up_at_once(kind: str, reason: str) -> None:
    verdict = decide(error(kind))
    assert (verdict.retry, verdict.reason) == (False, reason)


def test_the_same_error_twice_is_enough() -> None:
    verdict = decide(error("KeyError", "x"), round=2, before=("KeyError", "x"))
    assert (verdict.retry, verdict.reason) == (False, "the same error twice")
    assert decide(error("KeyError", "y"), round=2, before=("KeyError", "x")).retry
    assert decide(error("SIGSEGV", "x"), round=2, before=("SIGSEGV", "x")).retry, "a death may have been bad luck"


@pytest.mark.parametrize(("limit", "wanted"), [(None, 12.0), (8, 8.0), (2, 4.0)])
def test_out_of_memory_asks_for_more_but_never_for_less(limit: float | None, wanted: float) -> None:
    verdict = decide(error("OUT_OF_MEMORY"), rules={"memory_factor": 3, "max_memory_gb": limit})
    assert verdict.resources == Resources(memory_gb=wanted, minutes=60)


@pytest.mark.parametrize(("limit", "wanted"), [(None, 90.0), (75, 75.0), (30, 60.0)])
def test_a_time_limit_asks_for_more_but_never_for_less(limit: float | None, wanted: float) -> None:
    verdict = decide(error("TIMEOUT"), rules={"time_factor": 1.5, "max_minutes": limit})
    assert verdict.resources == Resources(memory_gb=4, minutes=wanted)


def test_a_failed_node_is_kept_away_from() -> None:
    assert decide(error("NODE_FAIL"), excluded=("n0",)).excluded == ("n0", "n1")
    assert decide(error("NODE_FAIL"), excluded=("n1",)).excluded == ("n1",)
    assert decide(error("NODE_FAIL"), excluded=("a", "b"), rules={"max_excluded": 2}).excluded == ("b", "n1")
    assert decide(error("NODE_FAIL"), excluded=("a",), rules={"max_excluded": 0}).excluded == ()
    assert decide(error("NODE_FAIL"), rules={"exclude_failed_nodes": False}).excluded == ()
    assert decide(error("SIGSEGV")).excluded == ()


def test_nothing_else_changes_what_is_asked_for() -> None:
    for kind in ("PREEMPTED", "RuntimeError", "SIGSEGV", "VANISHED"):
        verdict = decide(error(kind), excluded=("n0",))
        assert (verdict.resources, verdict.excluded) == (ASKED, ("n0",))
