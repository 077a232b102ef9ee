"""What the tests of running tasks share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.stage import Stage

SAMPLES = Path(__file__).parent


@pytest.fixture
def samples() -> Path:
    """The folder that holds sample_tasks.py and run_stage.py."""
    return SAMPLES


@pytest.fixture
def make_stage(tmp_path: Path) -> Callable[..., Stage]:
    """A stage of one of the functions in sample_tasks.py, in a new run folder unless one is given."""

    def make(function: str, *task_ids: str, folder: Path | None = None, **options: Any) -> Stage:
        environment = {"PYTHONPATH": str(SAMPLES), **options.pop("environment", {})}
        return Stage(
            name="sample",
            function=f"sample_tasks:{function}",
            folder=folder or tmp_path / "run",
            task_ids=task_ids,
            environment=environment,
            **options,
        )

    return make
