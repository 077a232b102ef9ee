"""What the tests of running tasks share."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.chain_status import ChainStatus
from fdbpl.slurm.profile import Profile
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.start import start, watch
from fdbpl.slurm.status import StageStatus

SAMPLES = Path(__file__).parent


class Chains:
    """What tests do with chains: waiting at a test's pace, and counting."""

    def finish(self, chain: Chain, **options: Any) -> ChainStatus:
        """Submit a chain and wait for its end."""
        start(chain)
        return self.settled(chain, **options)

    def settled(self, chain: Chain, *, timeout_seconds: float = 120, **options: Any) -> ChainStatus:
        """Wait for a chain's end, but not for ever."""
        deadline = time.monotonic() + timeout_seconds
        told = options.pop("on_update", None)

        def on_update(status: StageStatus) -> None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_seconds:g} s: the end of {chain.folder}, at {status.stage}")
            if told is not None:
                told(status)

        pace = {"poll_seconds": 0.1, "squeue_seconds": 0.1, "settle_seconds": 0.3}
        return watch(chain, on_update=on_update, **{**pace, **options})

    def counts(self, status: ChainStatus) -> dict[str, dict[str, int]]:
        return {step.step.name: {state: n for state, n in step.counts.items() if n} for step in status.steps}

    def tries(self, chain: Chain) -> dict[str, int]:
        """Task -> how often it was begun."""
        return dict(Counter(unquote(path.name.rpartition("+")[0]) for path in (chain.folder / "tries").iterdir()))


@pytest.fixture
def chains() -> Chains:
    return Chains()


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
                "todo": "sample_steps:todo",
                "finish": "sample_steps:finish",
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
