"""The journal of a stage: what was submitted for it is found again by any process."""

from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.journal import Journal, Submission, read_journal, write_journal
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.resources import Resources


@pytest.fixture
def paths(tmp_path: Path) -> StagePaths:
    return StagePaths(folder=tmp_path, stage="teach")


def submission(name: str, *bundles: tuple[str, ...], **changes: Any) -> Submission:
    values = {
        "name": name,
        "array": "12",
        "bundles": bundles,
        "round": 1,
        "attempts_before": {task: 0 for bundle in bundles for task in bundle},
        "resources": Resources(memory_gb=1.5, max_parallel=2),
        **changes,
    }
    return Submission(**values)


def test_a_journal_is_read_as_it_was_written(paths: StagePaths) -> None:
    first = submission("teach-1", ("a", "b"), ("c",), submitted=17.25)
    second = submission(
        "teach-2", ("c",), array="13", round=2, excluded=("n1", "n2"), reasons={"c": ("KeyError", "no 'x'\n…")}
    )
    journal = Journal(total=4, unplaced=1).with_submission(first).with_submission(second)
    write_journal(paths, journal)
    assert read_journal(paths) == journal
    assert paths.jobs.stat().st_mode & 0o777 == 0o600
    write_journal(paths, Journal(total=4, is_finished=True))
    assert read_journal(paths) == Journal(total=4, is_finished=True)


def test_where_nothing_was_submitted_the_journal_is_empty(paths: StagePaths) -> None:
    assert read_journal(paths) == Journal()


def test_the_latest_submission_of_each_task() -> None:
    first, second = submission("teach-1", ("a", "b"), ("c",)), submission("teach-2", ("c",))
    latest = Journal(submissions=(first, second)).latest
    assert {task: one.name for task, one in latest.items()} == {"a": "teach-1", "b": "teach-1", "c": "teach-2"}


def test_the_job_of_each_task() -> None:
    assert submission("teach-1", ("a", "b"), ("c",)).jobs == {"a": "12_0", "b": "12_0", "c": "12_1"}
    assert submission("teach-2", ("a", "b")).jobs == {"a": "12", "b": "12"}, "one job is no array"
