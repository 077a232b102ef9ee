import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.records import TaskRecord, read_record
from fdbpl.slurm.stage import Stage


def start(stage: Stage, task_id: str) -> subprocess.Popen[bytes]:
    call = stage.call(task_id)
    command = [
        sys.executable,
        "-m",
        "fdbpl.slurm.worker",
        "--",
        call.function,
        call.folder,
        call.stage,
        task_id,
    ]
    return subprocess.Popen(command, env={**os.environ, **stage.task_environment()})


def run(stage: Stage, task_id: str) -> tuple[int, TaskRecord]:
    return start(stage, task_id).wait(), read_record(stage.paths, task_id)


@pytest.mark.parametrize("task_id", ["0.0", "-x", "--serve", "a b", 'it\'s "so"', "$HOME; ls", "ü/ö", "..", "\n"])
def test_a_task_that_returns_is_complete(make_stage: Callable[..., Stage], tmp_path: Path, task_id: str) -> None:
    folder = tmp_path / '-a folder\'s "name" ü'
    code, record = run(make_stage("echo", task_id, folder=folder), task_id)
    assert (code, record.state, record.attempt) == (0, "complete", 1)
    assert record.result == {"task": task_id, "folder": str(folder)}
    assert record.started is not None and record.ended is not None and record.started <= record.ended
    assert (folder / record.log).read_text() == f"task {task_id} says hello\n"


def test_each_attempt_has_a_log_of_its_own(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage("echo", "a")
    run(stage, "a")
    code, record = run(stage, "a")
    assert (code, record.attempt, record.log) == (0, 2, "records/sample/logs/a.2.log")
    assert (stage.folder / "records/sample/logs/a.1.log").exists()


def test_a_task_may_return_nothing(make_stage: Callable[..., Stage]) -> None:
    code, record = run(make_stage("nothing", "a"), "a")
    assert (code, record.state, record.result) == (0, "complete", None)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("fail_if_bad", "ValueError", "no luck with bad"),
        ("exit_if_bad", "SystemExit", "giving up"),
        ("return_number", "TypeError", "returned int, expected a dict"),
        ("return_path", "TypeError", "returned what JSON cannot hold"),
        ("not_there", "AttributeError", "not_there"),
    ],
)
def test_a_task_that_raises_is_failed(
    make_stage: Callable[..., Stage], function: str, error: str, message: str
) -> None:
    stage = make_stage(function, "bad")
    code, record = run(stage, "bad")
    assert (code, record.state) == (1, "failed")
    assert record.error is not None
    assert record.error.type == error
    assert message in record.error.message
    assert record.error.traceback.startswith("Traceback (most recent call last)")
    assert record.error.traceback in (stage.folder / record.log).read_text()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_stops_the_task_in_order(
    make_stage: Callable[..., Stage], cluster_module: Any, signum: signal.Signals
) -> None:
    stage = make_stage("clean_up_when_stopped", "a")
    process = start(stage, "a")
    cluster_module.wait_until(lambda: read_record(stage.paths, "a").progress is not None, "the task has begun")
    process.send_signal(signum)
    assert process.wait() == 75
    record = read_record(stage.paths, "a")
    assert record.state == "stopped"
    assert record.error is not None
    assert record.error.type == ("KeyboardInterrupt" if signum == signal.SIGINT else "Stopped")
    assert record.progress is not None and (record.progress.done, record.progress.total) == (1, 4)
    assert (stage.folder / "cleaned").exists()


def test_an_error_that_a_signal_brings_about_counts_as_stopped(
    make_stage: Callable[..., Stage], cluster_module: Any
) -> None:
    stage = make_stage("fail_when_stopped", "a")
    process = start(stage, "a")
    cluster_module.wait_until(lambda: read_record(stage.paths, "a").progress is not None, "the task has begun")
    process.terminate()
    assert process.wait() == 75
    record = read_record(stage.paths, "a")
    assert record.state == "stopped"
    assert record.error is not None and record.error.message == "a child was killed"


def test_wrong_arguments_are_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "fdbpl.slurm.worker", "a:b"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "found 1 arguments, expected four" in done.stderr
