from fdbpl.slurm.records import Progress, State, TaskRecord
from fdbpl.slurm.status import StageStatus


def status(*states: State, waiting: str = "") -> StageStatus:
    records = {str(index): TaskRecord(task_id=str(index), state=state) for index, state in enumerate(states)}
    return StageStatus(stage="teach", records=records, waiting=waiting)


def test_counts() -> None:
    seen = status("complete", "complete", "running", "failed", "stopped", "pending")
    assert (seen.total, seen.complete, seen.running, seen.failed, seen.stopped, seen.pending) == (
        6,
        2,
        1,
        1,
        1,
        1,
    )
    assert [record.task_id for record in seen.unfinished] == ["3", "4"]


def test_finished_is_not_complete() -> None:
    assert status("complete", "complete").is_complete
    assert status("complete", "failed").is_finished
    assert not status("complete", "failed").is_complete
    assert not status("complete", "running").is_finished
    assert status().is_complete


def test_progress_is_summed_over_the_tasks_that_report() -> None:
    records = {
        "a": TaskRecord(task_id="a", progress=Progress(done=3, total=10)),
        "b": TaskRecord(task_id="b", progress=Progress(done=10, total=10)),
        "c": TaskRecord(task_id="c"),
    }
    assert StageStatus(stage="teach", records=records).progress == Progress(done=13, total=20)
