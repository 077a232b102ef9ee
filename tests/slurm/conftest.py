"""What the tests of running tasks share."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.profile import Profile
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage

SAMPLES = Path(__file__).parent


def python_path() -> str:
    """PYTHONPATH of the tasks: the samples, then the caller's own, so that workers import what the tests import."""
    return os.pathsep.join([str(SAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture
def samples() -> Path:
    """The folder that holds sample_tasks.py, sample_steps.py and run_stage.py."""
    return SAMPLES


@pytest.fixture
def make_stage(tmp_path: Path) -> Callable[..., Stage]:
    """A stage of one of the functions in sample_tasks.py, in a new run folder unless one is given."""

    def make(function: str, *task_ids: str, folder: Path | None = None, **options: Any) -> Stage:
        environment = {"PYTHONPATH": python_path(), **options.pop("environment", {})}
        return Stage(
            name="sample",
            function=f"sample_tasks:{function}",
            folder=folder or tmp_path / "run",
            task_ids=task_ids,
            environment=environment,
            **options,
        )

    return make


@pytest.fixture
def make_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Chain]:
    """A chain of the steps in sample_steps.py: each step's tasks, and changes of steps (by name) and of the chain."""
    monkeypatch.syspath_prepend(str(SAMPLES))

    def make(
        tasks: dict[str, Sequence[str]],
        *,
        folder: Path | None = None,
        steps: dict[str, dict[str, Any]] | None = None,
        profile: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Chain:
        folder = folder or tmp_path / "run"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps({name: list(ids) for name, ids in tasks.items()}))
        names = list(tasks)
        made = []
        for index, name in enumerate(names):
            values = {
                "name": name,
                "function": f"sample_steps:work_{name}",
                "todo": f"sample_steps:todo_{name}",
                "finish": f"sample_steps:finish_{name}",
                "after": tuple(names[index - 1 : index]),
                "resources": Resources(memory_gb=0.1),
                **(steps or {}).get(name, {}),
            }
            made.append(Step(**values))
        return Chain(
            folder=folder,
            steps=tuple(made),
            environment={"PYTHONPATH": python_path(), **(environment or {})},
            profile=Profile.model_validate(profile or {}),
            check_resources=Resources(memory_gb=0.1),
            fatal=("WrongInput",),
        )

    return make
