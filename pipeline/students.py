"""The grid of students that a config describes: one plan for each learner x objective x supervision x seed.

A combination that makes no sense is refused here, with the reason, before anything runs. A table may start from
another: its students then begin with the prompts that the other's students of the same learner and seed have learned.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.weights import weights_source

if TYPE_CHECKING:
    from fdbpl.pipeline.learners.catalog import LearnerOptions
    from fdbpl.pipeline.objectives.base import Objective


@dataclass(frozen=True, kw_only=True)
class StudentPlan:
    """One student: its own choices, the table of the config that it comes from, and the student that it starts from."""

    config: StudentConfig
    learner: str
    objective: str
    supervision: str
    seed: int
    source: "StudentPlan | None" = None

    @property
    def method(self) -> str:
        """The name that the students of all seeds share."""
        return "-".join(filter(None, (self.config.name, self.learner, self.objective, self.supervision)))

    @property
    def id(self) -> str:
        return f"{self.method}-seed{self.seed}"

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
        return self.supervision == "cached" or self.config.features == "stored"

    # Both catalogues import torch, and who asks only which students there are needs neither.
    def make_objective(self) -> "Objective":
        from fdbpl.pipeline.objectives.catalog import make_objective

        return make_objective(self.objective, self.config.objective_options.get(self.objective, {}))

    def learner_options(self) -> "LearnerOptions":
        from fdbpl.pipeline.learners.catalog import learner_options

        return learner_options(self.learner, self.config.learner_options.get(self.learner, {}))

    def choices(self) -> dict[str, object]:
        """Everything that the config chooses for this student, but where its weights lie and whom it starts from."""
        grid = {"learner", "objective", "supervision", "seeds", "learner_options", "objective_options"}
        return {
            **self.config.model_dump(mode="json", exclude={*grid, "pretrained", "starts_from"}),
            "learner": self.learner,
            "learner_options": self.config.learner_options.get(self.learner, {}),
            "objective": self.objective,
            "objective_options": self.config.objective_options.get(self.objective, {}),
            "supervision": self.supervision,
            "seed": self.seed,
        }


def student_plans(config: RunConfig) -> list[StudentPlan]:
    """All students of a config, in the order of its tables.

    Raises:
        ValueError: as `list_plans`; unknown names or options, a senseless combination, or a student that cannot
            go on with the prompts from which it is to start.
    """
    plans = list_plans(config)
    for plan in plans:
        _check(plan)
    for plan in plans:
        _check_start(plan)
    return plans


def list_plans(config: RunConfig) -> list[StudentPlan]:
    """The same students without a look at what they do: for a config that `student_plans` has let through already.
    Does not import torch.

    Raises:
        ValueError: two students of one name, or a table that starts from no table, from several students, or from
            itself in the end.
    """
    plans = [
        StudentPlan(config=table, learner=learner, objective=objective, supervision=supervision, seed=seed)
        for table in config.student
        for learner, objective, supervision, seed in product(
            table.learner, table.objective, table.supervision, table.seeds
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


def plan_by_id(config: RunConfig, student_id: str) -> StudentPlan:
    """The plan of that student, alone checked: hundreds of tasks ask for one each.

    Raises:
        ValueError: the config has none of that name, or as `student_plans` of that one.
    """
    plans = {plan.id: plan for plan in list_plans(config)}
    if student_id not in plans:
        raise ValueError(f"found no student {student_id!r} in the run's config, expected one of {', '.join(plans)}")
    plan = plans[student_id]
    _check(plan)
    _check_start(plan)
    return plan


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


def _check_start(plan: StudentPlan) -> None:
    """Refuse what the prompts of the source cannot serve. Those of the same names are carried over; a negative prompt
    that the source has not learned begins with its own words."""
    source = plan.source
    if source is None:
        return
    start = f"student {plan.id} starts from {source.id}"
    both = "give both [[student]] tables the same"
    own, other = plan.config, source.config
    if weights_source(own.pretrained) != weights_source(other.pretrained):
        raise ValueError(
            f"{start}: found pretrained = {own.pretrained!r}, expected {other.pretrained!r} as there, for prompts mean "
            f"something only to the model that learned them: {both}"
        )
    for key, why in (
        ("model", "prompts mean something only to the model that learned them"),
        ("precision", "prompts mean something only to the model that learned them"),
        ("classes", "what has learned from other classes cannot be compared on base and new ones"),
    ):
        found, expected = getattr(own, key), getattr(other, key)
        if found != expected:
            raise ValueError(f"{start}: found {key} = {found!r}, expected {expected!r} as there, for {why}: {both}")
    words, learned = (one.learner_options().starts(dual=one.make_objective().dual) for one in (plan, source))
    for prompt in words:
        if prompt in learned and words[prompt] != learned[prompt]:
            raise ValueError(
                f"{start}: found the {prompt} prompt to begin as {words[prompt]!r}, expected {learned[prompt]!r} as "
                f"there, where it is taken from: {both} learner_options"
            )


def _check(plan: StudentPlan) -> None:
    objective = plan.make_objective()
    plan.learner_options()
    for kind, options, chosen in (
        ("learner", plan.config.learner_options, plan.config.learner),
        ("objective", plan.config.objective_options, plan.config.objective),
    ):
        stray = sorted(set(options) - set(chosen))
        if stray:
            raise ValueError(
                f"student.{kind}_options: found options of {', '.join(stray)}, expected only those of the "
                f"table's own {kind}: {', '.join(chosen)}"
            )
    if objective.needs == "teacher" and plan.supervision == "hard":
        raise ValueError(
            f"student {plan.id}: the objective {plan.objective} follows a teacher, but supervision 'hard' "
            "gives labels only: choose 'cached' or 'online'"
        )
    if objective.needs == "labels" and plan.supervision != "hard":
        raise ValueError(
            f"student {plan.id}: the objective {plan.objective} uses true labels only, so the teacher of "
            f"supervision {plan.supervision!r} would be asked for nothing: choose 'hard'"
        )
