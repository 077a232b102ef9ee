"""What a student costs: its own training, and its share of the passes that were made once for all."""

from collections.abc import Callable

from fdbpl.pipeline.report.gathered import Gathered
from fdbpl.pipeline.students.plan import StudentPlan

# Stage -> who reads what it makes.
_PASSES: dict[str, Callable[[StudentPlan], bool]] = {
    "teach": lambda plan: plan.supervision == "cached" or plan.weighs_views,
    "features": lambda plan: plan.stores_features,
}


def pass_seconds(run: Gathered) -> dict[str, float]:
    """Stage -> seconds of its tasks, of the teacher's and the feature passes whose records this run has."""
    return {stage.name: sum(task.seconds for task in stage.tasks) for stage in run.stages if stage.name in _PASSES}


def shares(run: Gathered) -> dict[str, float]:
    """Student -> its part of the seconds of the passes that it reads, which all students that read one share alike."""
    found = dict.fromkeys(run.plans, 0.0)
    for stage, seconds in pass_seconds(run).items():
        readers = [name for name, plan in run.plans.items() if _PASSES[stage](plan)]
        for name in readers:
            found[name] += seconds / len(readers)
    return found
