"""The time limit of local tasks. A kept worker runs them, so that no interpreter's start counts."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.causes import cause_of
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.records import TaskRecord, read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage

MakeStage = Callable[..., Stage]
LIMIT = Resources(minutes=0.01)


def run_limited(make_stage: MakeStage, function: str, task_id: str, grace_seconds: float = 30.0) -> TaskRecord:
    with LocalPool(1, grace_seconds=grace_seconds) as pool:
        pool.run(make_stage("echo", "warm"))
        stage = make_stage(function, task_id, resources=LIMIT)
        record = pool.run(stage, poll_seconds=20).records[task_id]
        assert record == read_record(stage.paths, task_id)
        assert pool.run(make_stage("echo", "after")).is_complete
    return record


@pytest.mark.parametrize(
    ("function", "last_words"),
    [("clean_up_when_stopped", "Stopped: stopped by SIGUSR2"), ("fail_when_stopped", "RuntimeError: a child was")],
)
def test_a_task_over_its_time_is_stopped_in_order(
    make_stage: MakeStage, tmp_path: Path, function: str, last_words: str
) -> None:
    began = time.monotonic()
    record = run_limited(make_stage, function, "a")
    assert time.monotonic() - began < 10
    assert record.state == "failed"
    assert record.error is not None
    assert (record.error.type, cause_of(record.error)) == ("TIMEOUT", "time")
    assert record.error.message.startswith("not done within 0.01 minutes")
    assert last_words in record.error.traceback
    assert record.progress is not None and record.progress.done == 1
    assert (tmp_path / "run/cleaned").exists() == (function == "clean_up_when_stopped")


def test_a_task_that_does_not_listen_is_killed_with_its_whole_session(
    make_stage: MakeStage, tmp_path: Path, cluster_module: Any
) -> None:
    record = run_limited(make_stage, "hang_if_bad", "bad", grace_seconds=0.2)
    assert (record.state, record.exit_status) == ("failed", -9)
    assert record.error is not None
    assert (record.error.type, cause_of(record.error)) == ("TIMEOUT", "time")
    child = Path("/proc", (tmp_path / "run/child").read_text(), "stat")
    cluster_module.wait_until(lambda: not child.exists() or ") Z " in child.read_text(), "the child is gone", 5)


def test_a_task_that_makes_an_end_of_its_own_keeps_it(make_stage: MakeStage) -> None:
    record = run_limited(make_stage, "return_when_stopped", "a")
    assert (record.state, record.result) == ("complete", {"stop": "stopped by SIGUSR2"})


def test_a_worker_that_does_not_come_up_counts_as_the_task(make_stage: MakeStage, tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text(
        "import pathlib, os, signal, time\n"
        "signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path)!r}, f'start-{{os.getpid()}}').touch()\n"
        "time.sleep(60)\n"
    )
    stage = make_stage("echo", "a", resources=Resources(minutes=1 / 60), environment={"PYTHONPATH": str(tmp_path)})
    record = LocalPool(1, grace_seconds=0.1).run(stage).records["a"]
    assert (record.state, record.attempt) == ("failed", 1)
    assert record.error is not None and record.error.type == "TIMEOUT"
    assert len(list(tmp_path.glob("start-*"))) == 1


def test_the_other_tasks_go_on(make_stage: MakeStage) -> None:
    stage = make_stage("hang_if_bad", "bad", "b", "c", resources=Resources(minutes=3 / 60))
    records = LocalPool(1, grace_seconds=0.1).run(stage).records
    assert {task_id: record.state for task_id, record in records.items()} == {
        "bad": "failed",
        "b": "complete",
        "c": "complete",
    }
