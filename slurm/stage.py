"""A stage: one function run on many tasks. This is all that a backend is told.

A task is (function by name, folder, task id). Nothing else travels to the process that runs it, so a
submission is small, holds no code, and a task reads what it needs from the folder. The function must be
idempotent: a backend may run a task again after a death, and two copies of one task may overlap.
"""

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fdbpl.slurm.imports import quick_imports
from fdbpl.slurm.paths import StagePaths, file_name
from fdbpl.slurm.resources import Resources

_STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A record's temporary name adds up to 40 bytes; file systems stop at 255.
_LONGEST_FILE_NAME = 200


@dataclass(frozen=True, kw_only=True)
class TaskCall:
    """One task, as it travels to the process that runs it.

    Attributes:
        function, folder, stage, task_id: as of the stage.
        environment: variables that the process sets while it runs the task; none where it was started with them.
    """

    function: str
    folder: str
    stage: str
    task_id: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> StagePaths:
        return StagePaths(folder=Path(self.folder), stage=self.stage)

    def with_environment(self, environment: Mapping[str, str]) -> "TaskCall":
        return replace(self, environment=dict(environment))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TaskCall":
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Tasks of one kind.

    Attributes:
        name: letters, digits, `.`, `_`, `-`; names the folder of the records and the Slurm job.
        function: "module:attribute" of a module-level function (folder: Path, task_id: str) -> dict | None; the dict
            must be JSON and becomes the result in the task's record.
        folder: the run folder, handed to the function; records go to folder/records/name.
        task_ids: any distinct texts of up to about 200 bytes.
        resources: of each task.
        environment: variables that are set for the tasks on top of the caller's own.

    Raises:
        ValueError: one of them is not so.
    """

    name: str
    function: str
    folder: Path
    task_ids: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).absolute())
        object.__setattr__(self, "task_ids", tuple(self.task_ids))
        object.__setattr__(self, "environment", dict(self.environment))
        if not _STAGE_NAME.fullmatch(self.name):
            raise ValueError(f"Stage.name: found {self.name!r}, expected up to 80 of letters, digits, '.', '_', '-'")
        if not _FUNCTION.fullmatch(self.function):
            raise ValueError(
                f"Stage.function: found {self.function!r}, expected 'module:attribute', as in 'a.module:run'"
            )
        _check_task_ids(self.task_ids)
        _check_environment(self.environment)

    @property
    def paths(self) -> StagePaths:
        return StagePaths(folder=self.folder, stage=self.name)

    def call(self, task_id: str) -> TaskCall:
        return TaskCall(function=self.function, folder=str(self.folder), stage=self.name, task_id=task_id)

    def task_environment(self) -> dict[str, str]:
        """The variables that a backend sets for each task: the stage's own win."""
        return {"OMP_NUM_THREADS": str(self.resources.cpus), **self.environment}


def resolve(name: str) -> Any:
    """What "module:attribute" names."""
    module, _, attribute = name.partition(":")
    with quick_imports():
        found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _check_task_ids(task_ids: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for task_id in task_ids:
        if not isinstance(task_id, str) or not task_id:
            raise ValueError(f"Stage.task_ids: found {task_id!r}, expected a text that is not empty")
        if task_id in seen:
            raise ValueError(f"Stage.task_ids: {task_id!r} is there twice; each task needs an id of its own")
        if task_id == "jobs":
            raise ValueError("Stage.task_ids: 'jobs' is taken by the list of submitted jobs; choose another id")
        if len(file_name(task_id)) > _LONGEST_FILE_NAME:
            raise ValueError(f"Stage.task_ids: {task_id!r} is too long for a file name; choose a shorter id")
        seen.add(task_id)


def _check_environment(environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"Stage.environment: found the name {name!r}, expected letters, digits and '_'")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"Stage.environment[{name!r}]: found {value!r}, expected a text")
