"""What a task of each stage does: functions of (run folder, task id), safe to run again.

They read the run's own copy of the config that they were submitted with, which their environment names.
"""

import os
from pathlib import Path
from typing import Any

import torch

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.evaluation_features import write_test_features
from fdbpl.pipeline.features import feature_block
from fdbpl.pipeline.run_folder import saved_config
from fdbpl.pipeline.student_run import run_student
from fdbpl.pipeline.students import plan_by_id
from fdbpl.pipeline.teach import teach_block
from fdbpl.slurm.progress import report_progress

# Names the config that the stage was submitted with.
CONFIG_VARIABLE = "FDBPL_CONFIG"
# Joins a campaign and a block in one task id; neither holds the character.
SEPARATOR = "@"


def teach(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a block of the teacher campaign."""
    return {"views": teach_block(_config(), task_id, report_progress)}


def features(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: campaign@block."""
    campaign, block_id = task_id.split(SEPARATOR)
    return {"views": feature_block(_config(), campaign, block_id, report_progress)}


def train(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: a student."""
    config = _config()
    record = run_student(config, plan_by_id(config, task_id), report_progress)
    return {"steps": record["steps"], "train_seconds": record["train_seconds"]}


def test_features(folder: Path, task_id: str) -> dict[str, Any]:
    """Task id: the key of a model whose test images are to be encoded."""
    return {"images": write_test_features(_config(), task_id, report_progress)}


def _config() -> RunConfig:
    config = saved_config(Path(os.environ[CONFIG_VARIABLE]))
    torch.set_num_threads(config.cluster.cpus)
    return config
