import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import Progress, RecordBook, TaskError, TaskRecord, read_record, write_record


@pytest.fixture
def paths(tmp_path: Path) -> StagePaths:
    return StagePaths(folder=tmp_path, stage="teach")


RUNNING = TaskRecord(
    task_id="0.0",
    state="running",
    attempt=2,
    host="n1",
    pid=7,
    started=10.0,
    progress=Progress(done=1, total=4),
)


def test_a_record_is_readable_json(paths: StagePaths) -> None:
    failed = replace(
        RUNNING,
        state="failed",
        ended=12.5,
        error=TaskError(type="ValueError", message="no luck", traceback="Traceback …"),
    )
    assert write_record(paths, failed)
    payload = json.loads((paths.folder / "records/teach/0.0.json").read_text())
    assert payload["format"] == 1
    assert (payload["state"], payload["attempt"], payload["host"]) == ("failed", 2, "n1")
    assert payload["error"] == {"type": "ValueError", "message": "no luck", "traceback": "Traceback …", "bases": []}
    assert payload["progress"] == {"done": 1, "total": 4, "extra": {}}
    assert read_record(paths, "0.0") == failed
    assert [path.name for path in paths.records.iterdir()] == ["0.0.json"]


def test_no_record_means_pending(paths: StagePaths) -> None:
    assert read_record(paths, "0.0") == TaskRecord(task_id="0.0", state="pending", attempt=0)


def test_a_record_cut_by_a_crash_is_taken_as_absent(paths: StagePaths, caplog: pytest.LogCaptureFixture) -> None:
    write_record(paths, RUNNING)
    paths.record("0.0").write_text('{"state": "comp')
    with caplog.at_level(logging.WARNING):
        assert read_record(paths, "0.0").state == "pending"
    assert "not readable JSON" in caplog.text


def test_a_file_that_is_no_record_is_refused(paths: StagePaths) -> None:
    paths.records.mkdir(parents=True)
    paths.record("0.0").write_text('{"state": "done"}')
    with pytest.raises(ValueError, match="expected a task's record"):
        read_record(paths, "0.0")


def test_keys_of_later_versions_are_left_out(paths: StagePaths) -> None:
    assert TaskRecord.from_json({**RUNNING.to_json(), "colour": "red"}) == RUNNING


def test_a_late_copy_does_not_replace_a_newer_attempt(paths: StagePaths) -> None:
    write_record(paths, replace(RUNNING, state="complete"))
    assert not write_record(paths, replace(RUNNING, state="stopped", attempt=1))
    assert read_record(paths, "0.0").state == "complete"
    assert write_record(paths, replace(RUNNING, attempt=3))


def test_a_write_that_fails_leaves_the_old_record_and_no_temporary_file(paths: StagePaths) -> None:
    write_record(paths, RUNNING)
    with pytest.raises(TypeError, match="JSON"):
        write_record(paths, replace(RUNNING, result={"folder": Path()}))
    assert read_record(paths, "0.0") == RUNNING
    assert [path.name for path in paths.records.iterdir()] == ["0.0.json"]


def test_what_an_earlier_run_left_counts_as_pending(paths: StagePaths) -> None:
    write_record(paths, RUNNING)
    book = RecordBook(paths, ["0.0", "1.0"])
    assert book.attempts_before == {"0.0": 2, "1.0": 0}
    assert [record.state for record in book.refresh().values()] == ["pending", "pending"]
    write_record(paths, replace(RUNNING, attempt=3, state="complete"))
    assert [record.state for record in book.refresh().values()] == ["complete", "pending"]


def test_closing_keeps_what_the_task_has_told(paths: StagePaths) -> None:
    book = RecordBook(paths, ["0.0"])
    write_record(paths, replace(RUNNING, attempt=1, gpu="3"))
    ending = TaskRecord(task_id="0.0", state="failed", ended=20.0, error=TaskError(type="SIGKILL", message="died"))
    closed = book.close("0.0", ending)
    assert closed == read_record(paths, "0.0")
    assert (closed.state, closed.attempt, closed.host, closed.started) == ("failed", 1, "n1", 10.0)
    assert closed.progress == Progress(done=1, total=4)
    assert closed.gpu == "3"


def test_closing_replaces_a_final_record_that_is_no_last_word(paths: StagePaths) -> None:
    book = RecordBook(paths, ["0.0"])
    ending = TaskRecord(task_id="0.0", state="failed", error=TaskError(type="TIMEOUT", message="too long"))
    write_record(paths, replace(RUNNING, attempt=1, state="stopped"))
    assert book.close("0.0", ending, replacing=("stopped",)).error == ending.error
    write_record(paths, replace(RUNNING, attempt=1, state="complete"))
    assert book.close("0.0", ending, replacing=("stopped",)).state == "complete"


def test_closing_a_task_that_never_began_counts_the_attempt(paths: StagePaths) -> None:
    write_record(paths, RUNNING)
    book = RecordBook(paths, ["0.0"])
    assert book.close("0.0", TaskRecord(task_id="0.0", state="failed")).attempt == 3
    assert read_record(paths, "0.0").state == "failed"


def test_closing_does_not_undo_a_final_record(paths: StagePaths) -> None:
    book = RecordBook(paths, ["0.0"])
    write_record(paths, replace(RUNNING, attempt=1, state="complete"))
    assert book.close("0.0", TaskRecord(task_id="0.0", state="failed")).state == "complete"
    assert read_record(paths, "0.0").state == "complete"
