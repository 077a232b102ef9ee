"""What is missing of each step of a reproduction, and what closes a step: asked of the results themselves.

Functions of (folder, environment, step), as `slurm.chain.Step` names them. The ids of all tasks are known before
anything is made: a run, a model, or a run with one of its models.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.labels.manifest import CAMPAIGN
from fdbpl.pipeline.reproduce.models import model_names
from fdbpl.pipeline.reproduce.results import is_current
from fdbpl.pipeline.reproduce.state import ReproductionState, form_of
from fdbpl.pipeline.run.todo import SEPARATOR, seal_campaigns
from fdbpl.slurm.chain import Todo

TABLE_TASK = "table"


def worlds(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """A task a split."""
    state = _state(folder, environment)
    return _todo(state.form.splits, state.has_world)


def models(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """A task a teacher or student."""
    state = _state(folder, environment)
    return _todo(model_names(state.form), state.has_model)


def labels(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """A task a run: all blocks of its teacher."""
    runs = {run.run.id: run for run in _state(folder, environment).runs}
    return _todo(runs, lambda name: runs[name].has_labels, all(run.is_labelled for run in runs.values()))


def finish_labels(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    """Seal the teachers' labels, and begin the campaigns of features."""
    from fdbpl.pipeline.labels.features import begin_features

    damaged = []
    for run in _state(folder, environment).runs:
        damaged += seal_campaigns(run.config, [CAMPAIGN])["damaged"]
        if not damaged:
            begin_features(run.config)
    return {"damaged": damaged}


def features(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """A task a run and model: a student's features of all crops, and any model's of the test images."""
    state = _state(folder, environment)
    tasks = {
        f"{run.run.id}{SEPARATOR}{model}": (run, model)
        for run in state.runs
        for model in (run.run.teacher, *state.form.students)
    }

    def is_done(task: str) -> bool:
        run, model = tasks[task]
        return run.has_features(model)

    return _todo(tasks, is_done, all(run.are_features_sealed for run in state.runs))


def finish_features(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    damaged = []
    for run in _state(folder, environment).runs:
        damaged += seal_campaigns(run.config, feature_campaigns(run.config))["damaged"]
    return {"damaged": damaged}


def train(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """A task a run and pretrained student: all of its trainings."""
    state = _state(folder, environment)
    tasks = {
        f"{run.run.id}{SEPARATOR}{student}": (run, student) for run in state.runs for student in state.form.students
    }

    def is_done(task: str) -> bool:
        run, student = tasks[task]
        return run.is_trained(student)

    return _todo(tasks, is_done)


def table(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    """The results of all runs together, made of what is there now."""
    is_there = is_current(form_of(environment), folder)
    return Todo(total=1, missing=() if is_there else (TABLE_TASK,), is_finished=is_there)


def _state(folder: Path, environment: Mapping[str, str]) -> ReproductionState:
    return ReproductionState(form_of(environment), folder)


def _todo(tasks: "Mapping[str, Any] | tuple[str, ...]", is_done: Callable[[str], bool], is_closed: bool = True) -> Todo:
    missing = tuple(task for task in tasks if not is_done(task))
    return Todo(total=len(tasks), missing=missing, is_finished=not missing and is_closed)
