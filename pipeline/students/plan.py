"""The grid of students that a config describes: one plan for each learner x objective x supervision x shots x seed.

A table may start from another: its students then begin with the prompts that the other's students of the same learner
and seed have learned. Imports no torch.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdbpl.pipeline.config import WEIGHING, RunConfig, StudentConfig
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.own_code import own_file, plain_name
from fdbpl.slurm.imports import quick_imports

if TYPE_CHECKING:
    from fdbpl.pipeline.learners.base import LearnerOptions
    from fdbpl.pipeline.objectives.base import Objective


@dataclass(frozen=True, kw_only=True)
class StudentPlan:
    """One student: its own choices, the table of the config that it comes from, and the student that it starts from."""

    config: StudentConfig
    learner: str
    objective: str
    supervision: str
    shots: int
    seed: int
    source: "StudentPlan | None" = None

    @property
    def method(self) -> str:
        """The name that the students of all seeds share; it names the shots where the table has several numbers."""
        shots = f"{self.shots}shots" if len(self.config.shots) > 1 else ""
        names = (self.config.name, plain_name(self.learner), plain_name(self.objective), self.supervision, shots)
        return "-".join(filter(None, names))

    @property
    def id(self) -> str:
        return f"{self.method}-seed{self.seed}"

    @property
    def given_options(self) -> dict[str, Any]:
        """What the config says of its learner."""
        return self.config.learner_options.get(plain_name(self.learner), {})

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Files of a learner and an objective of a user's own."""
        return tuple(file for file in map(own_file, (self.learner, self.objective)) if file is not None)

    @property
    def starts_from(self) -> str:
        """The id of the student whose prompts it begins with; "" where it begins with hand-written words."""
        return self.source.id if self.source is not None else ""

    @property
    def stage(self) -> int:
        """1 for a student that starts from nobody, else one more than that of its source."""
        return self.source.stage + 1 if self.source is not None else 1

    @property
    def needs_store(self) -> bool:
        """Whether it reads the store: for the teacher's labels, for features, or to choose views by the teacher."""
        return self.supervision == "cached" or self.stores_features or self.weighs_views

    @property
    def stores_features(self) -> bool:
        """Whether its image features come from the store."""
        return self.config.features == "stored" and "features" in learner_entry(self.learner).needs

    @property
    def needs_pixels(self) -> bool:
        """Whether image files are read while it trains."""
        needs = learner_entry(self.learner).needs
        return "pixels" in needs or ("features" in needs and not self.stores_features) or self.supervision == "online"

    @property
    def weighs_views(self) -> bool:
        """Whether the teacher's labels decide which views it sees."""
        return self.config.views in WEIGHING

    # Both catalogues import torch, and who asks only which students there are needs neither.
    def make_objective(self) -> "Objective":
        with quick_imports():
            from fdbpl.pipeline.objectives.catalog import make_objective

        return make_objective(self.objective, self.config.objective_options.get(plain_name(self.objective), {}))

    def learner_options(self) -> "LearnerOptions":
        from fdbpl.pipeline.learners.catalog import learner_options

        with quick_imports():  # the catalogue imports the learner's module
            return learner_options(self.learner, self.given_options)

    def choices(self) -> dict[str, object]:
        """Everything that the config chooses for this student, but where its weights lie and whom it starts from."""
        grid = {"learner", "objective", "supervision", "shots", "seeds", "learner_options", "objective_options"}
        files = {"pretrained", "prompts", "vocabulary"}
        same = {"text_tower", "fused"}  # one result, up to rounding
        options = self.config.objective_options.get(plain_name(self.objective), {})
        return {
            **self.config.model_dump(mode="json", exclude={*grid, *files, *same, "starts_from"}),
            "learner": plain_name(self.learner),
            "learner_options": self.given_options,
            "objective": plain_name(self.objective),
            "objective_options": {name: value for name, value in options.items() if name not in same},
            "supervision": self.supervision,
            "shots": self.shots,
            "seed": self.seed,
        }


def list_plans(config: RunConfig) -> list[StudentPlan]:
    """The same students without a look at what they do: for a config that `student_plans` has let through already.

    Raises:
        ValueError: two students of one name, or a table that starts from no table, from several students, or from
            itself in the end.
    """
    plans = [
        StudentPlan(config=table, learner=learner, objective=objective, supervision=supervision, shots=shots, seed=seed)
        for table in config.student
        for learner, objective, supervision, shots, seed in product(
            table.learner, table.objective, table.supervision, table.shots, table.seeds
        )
    ]
    twice = [name for name, count in Counter(plan.id for plan in plans).items() if count > 1]
    if twice:
        raise ValueError(
            f"found two students named {', '.join(twice)}, expected each name once: give one of their "
            "[[student]] tables a `name`"
        )
    return _with_sources(plans)


def stages(plans: Sequence[StudentPlan]) -> list[list[StudentPlan]]:
    """Plans by stage, each in the order given: first those that start from nobody, then those that start from them,
    and so on. A stage of which no plan is given is left out."""
    return [[plan for plan in plans if plan.stage == stage] for stage in sorted({plan.stage for plan in plans})]


def _with_sources(plans: list[StudentPlan]) -> list[StudentPlan]:
    """The plans, each with the one that it starts from."""
    named: dict[tuple[str, str, int], list[StudentPlan]] = {}
    for plan in plans:
        named.setdefault((plan.config.name, plan.learner, plan.seed), []).append(plan)
    resolved: dict[str, StudentPlan] = {}

    def resolve(plan: StudentPlan, path: tuple[str, ...]) -> StudentPlan:
        if plan.id in path:
            circle = " <- ".join((*path[path.index(plan.id) :], plan.id))
            raise ValueError(
                f"found students that start from each other ({circle}), expected a first one: take `starts_from` out "
                "of one of their [[student]] tables"
            )
        if plan.id not in resolved:
            name = plan.config.starts_from
            found = named.get((name, plan.learner, plan.seed), [])
            # Of a table with several numbers of shots, the one that has its own.
            found = [one for one in found if one.shots == plan.shots] if len(found) > 1 else found
            if name and len(found) != 1:
                raise ValueError(_no_source(plan, found, plans))
            resolved[plan.id] = replace(plan, source=resolve(found[0], (*path, plan.id))) if name else plan
        return resolved[plan.id]

    return [resolve(plan, ()) for plan in plans]


def _no_source(plan: StudentPlan, found: list[StudentPlan], plans: list[StudentPlan]) -> str:
    name = plan.config.starts_from
    start = f"student {plan.id}: found starts_from = {name!r}"
    wanted = f"expected exactly one student of the learner {plan.learner} and the seed {plan.seed}"
    if found:
        return (
            f"{start}, a name under which there are {_some(one.id for one in found)}, {wanted}: give the objective "
            "and the supervision to start from a [[student]] table and a name of their own"
        )
    others = [one.id for one in plans if one.config.name == name]
    if others:
        return f"{start}, a name under which there are {_some(others)}, {wanted}: add it to that [[student]] table"
    names = dict.fromkeys(one.config.name for one in plans if one.config.name not in ("", plan.config.name))
    return (
        f"{start}, expected the `name` of another [[student]] table ({', '.join(names) or 'none has one'}): "
        "give the table to start from that `name`"
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
