"""What a reproduction would do, and how long it would take by stated rates. Starts nothing, imports no torch."""

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fdbpl.pipeline.reproduce.form import TEACHERS, Form
from fdbpl.pipeline.reproduce.runs import all_runs
from fdbpl.pipeline.run.todo import SEPARATOR
from fdbpl.slurm.chain import Chain

# Units a second of one core of a server of 2021 or so.
RATES = {
    "images drawn": 700.0,
    "teacher pretraining steps": 4.7,
    "student pretraining steps": 7.5,
    "teacher views": 1500.0,
    "student views": 1500.0,
    "prompt steps": 140.0,
}
# A task's start, and of the table the evaluation of a run.
START_SECONDS, TABLE_SECONDS = 1.0, 6.0


def plan_reproduction(form: Form, folder: Path, chain: Chain, workers: int) -> dict[str, Any]:
    """Tasks of each step, what is missing of them, and seconds on so many cores, as JSON."""
    steps = []
    for step in chain.steps:
        todo = chain.todo(step)
        seconds = [START_SECONDS + task_seconds(form, step.name, task) for task in todo.missing]
        steps.append(
            {
                "step": step.name,
                "tasks": todo.total,
                "missing": len(todo.missing),
                "core_seconds": round(sum(seconds)),
                "seconds": round(makespan(seconds, workers)),
            }
        )
    trainings = len(form.rows) * len(form.shots) * len(form.few_shot_seeds)
    return {
        "form": form.to_json(),
        "folder": str(folder),
        "runs": [run.id for run in all_runs(form)],
        "trainings": trainings * form.num_students * len(all_runs(form)),
        "steps": steps,
        "workers": workers,
        "seconds": sum(step["seconds"] for step in steps),
        "core_seconds": sum(step["core_seconds"] for step in steps),
        "rates": RATES,
    }


def task_seconds(form: Form, step: str, task: str) -> float:
    """Seconds of one task of a step, by the stated rates."""
    num_tests = 32 * form.test_per_class
    num_views = 32 * form.train_per_class * form.crop_seeds
    if step == "worlds":
        return (num_views / form.crop_seeds + num_tests) / RATES["images drawn"]
    if step == "models":
        return _pretraining_seconds(form, task)
    if step == "labels":
        return num_views / RATES["teacher views"]
    if step == "features":
        model = task.partition(SEPARATOR)[2]
        if model in form.students:
            return (num_views + num_tests) / RATES["student views"]
        return num_tests / RATES["teacher views"]
    if step == "train":
        return len(form.rows) * len(form.shots) * len(form.few_shot_seeds) * form.steps / RATES["prompt steps"]
    return TABLE_SECONDS * len(all_runs(form))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """The time of tasks that so many workers take in their order."""
    free_at = [0.0] * workers
    for task in seconds:
        heapq.heapreplace(free_at, free_at[0] + task)
    return max(free_at)


def _pretraining_seconds(form: Form, model: str) -> float:
    recipe = form.student_recipe if model in form.students else TEACHERS[model]
    if recipe is None:
        return 0.0
    role = "student" if model in form.students else "teacher"
    drawing = recipe.num_images / RATES["images drawn"]
    return drawing + recipe.steps / RATES[f"{role} pretraining steps"]
