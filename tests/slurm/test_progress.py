import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.progress import Reporter, report_progress, reporting
from fdbpl.slurm.records import Progress, TaskRecord, read_record
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.stopping import stop_signals
from fdbpl.slurm.tasks import run_task

BEAT = "fdbpl.slurm.progress.SECONDS_BETWEEN_HEARTBEATS"


def test_outside_a_task_nothing_happens() -> None:
    report_progress(1, 2)


def test_reports_in_quick_succession_are_written_once_and_the_last_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("fdbpl.slurm.progress.time.monotonic", lambda: now)
    written: list[Progress | None] = []
    reporter = Reporter(written.append)
    with reporting(reporter):
        report_progress(1, 10)
        report_progress(2, 10)
        now = 100.4
        report_progress(3, 10)
        now = 100.6
        report_progress(4, 10, views=40)
        report_progress(5, 10)
    report_progress(6, 10)
    assert written == [Progress(done=1, total=10), Progress(done=4, total=10, extra={"views": 40})]
    assert reporter.latest == Progress(done=5, total=10)


def test_a_full_disk_does_not_end_the_task(caplog: pytest.LogCaptureFixture) -> None:
    def write(progress: Progress | None) -> None:
        raise OSError(28, "No space left on device")

    with reporting(Reporter(write)):
        report_progress(1, 10)
    assert "No space left on device" in caplog.text


def test_a_forked_child_writes_nothing() -> None:
    read, write = os.pipe()
    with reporting(Reporter(lambda progress: os.write(write, b"x"))):
        child = os.fork()
        if child == 0:
            report_progress(1, 10)
            os._exit(0)
        os.waitpid(child, 0)
        report_progress(2, 10)
    os.close(write)
    assert os.read(read, 10) == b"x"
    os.close(read)


def run_here(stage: Stage, monkeypatch: pytest.MonkeyPatch, samples: Path) -> TaskRecord:
    monkeypatch.syspath_prepend(str(samples))
    with stop_signals() as signals:
        run_task(stage.call(stage.task_ids[0]), signals)
    return read_record(stage.paths, stage.task_ids[0])


def test_a_task_that_tells_nothing_shows_that_it_lives(
    make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    monkeypatch.setattr(BEAT, 0.02)
    record = run_here(make_stage("wait_for_sign_of_life", "a"), monkeypatch, samples)
    assert record.result is not None and record.result["state"] == "running"
    assert record.result["updated"] > record.started


def test_a_heartbeat_tells_the_report_that_came_too_soon_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BEAT, 0.02)
    told: list[Progress | None] = []
    was_told = threading.Event()

    def write(progress: Progress | None) -> None:
        told.append(progress)
        if progress == Progress(done=2, total=10):
            was_told.set()

    reporter = Reporter(write)
    with reporting(reporter), reporter.heartbeat():
        report_progress(1, 10)
        report_progress(2, 10)
        assert was_told.wait(10)
    assert told[0] == Progress(done=1, total=10)


def test_a_report_waits_for_a_heartbeat_that_is_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BEAT, 0.01)
    written: list[Progress | None] = []
    beat_began = threading.Event()

    def write(progress: Progress | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            beat_began.set()
            time.sleep(0.1)
        written.append(progress)

    reporter = Reporter(write)
    with reporting(reporter), reporter.heartbeat():
        assert beat_began.wait(10)
        report_progress(1, 10)
        reporter.close()
    assert written[0] is None
    assert written[1:] and all(progress == Progress(done=1, total=10) for progress in written[1:])


def test_nothing_is_written_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat that has begun is waited for, one that begins later is left out: the final record stays."""
    monkeypatch.setattr(BEAT, 0.01)
    written: list[float] = []
    beat_began = threading.Event()

    def write(progress: Progress | None) -> None:
        beat_began.set()
        time.sleep(0.05)
        written.append(time.monotonic())

    reporter = Reporter(write)
    with reporter.heartbeat():
        assert beat_began.wait(10)
        reporter.close()
        closed = time.monotonic()
        time.sleep(0.2)
    assert written and max(written) <= closed


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("no record")])
def test_heartbeats_that_cannot_be_written_do_not_disturb_the_task(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(BEAT, 0.01)
    tries: list[Any] = []
    tried_twice = threading.Event()

    def write(progress: Progress | None) -> None:
        tries.append(progress)
        if len(tries) == 2:
            tried_twice.set()
        raise error

    with Reporter(write).heartbeat():
        assert tried_twice.wait(10)
    assert str(error) in caplog.text


def test_the_first_part_that_is_done_has_a_time(
    make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    before, stage = time.time(), make_stage("wait_for_gate", "a")
    stage.paths.folder.mkdir(exist_ok=True)
    (stage.paths.folder / "gate").touch()
    record = run_here(stage, monkeypatch, samples)
    assert record.process_began is not None and record.process_began < before
    assert record.started is not None and record.ended is not None and record.first_report is not None
    assert before <= record.started <= record.first_report <= record.ended
