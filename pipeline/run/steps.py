"""The steps of a run as a chain of tasks: what each asks for, what it needs, and how many of its tasks a job runs."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from fdbpl.pipeline.config import RunConfig, StepName
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.run.sizing import Sizes
from fdbpl.pipeline.run.state import CONFIG_VARIABLE, GROW_VARIABLE
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import list_plans, stages
from fdbpl.pipeline.training.staged_store import STAGING_VARIABLE
from fdbpl.slurm.chain import Chain, Step
from fdbpl.slurm.profile import Profile, read_profile
from fdbpl.slurm.resources import Resources

# A task that ends by one of these, or by one derived from it, was given bad input: no second run mends it. A loss that
# is not finite is a learning rate's, and comes again with the same seed.
FATAL = ("CacheError", "ValueError", "FloatingPointError")
UNITS = {
    "prepare": "images",
    "teach": "views",
    "features": "views",
    "test-features": "images",
    "train": "steps",
    "test-students": "images",
}
STEP_NAMES: tuple[str, ...] = get_args(StepName)
# Small work beside the tasks: what these ask for where the config does not say otherwise.
_SMALL: dict[StepName, dict[str, Any]] = {
    "prepare": {"gpus": 0},
    "report": {"gpus": 0},
    "check": {"gpus": 0, "cpus": 1, "memory_gb": 4.0},
}


def run_chain(config: RunConfig, *, grow: bool = False) -> Chain:
    """The whole run, from the images to the report.

    Raises:
        ValueError: students that make no sense, or a site profile that is not as it must be.
    """
    trains = train_steps(config)
    wanted = ["prepare", "teach", *(["features"] if feature_campaigns(config) else []), "test-features", *trains]
    return chain_of(config, [*wanted, *evaluation_steps(config)], grow=grow)


def evaluation_steps(config: RunConfig) -> list[str]:
    """The names of the steps from finished students to the table."""
    slow = any(learner_entry(plan.learner).slow_to_evaluate for plan in list_plans(config))
    return [*(["test-students"] if slow else []), "report"]


def train_steps(config: RunConfig) -> list[str]:
    """The names of the steps of students, a step for each stage."""
    return [f"train-{number}" for number in range(1, 1 + len(stages(list_plans(config))))]


def chain_of(config: RunConfig, names: Sequence[str], *, grow: bool = False) -> Chain:
    """The chain of some of a run's steps, in order; each waits for those of them that it needs."""
    environment = {CONFIG_VARIABLE: str(RunFolder(config.folder).config_file(config))}
    if grow:
        environment[GROW_VARIABLE] = "1"
    profile = site_profile(config, names)
    if profile.staging:
        environment[STAGING_VARIABLE] = profile.staging
    sizes = Sizes(config)
    steps: list[Step] = []
    for name in names:
        kind = kind_of(name)
        function, todo, finish = _functions(name, with_features="features" in names)
        asked = resources(config, kind)
        steps.append(
            Step(
                name=name,
                function=f"fdbpl.pipeline.run.tasks:{function}",
                todo=f"fdbpl.pipeline.run.todo:{todo}",
                finish=f"fdbpl.pipeline.run.todo:{finish}" if finish else "",
                after=tuple(before for before in _needs(name, names) if before in names),
                needs_all=kind != "train",
                resources=asked,
                per_job=sizes.per_job(name, kind, asked),
                unit=UNITS.get(kind, "tasks"),
            )
        )
    return Chain(
        folder=config.folder,
        steps=tuple(steps),
        environment=environment,
        profile=profile,
        check_resources=resources(config, "check"),
        fatal=FATAL,
    )


def resources(config: RunConfig, kind: StepName) -> Resources:
    """What a task of a step asks for."""
    cluster = config.cluster
    base = {name: getattr(cluster, name) for name in ("cpus", "gpus", "memory_gb", "minutes", "max_workers")}
    own = config.cluster.steps[kind].model_dump(exclude_none=True) if kind in config.cluster.steps else {}
    own.pop("per_job", None)
    asked = {**base, **_SMALL.get(kind, {}), **own}
    return Resources(max_parallel=asked.pop("max_workers"), **asked)


def site_profile(config: RunConfig, names: Sequence[str]) -> Profile:
    """The site profile, with what the config sets of it; what it says of `train` holds for each of these steps that
    trains.

    Raises:
        ValueError: a profile that is not as it must be, or that names a step which no run has.
    """
    profile = read_profile(config.cluster.profile, beside=config.folder, changes=config.cluster.slurm)
    for name in profile.steps:
        if name not in STEP_NAMES and not re.fullmatch(r"train-[1-9]\d*", name):
            near = get_close_matches(name, STEP_NAMES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"site profile: found steps.{name}{hint}, expected {', '.join(STEP_NAMES)}, or train-1")
    shared = {name: profile.steps["train"] for name in names if kind_of(name) == "train" and "train" in profile.steps}
    return profile.model_copy(update={"steps": {**shared, **profile.steps}})


def kind_of(step: str) -> StepName:
    """The step's name in the config: all stages of students are `train`."""
    return "train" if step.startswith("train-") else step  # type: ignore[return-value]  # names of steps are ours


def _functions(name: str, *, with_features: bool) -> tuple[str, str, str]:
    """The names of the task's function, of what tells what is missing, and of what closes the step."""
    plain = kind_of(name).replace("-", "_")
    if name == "teach":
        suffix = "_for_features" if with_features else ""
        return plain, f"teach{suffix}", f"finish_teach{suffix}"
    return plain, plain, "finish_features" if name == "features" else ""


def _needs(name: str, names: Sequence[str]) -> list[str]:
    if name == "teach":
        return ["prepare"]
    if name == "features":
        return ["teach"]
    if name in ("test-students", "report"):
        trains = [other for other in names if other.startswith("train-")]
        return ["test-features", *trains, *(["test-students"] if name == "report" else [])]
    if name.startswith("train-"):
        stage = int(name.removeprefix("train-"))
        return [f"train-{stage - 1}"] if stage > 1 else ["teach", "features"]
    return []
