"""Students that train together beside the same ones that train alone."""

import pytest
import torch

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.checkpoint import read_prompts
from fdbpl.pipeline.training.student_run import run_student, run_students

# Of values about 1, by students that sum in another order: float32 keeps 1.2e-7 of each.
ROUNDING = {"rtol": 2e-5, "atol": 2e-6}


def prompts_of(config: RunConfig, plan: StudentPlan) -> dict[str, torch.Tensor]:
    return read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)[0]


def compare(config: RunConfig, alone: RunConfig) -> None:
    """Train all students of a config together, and each by itself in another folder: the same prompts and losses."""
    plans = student_plans(config)
    together = run_students(config, plans)
    for record, plan in zip(together, plans, strict=True):
        one = run_student(alone, plan)
        assert record["student"] == plan.id
        same = ("identity", "steps", "views", "fingerprint")
        assert {key: record[key] for key in same} == {key: one[key] for key in same}
        assert record["final_loss"] == pytest.approx(one["final_loss"], rel=1e-5)
        expected = prompts_of(alone, plan)
        for name, value in prompts_of(config, plan).items():
            torch.testing.assert_close(value, expected[name], **ROUNDING)
