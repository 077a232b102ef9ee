import os

import pytest

from fdbpl.slurm.progress import Reporter, report_progress, reporting
from fdbpl.slurm.records import Progress


def test_outside_a_task_nothing_happens() -> None:
    report_progress(1, 2)


def test_reports_in_quick_succession_are_written_once_and_the_last_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("fdbpl.slurm.progress.time.monotonic", lambda: now)
    written: list[Progress] = []
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
    def write(progress: Progress) -> None:
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
