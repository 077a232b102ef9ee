import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.profile import Profile
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.submission import submit

MakeStage = Callable[..., Stage]


def send(stage: Stage) -> None:
    submit(stage, [(task,) for task in stage.task_ids], Profile(), site=stage.name, round=1)


@pytest.mark.parametrize("name", ["100% %j", "back\\slash", "two\nlines"])
def test_folders_that_slurm_cannot_log_to_are_refused(make_stage: MakeStage, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="where Slurm writes no logs; rename it"):
        send(make_stage("echo", "a", folder=tmp_path / name))
    assert not (tmp_path / name).exists()


def test_nothing_is_written_into_a_folder_of_somebody_else(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage("echo", "a")
    stage.folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: stage.folder.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="choose a run folder of your own"):
        send(stage)
    assert list(stage.folder.iterdir()) == []


def test_a_stage_that_was_never_submitted_has_no_jobs(make_stage: MakeStage) -> None:
    assert read_journal(make_stage("echo", "a").paths).submissions == ()
