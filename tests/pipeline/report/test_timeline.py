"""Where the seconds of tasks went, from their records."""

from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.report.timeline import read_timeline
from fdbpl.slurm.journal import Journal, Submission, write_journal
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import TaskRecord, write_record
from fdbpl.slurm.resources import Resources


def submitted(folder: Path, stage: str, when: float, *records: TaskRecord) -> None:
    paths = StagePaths(folder=folder, stage=stage)
    bundles = tuple((record.task_id,) for record in records)
    attempts = {record.task_id: 0 for record in records}
    one = Submission(
        name="x", array="", bundles=bundles, round=1, attempts_before=attempts, resources=Resources(), submitted=when
    )
    write_journal(paths, Journal(total=len(records), submissions=(one,)))
    for record in records:
        write_record(paths, record)


def task(name: str, pid: int, **moments: Any) -> TaskRecord:
    return TaskRecord(task_id=name, state="complete", attempt=1, host="node", pid=pid, **moments)


def test_a_process_starts_once_and_then_waits_for_its_next_task(tmp_path: Path) -> None:
    submitted(
        tmp_path,
        "teach",
        100.0,
        task("a", 1, started=108.0, process_began=105.0, first_report=110.0, ended=120.0),
        task("b", 1, started=121.0, process_began=105.0, first_report=122.0, ended=130.0),
    )
    (stage,) = read_timeline(tmp_path)
    assert [one.parts for one in stage.tasks] == [
        {"queue": 5.0, "start-up": 3.0, "first part": 2.0, "work": 10.0},
        {"queue": 20.0, "start-up": 1.0, "first part": 1.0, "work": 8.0},
    ]
    assert stage.parts == {"queue": 25.0, "start-up": 4.0, "first part": 3.0, "work": 18.0}
    assert stage.span == 22.0


@pytest.mark.parametrize("told", [{}, {"first_report": 300.0}])
def test_records_that_know_less_are_read_as_far_as_they_go(tmp_path: Path, told: dict[str, float]) -> None:
    """No start of the process: the wait is all queue. A clock that is set forward makes no part negative."""
    submitted(tmp_path, "teach", 100.0, task("a", 1, started=110.0, ended=120.0, **told))
    (stage,) = read_timeline(tmp_path)
    parts = {"queue": 10.0, "start-up": 0.0, "first part": 10.0 if told else 0.0, "work": 0.0 if told else 10.0}
    assert stage.parts == parts


def test_stages_stand_in_the_order_in_which_they_began_and_those_that_did_not_are_left_out(tmp_path: Path) -> None:
    submitted(tmp_path, "train-1", 50.0, task("s", 2, started=300.0, ended=310.0))
    submitted(tmp_path, "teach", 50.0, task("t", 1, started=60.0, ended=70.0))
    submitted(tmp_path, "report", 50.0, TaskRecord(task_id="report"))
    assert [stage.name for stage in read_timeline(tmp_path)] == ["teach", "train-1"]
    assert read_timeline(tmp_path / "nothing") == ()
