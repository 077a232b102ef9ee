"""How steps and chains stand, by what is known of their tasks."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.chain_status import ChainStatus, Standing, StepStatus, chain_status
from fdbpl.slurm.journal import Journal, Submission, write_journal
from fdbpl.slurm.json_files import write_json
from fdbpl.slurm.local_driver import local_driver
from fdbpl.slurm.queue import Seen
from fdbpl.slurm.records import Progress, State, TaskError, TaskRecord, write_record
from fdbpl.slurm.resources import Resources


def step(name: str = "teach", **changes: Any) -> Step:
    return Step(**{"name": name, "function": "os:getcwd", "todo": "os:getcwd", **changes})


def seen(state: State, *, lives: bool = False, waiting: str = "", error: str = "", **record: Any) -> Seen:
    wrong = TaskError(type=error, message="") if error else None
    return Seen(record=TaskRecord(task_id="x", state=state, error=wrong, **record), lives=lives, waiting=waiting)


def status(*tasks: Seen, total: int | None = None, **changes: Any) -> StepStatus:
    values = {"unplaced": 0, "is_finished": False, "check": None, **changes}
    named = {str(number): task for number, task in enumerate(tasks)}
    return StepStatus(step=step(), total=len(tasks) if total is None else total, tasks=named, **values)


RUNS = seen("running", lives=True)
QUEUED = seen("pending", lives=True, waiting="Priority")
DONE = seen("complete")
FAILED = seen("failed", error="KeyError")
STOPPED = seen("stopped", error="Stopped")
BLOCKED = Seen(
    record=TaskRecord(task_id="x", state="stopped", error=TaskError(type="CANCELLED", message="(Dependency)")),
    lives=False,
)


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        (status(DONE, is_finished=True), "complete"),
        (status(FAILED, total=9, is_finished=True), "complete"),
        (status(DONE, RUNS), "running"),
        (status(FAILED, QUEUED), "running"),
        (status(DONE, check=QUEUED), "running"),
        (status(DONE, FAILED), "failed"),
        (status(STOPPED, FAILED), "failed"),
        (status(DONE, check=FAILED), "failed"),
        (status(DONE, STOPPED), "stopped"),
        (status(STOPPED, BLOCKED), "stopped"),
        (status(BLOCKED, BLOCKED), "blocked"),
        (status(DONE, check=BLOCKED), "blocked"),
        (status(DONE), "waiting"),
        (status(total=3), "waiting"),
        (status(), "waiting"),
    ],
)
def test_standing_of_a_step(found: StepStatus, standing: Standing) -> None:
    assert found.standing == standing


def test_what_was_done_before_counts_as_complete() -> None:
    found = status(DONE, RUNS, QUEUED, FAILED, STOPPED, total=12, unplaced=2)
    assert found.counts == {"complete": 6, "running": 1, "pending": 3, "failed": 1, "stopped": 1}
    assert found.sentence() == "teach: 12 tasks, 6 complete, 1 running, 1 failed, 1 stopped, 3 pending (Priority)"
    assert status(FAILED, FAILED, total=1).counts["complete"] == 0, "a step may have lost tasks since"
    assert status(total=4, unplaced=4).sentence() == "teach: 4 tasks, 4 pending"


def test_causes_are_told_the_most_frequent_first() -> None:
    found = status(STOPPED, FAILED, seen("failed", error="TypeError"), DONE, RUNS)
    assert {cause: len(records) for cause, records in found.causes.items()} == {"error": 2, "preempted": 1}
    assert list(found.causes) == ["error", "preempted"]
    assert list(status(FAILED, fatal=("KeyError",)).causes) == ["input"]
    check = seen("failed", error="StepFailed")
    assert len(status(DONE, check=check).causes["error"]) == 1, "where only the check has failed, it is told"
    assert status(DONE, check=check, is_finished=True).causes == {}
    assert len(status(FAILED, check=check).causes["error"]) == 1, "that the check failed too says nothing new"


def test_the_most_frequent_reason_to_wait() -> None:
    resources = seen("pending", lives=True, waiting="Resources")
    assert status(QUEUED, resources, resources, RUNS).waiting == "Resources"
    assert status(RUNS).waiting == ""


def at(done: float, seconds: float, total: float = 100, state: State = "running") -> Seen:
    progress = Progress(done=done, total=total)
    return seen(state, lives=state == "running", started=1000.0, updated=1000.0 + seconds, progress=progress)


def test_rate_and_time_left() -> None:
    found = status(at(50, 10), at(10, 10), QUEUED, at(100, 20, state="complete"), total=4)
    assert found.rate == 6
    assert found.seconds_left == (3 * 100 - 60) / 6
    assert status(at(0, 10), at(10, 0)).rate is None, "nothing was done, or no time has passed"
    assert status(at(0, 10)).seconds_left is None
    assert status(RUNS).rate is status(RUNS).seconds_left is None
    assert status(at(100, 20, state="complete"), QUEUED).rate is None


def chain_of(*standings: StepStatus, driver: bool = False) -> Standing:
    return ChainStatus(steps=standings, has_local_driver=driver).standing


def test_standing_of_a_chain() -> None:
    complete, running, failed = status(is_finished=True), status(RUNS), status(FAILED)
    stopped, blocked, waiting = status(STOPPED), status(BLOCKED), status(total=1)
    assert chain_of(complete, complete) == "complete"
    assert chain_of(complete, driver=True) == "running", "it may not have looked yet for what is missing"
    assert chain_of(complete, running, failed) == "running"
    assert chain_of(waiting, blocked, stopped, failed) == "failed"
    assert chain_of(waiting, blocked, stopped) == "stopped"
    assert chain_of(complete, waiting, blocked) == "blocked"
    assert chain_of(complete, waiting) == "waiting"
    assert chain_of(failed, waiting, driver=True) == "running"


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """Three tasks were run by the pool: one is done, one was running, one had not begun; a fourth is not submitted."""
    made = Chain(folder=tmp_path, steps=(step("teach"), step("train", after=("teach",))))
    submission = Submission(
        name="teach-1",
        array="",
        bundles=(("a",), ("b",), ("c",)),
        round=1,
        attempts_before={"a": 0, "b": 0, "c": 1},
        resources=Resources(),
    )
    paths = made.paths("teach")
    write_journal(paths, Journal(total=6, unplaced=1, submissions=(submission,)))
    write_record(paths, TaskRecord(task_id="a", state="complete", attempt=1))
    write_record(paths, TaskRecord(task_id="b", state="running", attempt=1))
    write_record(paths, TaskRecord(task_id="c", state="failed", attempt=1))  # of an earlier run
    return made


def test_a_chain_on_this_machine_while_and_after_it_runs(chain: Chain) -> None:
    with local_driver(chain.folder):
        found = chain_status(chain)
        assert found.has_local_driver
        assert (found.standing, found.step("teach").standing, found.step("train").standing) == (
            "running",
            "running",
            "waiting",
        )
        assert found.step("teach").counts == {"complete": 3, "running": 1, "pending": 2}
    found = chain_status(chain)
    assert (found.standing, found.step("teach").standing) == ("stopped", "stopped")
    assert found.step("teach").counts == {"complete": 3, "stopped": 1, "pending": 2}
    assert list(found.step("teach").causes) == ["lost"]


def test_a_process_that_is_gone_is_not_at_work(chain: Chain) -> None:
    gone = {"host": socket.gethostname(), "pid": os.getpid(), "ticks": "1", "started": 0.0}
    write_json(chain.folder / "records" / "driver.json", gone)
    assert chain_status(chain).standing == "stopped"
