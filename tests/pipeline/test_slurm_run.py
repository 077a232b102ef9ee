"""The demo's own tasks as job arrays on a real Slurm cluster: a teacher pass and two students."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.errors import StageFailed
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.teach import prepare_store
from fdbpl.pipeline.workflow import Workflow
from fdbpl.slurm.records import read_record
from fdbpl.slurm.stage import Stage

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
ON_SLURM = {"kind": "slurm", "max_workers": 2, "memory_gb": 1, "minutes": 5}


@pytest.fixture
def config(make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]) -> RunConfig:
    table = student_table(objective=["kdpl", "fdbpl"])
    store = {"images_per_block": 64, "seeds_per_block": 2}
    return make_config(student=[table], cluster=ON_SLURM, store=store)


def test_teacher_and_students_run_as_arrays(slurm_cluster: Any, config: RunConfig, taught: RunConfig) -> None:
    workflow = Workflow(config, Ui(quiet=True), command="fdbpl teach")
    assert workflow.teach()["views_computed"] == 128 * 4
    workflow.features()
    assert workflow.train()["trained"] == ["coop-kdpl-cached-seed1", "coop-fdbpl-cached-seed1"]

    stage = Stage(name="train-1", function="a:b", folder=config.folder, task_ids=("x",))
    jobs = {read_record(stage.paths, task).job for task in ("coop-kdpl-cached-seed1", "coop-fdbpl-cached-seed1")}
    assert len({job.split("_")[0] for job in jobs if job}) == 1  # one array of two tasks

    images = np.repeat(np.arange(128), 4)
    seeds = np.tile(np.arange(4), 128)
    with open_reader(config.store.path) as ours, open_reader(taught.store.path) as local:
        for name in ("crop/box", "crop/flip"):
            assert np.array_equal(ours.read(name, images, seeds), local.read(name, images, seeds))
        logits = [reader.read("teacher/logits", images, seeds).astype(np.float32) for reader in (ours, local)]
        # Other blocks make other batches, whose last float16 bit may differ.
        np.testing.assert_allclose(*logits, rtol=2e-3, atol=2e-2)


def test_a_student_that_starts_before_the_seal_refuses(slurm_cluster: Any, config: RunConfig, tmp_path: Path) -> None:
    """Sent to the cluster past the check at submission: the task itself must refuse."""
    prepare_store(config)
    workflow = Workflow(config, Ui(quiet=True), command="fdbpl train")
    with pytest.raises(StageFailed, match="UnsealedStore") as caught:
        workflow._run(["train-1"])
    assert caught.value.exit_code == 2
    assert not (config.folder / "students").exists()
