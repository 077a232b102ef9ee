import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.records import Progress, read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus

MakeStage = Callable[..., Stage]


def lives(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def states(status: StageStatus) -> dict[str, str]:
    return {task_id: record.state for task_id, record in status.records.items()}


def test_tasks_run_and_leave_records_and_logs(make_stage: MakeStage) -> None:
    stage = make_stage("echo", "a", "b", "c")
    status = LocalPool(2).run(stage)
    assert status.is_complete
    assert [record.result for record in status.records.values()] == [
        {"task": task_id, "folder": str(stage.folder)} for task_id in ("a", "b", "c")
    ]
    assert (stage.folder / "records/sample/logs/b.1.log").read_text() == "task b says hello\n"
    assert read_record(stage.paths, "c") == status.records["c"]


def test_no_tasks_are_complete_at_once(make_stage: MakeStage) -> None:
    assert LocalPool(2).run(make_stage("echo")).is_complete


def test_a_worker_takes_several_tasks(make_stage: MakeStage) -> None:
    status = LocalPool(1).run(make_stage("environment", "A", "B", "OMP_NUM_THREADS", environment={"A": "x y'\"$"}))
    results = [record.result or {} for record in status.records.values()]
    assert [result["value"] for result in results] == ["x y'\"$", None, "1"]
    assert len({result["pid"] for result in results}) == 1


@pytest.mark.parametrize(("max_workers", "max_parallel"), [(2, None), (6, 2)])
def test_the_limit_is_reached_and_kept(make_stage: MakeStage, max_workers: int, max_parallel: int | None) -> None:
    stage = make_stage("count_neighbours", *"abcdef", resources=Resources(max_parallel=max_parallel))
    status = LocalPool(max_workers).run(stage)
    assert max((record.result or {})["most"] for record in status.records.values()) == 2


def test_a_failure_stays_alone(make_stage: MakeStage) -> None:
    status = LocalPool(1).run(make_stage("fail_if_bad", "a", "bad", "c"))
    assert states(status) == {"a": "complete", "bad": "failed", "c": "complete"}
    assert status.is_finished and not status.is_complete


def test_a_killed_worker_is_recorded_and_replaced(make_stage: MakeStage) -> None:
    stage = make_stage("die_if_bad", "a", "bad1", "bad2", "d")
    status = LocalPool(1).run(stage)
    assert states(status) == {"a": "complete", "bad1": "failed", "bad2": "failed", "d": "complete"}
    record = status.records["bad1"]
    assert record.exit_status == -9
    assert record.error is not None
    assert record.error.type == "SIGKILL"
    assert record.error.traceback == "last words"
    assert record == read_record(stage.paths, "bad1")
    assert record.started is not None and record.ended is not None


def test_a_death_is_seen_at_once_though_the_pipe_was_closed_before(make_stage: MakeStage) -> None:
    began = time.monotonic()
    record = LocalPool(1).run(make_stage("hang_up_and_die", "a"), poll_seconds=30).records["a"]
    assert time.monotonic() - began < 15
    assert (record.state, record.exit_status) == ("failed", 3)


def test_a_worker_that_cannot_start_ends_its_tasks(make_stage: MakeStage, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "argparse.py").write_text("raise ImportError('no such luck')\n")
    status = LocalPool(2).run(make_stage("echo", "a", "b", "c", environment={"PYTHONPATH": str(broken)}))
    assert states(status) == {"a": "failed", "b": "failed", "c": "failed"}
    record = status.records["c"]
    assert record.error is not None
    assert record.error.type == "exit 1"
    assert record.error.traceback.endswith("ImportError: no such luck")
    assert record.attempt == 1


def test_workers_that_always_stop_are_not_started_for_ever(make_stage: MakeStage, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "argparse.py").write_text("raise SystemExit(75)\n")
    status = LocalPool(1).run(make_stage("echo", "a", "b", environment={"PYTHONPATH": str(broken)}))
    assert states(status) == {"a": "stopped", "b": "stopped"}


def test_a_task_given_to_a_worker_that_ends_goes_to_another(make_stage: MakeStage) -> None:
    stage = make_stage("stop_worker_afterwards", "a", "b", "c")
    status = LocalPool(1).run(stage)
    assert {task_id: (record.state, record.attempt) for task_id, record in status.records.items()} == {
        "a": ("complete", 1),
        "b": ("complete", 1),
        "c": ("complete", 1),
    }


def test_term_to_a_worker_stops_its_task_alone(make_stage: MakeStage) -> None:
    stage = make_stage("wait_for_gate", "a", "b", "c")

    def stop_a(status: StageStatus) -> None:
        first = status.records["a"]
        if first.progress is not None and first.state == "running":
            os.kill(first.pid, signal.SIGTERM)
        if first.state == "stopped":
            (stage.folder / "gate").touch()

    status = LocalPool(2).run(stage, on_update=stop_a, poll_seconds=0.02)
    assert states(status) == {"a": "stopped", "b": "complete", "c": "complete"}


def test_a_worker_that_was_asked_to_stop_takes_no_more_tasks_whatever_its_task_says(make_stage: MakeStage) -> None:
    stage = make_stage("return_when_stopped", "a", "b")

    def stop_a(status: StageStatus) -> None:
        first = status.records["a"]
        if first.progress is not None and first.state == "running":
            os.kill(first.pid, signal.SIGTERM)
        if first.state == "complete":
            (stage.folder / "gate").touch()

    records = LocalPool(1).run(stage, on_update=stop_a, poll_seconds=0.02).records
    assert (records["a"].state, records["a"].result) == ("complete", {"stop": "stopped by SIGTERM"})
    assert (records["b"].state, records["b"].result) == ("complete", {"task": "b"})
    assert records["a"].pid != records["b"].pid


def test_an_interrupt_ends_the_workers_and_the_records_say_stopped(make_stage: MakeStage) -> None:
    stage = make_stage("clean_up_when_stopped", "a", "b", "c")
    seen: list[StageStatus] = []

    def interrupt(status: StageStatus) -> None:
        seen.append(status)
        if status.progress.total == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalPool(2).run(stage, on_update=interrupt, poll_seconds=0.02)
    assert [read_record(stage.paths, task_id).state for task_id in "abc"] == ["stopped", "stopped", "pending"]
    assert not any(lives(record.pid) for record in seen[-1].records.values() if record.pid)
    assert (stage.folder / "cleaned").exists()


def test_a_task_deaf_to_the_interrupt_is_killed_with_its_children(make_stage: MakeStage, cluster_module: Any) -> None:
    stage = make_stage("deaf_with_child", "a")
    with pytest.raises(KeyboardInterrupt):
        LocalPool(1, grace_seconds=0.1).run(stage, on_update=interrupt_when_begun, poll_seconds=0.02)
    record = read_record(stage.paths, "a")
    assert (record.state, record.exit_status) == ("stopped", -9)
    assert not lives(record.pid)
    child = int((stage.folder / "child").read_text())
    cluster_module.wait_until(lambda: not lives(child), "the child is gone", 2)


def interrupt_when_begun(status: StageStatus) -> None:
    if status.progress.total:
        raise KeyboardInterrupt


def test_killing_the_caller_leaves_nothing_running_and_a_new_run_resumes(
    make_stage: MakeStage, samples: Path, cluster_module: Any
) -> None:
    stage = make_stage("wait_for_gate", "a", "b", "c")
    command = [
        sys.executable,
        samples / "run_stage.py",
        stage.environment["PYTHONPATH"],
        "wait_for_gate",
        stage.folder,
        "a",
        "b",
        "c",
    ]
    with subprocess.Popen(command) as caller:
        running = [read_record(stage.paths, task_id) for task_id in "ab"]

        def both_run() -> bool:
            running[:] = [read_record(stage.paths, task_id) for task_id in "ab"]
            return all(record.state == "running" for record in running)

        cluster_module.wait_until(both_run, "two tasks run")
        caller.kill()
    cluster_module.wait_until(lambda: not any(lives(record.pid) for record in running), "the workers are gone")
    assert [read_record(stage.paths, task_id).state for task_id in "abc"] == ["running", "running", "pending"]

    seen: list[StageStatus] = []
    (stage.folder / "gate").touch()
    status = LocalPool(2).run(stage, on_update=seen.append)
    assert states(seen[0]) == {"a": "pending", "b": "pending", "c": "pending"}
    assert status.is_complete
    assert {task_id: record.attempt for task_id, record in status.records.items()} == {"a": 2, "b": 2, "c": 1}


def test_progress_is_seen_while_tasks_run_and_summed(make_stage: MakeStage) -> None:
    stage = make_stage("wait_for_gate", "a", "b")
    seen: list[Progress] = []

    def open_gate(status: StageStatus) -> None:
        seen.append(status.progress)
        if status.progress.total == 8:
            (stage.folder / "gate").touch()

    status = LocalPool(2).run(stage, on_update=open_gate, poll_seconds=0.02)
    assert Progress(done=2, total=8) in seen
    assert status.progress == Progress(done=8, total=8)
    assert status.records["a"].progress == Progress(done=4, total=4, extra={"words": "through the gate"})


def test_the_last_report_is_in_the_final_record(make_stage: MakeStage) -> None:
    status = LocalPool(1).run(make_stage("ten_steps", "a", "b"))
    assert status.progress == Progress(done=20, total=20)


@pytest.mark.parametrize("name", ["two words", 'it\'s "so"', "ü € 漢", "-leading", "$HOME;`ls`", "50% %j"])
def test_any_folder_name_will_do(make_stage: MakeStage, tmp_path: Path, name: str) -> None:
    status = LocalPool(1).run(make_stage("echo", name.replace("/", ""), folder=tmp_path / name))
    assert [record.result for record in status.records.values()] == [{"task": name, "folder": str(tmp_path / name)}]


def test_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="max_workers: found 0"):
        LocalPool(0)
