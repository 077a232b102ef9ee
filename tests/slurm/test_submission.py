import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.slurm.stage import Stage
from fdbpl.slurm.submission import read_jobs, submit


@pytest.mark.parametrize("name", ["100% %j", "back\\slash", "two\nlines"])
def test_folders_that_slurm_cannot_log_to_are_refused(
    make_stage: Callable[..., Stage], tmp_path: Path, name: str
) -> None:
    stage = make_stage("echo", "a", folder=tmp_path / name)
    with pytest.raises(ValueError, match="where Slurm writes no logs; rename it"):
        submit(stage, {"a": 0}, {})
    assert not (tmp_path / name).exists()


def test_nothing_is_written_into_a_folder_of_somebody_else(
    make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage("echo", "a")
    stage.folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: stage.folder.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="choose a run folder of your own"):
        submit(stage, {"a": 0}, {})
    assert list(stage.folder.iterdir()) == []


def test_a_stage_that_was_never_submitted_has_no_jobs(make_stage: Callable[..., Stage]) -> None:
    assert read_jobs(make_stage("echo", "a").paths) == {}
