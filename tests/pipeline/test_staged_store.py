"""Students of a Slurm job read a copy of the store on the node's own disk, where the site has a place for it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdbpl.cache_layout import disk_space
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run.steps import chain_of
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.staged_store import STAGING_VARIABLE, store_to_read
from fdbpl.pipeline.training.student_run import run_student


@pytest.fixture
def config(taught: RunConfig, make_config: Callable[..., RunConfig], student_table: Callable[..., Any]) -> RunConfig:
    made = make_config(student=[student_table(seeds=[1, 2])], cluster={"slurm": {"staging": "$NODE_DISK/fdbpl"}})
    return made.model_copy(update={"store": taught.store})


@pytest.fixture
def on_node(monkeypatch: pytest.MonkeyPatch, config: RunConfig, tmp_path: Path) -> Path:
    """As in a job of the run, on a node whose disk is the folder that this gives."""
    for name, value in chain_of(config, ["train-1"]).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    return tmp_path / "disk"


def test_students_of_a_job_share_a_copy_on_the_nodes_disk(config: RunConfig, on_node: Path) -> None:
    first, second = student_plans(config)
    place = store_to_read(config, first)
    assert place.is_relative_to(on_node / "fdbpl")
    assert store_to_read(config, second) == place
    record = run_student(config, first)
    assert record["fingerprint"]
    assert "disk" not in RunFolder(config.folder).student(first.id).record_file.read_text(), (
        "the run's own config is kept"
    )


def test_the_copy_is_what_is_read(config: RunConfig, on_node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_to_read(config, student_plans(config)[0])
    gone = config.model_copy(update={"store": config.store.model_copy(update={"path": config.folder / "gone.zarr"})})
    copy = next((on_node / "fdbpl").glob("*"))
    monkeypatch.setattr("fdbpl.pipeline.training.student_run.store_to_read", lambda *_: copy)
    assert run_student(gone, student_plans(gone)[0])["steps"]


def test_outside_of_a_job_the_runs_own_store_is_read(
    config: RunConfig, on_node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    assert store_to_read(config, student_plans(config)[0]) == config.store.path


def test_a_full_disk_is_told_and_the_store_read_where_it_lies(
    config: RunConfig, on_node: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert store_to_read(config, student_plans(config)[0]) == config.store.path
    assert "where it lies" in caplog.text


def test_a_variable_that_the_node_lacks_is_named(
    config: RunConfig, on_node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NODE_DISK")
    with pytest.raises(ValueError, match=r"\$NODE_DISK/fdbpl"):
        store_to_read(config, student_plans(config)[0])


def test_a_profile_without_staging_sets_nothing(make_config: Callable[..., RunConfig]) -> None:
    assert STAGING_VARIABLE not in chain_of(make_config(), ["train-1"]).environment
