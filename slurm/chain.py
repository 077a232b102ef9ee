"""A chain: steps that follow one another, each an array of tasks, from the first submission to the last result.

A chain is all that a later process needs to go on with it (a checking job, `status`, `retry`), so it is one JSON
file in the run folder. What is done and what is missing is no part of it: each step's `todo` asks the results
themselves, whenever somebody wants to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.profile import CHECK, Profile
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage, resolve

CHECK_FUNCTION = "fdbpl.slurm.check:run"


@dataclass(frozen=True, kw_only=True)
class Todo:
    """How far a step is, by its results.

    Attributes:
        total: tasks in all.
        missing: ids of the tasks whose results are not there, in order.
        is_finished: nothing is missing, and what closes the step has been done.
    """

    total: int
    missing: tuple[str, ...]
    is_finished: bool


@dataclass(frozen=True, kw_only=True)
class Step:
    """Tasks of one kind, how to ask what is missing of them, and what closes them.

    Attributes:
        name, function, resources: as of the Stage whose tasks they are.
        todo: "module:attribute" of a function (folder: Path, environment: Mapping[str, str], step: str) -> Todo; `step`
            is the step's name.
        finish: the same kind of function, -> dict | None, called once nothing is missing; or "". What it finds amiss it
            may take away: then that is missing again.
        after: names of the steps before it that it needs.
        needs_all: whether the steps after it wait in vain where one of its tasks is given up.
        per_job: task ids that one job runs, one after another (a start costs seconds).
        unit: of the tasks' progress, for people.
    """

    name: str
    function: str
    todo: str
    finish: str = ""
    after: tuple[str, ...] = ()
    needs_all: bool = True
    resources: Resources = field(default_factory=Resources)
    per_job: int = 1
    unit: str = "tasks"

    def __post_init__(self) -> None:
        if self.per_job < 1:
            raise ValueError(f"Step.per_job: found {self.per_job}, expected at least 1")
        if self.name == CHECK or self.name.endswith(f".{CHECK}"):
            raise ValueError(f"Step.name: found {self.name!r}, which names checking jobs; choose another")

    @property
    def check_name(self) -> str:
        """The stage of the jobs that look after this step."""
        return f"{self.name}.{CHECK}"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Steps of one run folder, each after those that it needs.

    Attributes:
        folder: the run folder.
        steps: a step comes after all that are in its `after`.
        environment: variables of every task, and what `todo` and `finish` are given.
        profile: of the cluster.
        check_resources: of the small jobs that look after each step.
        fatal: names of exceptions (or of their bases) that no second run mends.

    Raises:
        ValueError: two steps of one name, or one before what it needs.
    """

    folder: Path
    steps: tuple[Step, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)
    check_resources: Resources = field(default_factory=lambda: Resources(memory_gb=2))
    fatal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).absolute())
        seen: set[str] = set()
        for step in self.steps:
            if step.name in seen or not seen.issuperset(step.after):
                raise ValueError(
                    f"Chain.steps: found {step.name!r} after {sorted(seen)}, expected a new name that comes after "
                    f"{', '.join(step.after) or 'nothing'}"
                )
            seen.add(step.name)
            self.stage(step)  # refuses what no stage can be

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def paths(self, stage: str) -> StagePaths:
        return StagePaths(folder=self.folder, stage=stage)

    def stage(self, step: Step, task_ids: Sequence[str] = (), resources: Resources | None = None) -> Stage:
        """The stage of some of a step's tasks."""
        return Stage(
            name=step.name,
            function=step.function,
            folder=self.folder,
            task_ids=tuple(task_ids),
            resources=resources or step.resources,
            environment=self.environment,
        )

    def check_stage(self, step: Step, task_ids: Sequence[str] = ()) -> Stage:
        """The stage of the jobs that look after a step."""
        return Stage(
            name=step.check_name,
            function=CHECK_FUNCTION,
            folder=self.folder,
            task_ids=tuple(task_ids),
            resources=self.check_resources,
            environment=self.environment,
        )

    def todo(self, step: Step) -> Todo:
        """What is missing of a step now."""
        todo = resolve(step.todo)(self.folder, self.environment, step.name)
        assert isinstance(todo, Todo), f"{step.todo} returned {type(todo).__name__}, expected a Todo"
        return todo

    def finish(self, step: Step) -> dict[str, Any]:
        """Close a step of which nothing is missing."""
        return (resolve(step.finish)(self.folder, self.environment, step.name) or {}) if step.finish else {}

    def followers(self, name: str) -> list[Step]:
        """All steps that need that one, directly or not, in order."""
        needing = {name}
        followers = []
        for step in self.steps:
            if needing.intersection(step.after):
                needing.add(step.name)
                followers.append(step)
        return followers

    def joined(self, other: "Chain") -> "Chain":
        """This chain, with the steps that only the other has; a step that both have waits for what it waits for in
        either."""
        steps = {step.name: step for step in self.steps}
        for step in other.steps:
            own = steps.setdefault(step.name, step)
            steps[step.name] = replace(own, after=tuple(dict.fromkeys((*own.after, *step.after))))
        ordered: dict[str, Step] = {}
        while len(ordered) < len(steps):
            for name, step in steps.items():
                if ordered.keys() >= set(step.after):
                    ordered[name] = step
        return replace(self, steps=tuple(ordered.values()))

    def save(self) -> None:
        """Keep the chain in its run folder, for later processes."""
        payload = {
            **{name: value for name, value in asdict(self).items() if name not in ("profile", "folder")},
            "format": 1,
            "profile": self.profile.model_dump(mode="json"),
        }
        chain_file(self.folder).parent.mkdir(parents=True, exist_ok=True)
        write_json(chain_file(self.folder), payload)


def chain_file(folder: Path) -> Path:
    return folder / "records" / "chain.json"


def load_chain(folder: Path) -> Chain | None:
    """The chain that was saved in a run folder, or None."""
    payload = read_json(chain_file(folder))
    if payload is None:
        return None
    return Chain(
        folder=folder,
        steps=tuple(_step(values) for values in payload["steps"]),
        environment=payload["environment"],
        profile=Profile.model_validate(payload["profile"]),
        check_resources=Resources(**payload["check_resources"]),
        fatal=tuple(payload["fatal"]),
    )


def _step(values: Mapping[str, Any]) -> Step:
    lists = {"after": tuple(values["after"]), "resources": Resources(**values["resources"])}
    return Step(**{**values, **lists})
