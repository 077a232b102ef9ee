"""The steps of a reproduction as a chain of tasks, of one core each.

    worlds ─┐
    models ─┴─► labels ─► features ─► train ─► table

All ids of tasks are known at once, so that one submission holds the whole.
"""

from pathlib import Path

from fdbpl.pipeline.reproduce.form import Form
from fdbpl.pipeline.reproduce.state import FORM_VARIABLE
from fdbpl.pipeline.run.steps import FATAL
from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.profile import Profile
from fdbpl.slurm.resources import Resources

# Step -> what it needs, what closes it, the unit of its progress, and its time limit in minutes.
_STEPS: dict[str, tuple[tuple[str, ...], str, str, float]] = {
    "worlds": ((), "", "images", 30),
    "models": ((), "", "steps", 120),
    "labels": (("worlds", "models"), "finish_labels", "views", 60),
    "features": (("labels",), "finish_features", "views", 60),
    "train": (("features",), "", "steps", 240),
    "table": (("train",), "", "tasks", 60),
}


def reproduction_chain(
    form: Form, folder: Path, *, workers: int | None = None, profile: Profile | None = None
) -> Chain:
    """The chain of a form in a folder; `workers`: tasks at a time (None: no limit)."""
    return Chain(
        folder=folder,
        steps=tuple(
            Step(
                name=name,
                function=f"fdbpl.pipeline.reproduce.tasks:{name}",
                todo=f"fdbpl.pipeline.reproduce.todo:{name}",
                finish=f"fdbpl.pipeline.reproduce.todo:{finish}" if finish else "",
                after=after,
                resources=Resources(cpus=1, memory_gb=4, minutes=minutes, max_parallel=workers),
                # Features of one model take seconds: a job makes those of a run.
                per_job=1 + form.num_students if name == "features" else 1,
                unit=unit,
            )
            for name, (after, finish, unit, minutes) in _STEPS.items()
        ),
        environment={FORM_VARIABLE: form.name},
        profile=profile or Profile(),
        fatal=FATAL,
    )
