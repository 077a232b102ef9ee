"""What a task of each step does: functions of (run folder, task id), safe to run again.

They read the run's own copy of the config that they were submitted with, which their environment names.
"""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.exclusions import excluded_line, run_data
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.evaluation.student_tests import write_student_tests
from fdbpl.pipeline.labels.features import feature_block
from fdbpl.pipeline.labels.teach import prepare_store, teach_block
from fdbpl.pipeline.run.provenance import provenance
from fdbpl.pipeline.run.results import write_results
from fdbpl.pipeline.run.state import GROW_VARIABLE, config_of
from fdbpl.pipeline.run.todo import SEPARATOR
from fdbpl.pipeline.students.checked import pack_by_id, plan_by_id
from fdbpl.pipeline.training.student_record import finished_records
from fdbpl.pipeline.training.student_run import run_students
from fdbpl.pipeline.whole_file import replace_json
from fdbpl.slurm.progress import report_progress

logger = logging.getLogger(__name__)


def prepare(folder: Path, task_id: str) -> dict[str, Any]:
    """Make the store, or let it grow."""
    config = _config()
    store = prepare_store(config, report_progress, grow=GROW_VARIABLE in os.environ, say=logger.warning)
    line = excluded_line(store, run_data(config))
    if line:
        logger.warning(line)
    return {
        "store": str(store.path),
        "fingerprint": store.manifest.fingerprint,
        "images_excluded": len(store.excluded),
    }


def teach(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a block of the teacher campaign."""
    return {"views": teach_block(_config(), task_id, report_progress), "device": _device()}


def features(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: campaign@block."""
    campaign, block_id = task_id.split(SEPARATOR)
    return {"views": feature_block(_config(), campaign, block_id, report_progress), "device": _device()}


def train(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a pack of students. Told of are those that were not finished before."""
    config = _config()
    data = run_data(config)
    pack = pack_by_id(config, task_id, len(data.class_names))
    before = finished_records(config, pack, data)
    records = [record for record in run_students(config, pack, report_progress) if before[record["student"]] is None]
    return {
        "students": [record["student"] for record in records],
        "steps": sum(record["steps"] for record in records),
        "train_seconds": round(sum(record["train_seconds"] for record in records), 3),
        "device": _device(),
    }


def test_features(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: the key of a model whose test images are to be encoded."""
    return {"images": write_test_features(_config(), task_id, report_progress), "device": _device()}


def test_students(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a student whose tests run an encoder for each image."""
    config = _config()
    return {"images": write_student_tests(config, plan_by_id(config, task_id), report_progress), "device": _device()}


def report(folder: Path, task_id: str) -> dict[str, Any]:
    """Evaluate all finished students and write the table."""
    results = write_results(_config())
    replace_json(folder / "provenance.json", provenance(folder))
    return {"students": len(results["students"]), "unfinished": results["unfinished"]}


def _device() -> str:
    """The GPU's name, where this process has used one."""
    return torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"


def _config() -> RunConfig:
    config = config_of(os.environ)
    # The step's own number of cores.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", config.cluster.cpus)))
    return config
