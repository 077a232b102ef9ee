"""A whole run on a real Slurm cluster: one command, no babysitting."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.errors import StageFailed
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.paths import StagePaths

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
STEPS = ["prepare", "teach", "features", "test-features", "train-1", "train-2", "report"]
TASKS = [1, 6, 6, 2, 3, 3, 1]


def all_jobs(cluster: Any) -> str:
    listed: str = cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i")
    return listed


def test_one_command_runs_everything_and_a_second_computes_nothing(
    slurm_cluster: Any,
    run: Any,
    write_config: Any,
    two_stages: Any,
    on_slurm: Any,
    finished: Any,
    digests: Any,
    tmp_path: Path,
    taught: RunConfig,
) -> None:
    changes = on_slurm() | {"store": {"images_per_block": 43, "seeds_per_block": 2}}
    changes["cluster"]["steps"]["features"] = {"per_job": 3}
    write_config(student=two_stages, **changes)
    planned = json.loads(run("plan", "run.toml", "--rate", "teach=50", "--json").stdout)
    assert [step["missing"] for step in planned["steps"]] == TASKS
    assert [step["jobs"] for step in planned["steps"]] == [1, 6, 2, 1, 1, 1, 1]
    assert all(step["slurm"]["accepts"] for step in planned["steps"]), planned
    assert not (tmp_path / "run").exists()

    submitted = run("submit", "run.toml", "--cluster", "slurm", "--json")
    assert submitted.returncode == 0, submitted.stderr
    assert [(step["step"], step["submitted"]) for step in json.loads(submitted.stdout)["steps"]] == list(
        zip(STEPS, TASKS, strict=True)
    )
    again = json.loads(run("submit", "run.toml", "--cluster", "slurm", "--json").stdout)
    assert sum(step["submitted"] for step in again["steps"]) == 0

    status = finished()
    assert status["standing"] == "complete", run("logs", "run.toml", "--failed").stdout
    assert [step["done"] for step in status["steps"]] == TASKS
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(results["students"]) == 6
    assert results["unfinished"] == []
    assert [len(read_journal(StagePaths(folder=tmp_path / "run", stage=name)).submissions) for name in STEPS] == [1] * 7
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert provenance["steps"]["teach"]["tasks"] == provenance["steps"]["teach"]["attempts"] == 6
    assert provenance["submissions"][0]["versions"]["torch"]
    _same_crops(tmp_path / "run" / "store.zarr", taught)

    before = digests(tmp_path / "run" / "store.zarr"), all_jobs(slurm_cluster)
    third = json.loads(run("submit", "run.toml", "--cluster", "slurm", "--json").stdout)
    assert [step["done"] for step in third["steps"]] == TASKS
    assert (
        digests(tmp_path / "run" / "store.zarr"),
        slurm_cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i"),
    ) == before
    assert finished()["standing"] == "complete"
    assert [found["standing"] for found in json.loads(run("runs", ".", "--json").stdout)["runs"]] == ["complete"]


def _same_crops(store: Path, taught: RunConfig) -> None:
    """The same views as a local run's, and labels that differ by the batches alone."""
    images = np.repeat(np.arange(128), 4)
    seeds = np.tile(np.arange(4), 128)
    with open_reader(store) as ours, open_reader(taught.store.path) as local:
        for name in ("crop/box", "crop/flip"):
            assert np.array_equal(ours.read(name, images, seeds), local.read(name, images, seeds))
        logits = [reader.read("teacher/logits", images, seeds).astype(np.float32) for reader in (ours, local)]
        # Other blocks make other batches, whose last float16 bit may differ.
        np.testing.assert_allclose(*logits, rtol=2e-3, atol=2e-2)


def test_a_teacher_task_that_always_fails_ends_the_run_and_retry_completes_it(
    slurm_cluster: Any,
    run: Any,
    write_config: Any,
    student_table: Any,
    on_slurm: Any,
    finished: Any,
    shared: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(shared / "world", tmp_path / "world")
    changes = {**on_slurm(per_job=4), "store": {"images_per_block": 64, "seeds_per_block": 4}}
    changes["cluster"]["steps"] = {"check": {"memory_gb": 1}}
    path = write_config(student=[student_table()], world=tmp_path / "world", **changes)
    assert run("submit", path.name, "--cluster", "slurm", "--set", "cluster.max_workers=1").returncode == 0
    split = json.loads((tmp_path / "world" / "split_world.json").read_text())
    image = tmp_path / "world" / "images" / split["train"][100][0]
    content = image.read_bytes()
    while not (tmp_path / "run" / "store.zarr").exists():
        time.sleep(0.02)
    image.write_bytes(content[:300])

    status = finished()
    assert (status["standing"], status["exit_code"]) == ("failed", 4)
    assert {step["step"]: step["standing"] for step in status["steps"]} == {
        "prepare": "complete",
        "teach": "failed",
        "features": "blocked",
        "test-features": "complete",
        "train-1": "blocked",
        "report": "blocked",
    }
    screen = run("status", path.name)
    assert screen.returncode == 4
    assert f"image 100 ({image})" in " ".join(screen.stdout.replace("\n", "").split())
    assert len(screen.stdout.splitlines()) <= 24, screen.stdout
    groups = json.loads(run("logs", path.name, "--failed", "--json").stdout)["groups"]
    assert [(group["step"], group["cause"], group["tasks"]) for group in groups] == [("teach", "input", ["1.0"])]
    assert slurm_cluster.ask("squeue", "-h") == ""
    assert not (tmp_path / "run" / "students").exists()

    image.write_bytes(content)
    again = json.loads(run("retry", path.name, "--json").stdout)
    assert {step["step"]: step["submitted"] for step in again["steps"]} == {
        "prepare": 0,
        "teach": 1,
        "features": 2,
        "test-features": 0,
        "train-1": 1,
        "report": 1,
    }
    assert finished()["standing"] == "complete"


def test_a_student_that_starts_before_the_seal_refuses(
    slurm_cluster: Any, make_config: Callable[..., RunConfig], on_slurm: Any
) -> None:
    """Sent to the cluster past the check at submission: the task itself must refuse."""
    config = make_config(**on_slurm(kind="slurm"))
    prepare_store(config)
    with pytest.raises(StageFailed, match="UnsealedStore") as caught:
        Workflow(config, Ui(quiet=True), command="fdbpl train")._run(["train-1"])
    assert caught.value.exit_code == 2
    assert not (config.folder / "students").exists()
