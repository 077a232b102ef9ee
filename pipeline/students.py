"""The grid of students that a config describes: one plan for each learner x objective x supervision x seed.

A combination that makes no sense is refused here, with the reason, before anything runs.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import product

from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.learners.catalog import LearnerOptions, learner_options
from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.objectives.catalog import make_objective


@dataclass(frozen=True, kw_only=True)
class StudentPlan:
    """One student: its own choices, and the table of the config that it comes from."""

    config: StudentConfig
    learner: str
    objective: str
    supervision: str
    seed: int

    @property
    def method(self) -> str:
        """The name that the students of all seeds share."""
        return "-".join(filter(None, (self.config.name, self.learner, self.objective, self.supervision)))

    @property
    def id(self) -> str:
        return f"{self.method}-seed{self.seed}"

    @property
    def needs_store(self) -> bool:
        return self.supervision == "cached" or self.config.features == "stored"

    def make_objective(self) -> Objective:
        return make_objective(self.objective, self.config.objective_options.get(self.objective, {}))

    def learner_options(self) -> LearnerOptions:
        return learner_options(self.learner, self.config.learner_options.get(self.learner, {}))

    def choices(self) -> dict[str, object]:
        """Everything that the config chooses for this student, but where its weights lie."""
        grid = {"learner", "objective", "supervision", "seeds", "learner_options", "objective_options"}
        return {
            **self.config.model_dump(mode="json", exclude={*grid, "pretrained"}),
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
        ValueError: unknown names or options, a senseless combination, or two students of one name.
    """
    plans = [
        StudentPlan(config=table, learner=learner, objective=objective, supervision=supervision, seed=seed)
        for table in config.student
        for learner, objective, supervision, seed in product(
            table.learner, table.objective, table.supervision, table.seeds
        )
    ]
    for plan in plans:
        _check(plan)
    twice = [name for name, count in Counter(plan.id for plan in plans).items() if count > 1]
    if twice:
        raise ValueError(
            f"found two students named {', '.join(twice)}, expected each name once: give one of their "
            "[[student]] tables a `name`"
        )
    return plans


def plan_by_id(config: RunConfig, student_id: str) -> StudentPlan:
    """The plan of that student. Raises ValueError where the config has none of that name."""
    plans = {plan.id: plan for plan in student_plans(config)}
    if student_id not in plans:
        raise ValueError(f"found no student {student_id!r} in the run's config, expected one of {', '.join(plans)}")
    return plans[student_id]


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
