"""The students of a config, each checked: a combination that makes no sense is refused, with the reason, before
anything runs."""

from collections.abc import Sequence

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.students.packs import pack_id, packs
from fdbpl.pipeline.students.plan import StudentPlan, list_plans, stages
from fdbpl.pipeline.students.refusals import check_student
from fdbpl.pipeline.students.start_file import check_start_file
from fdbpl.pipeline.weights import weights_source


def student_plans(config: RunConfig) -> list[StudentPlan]:
    """All students of a config, in the order of its tables.

    Raises:
        ValueError: as `list_plans`; unknown names or options, a senseless combination, or a student that cannot
            go on with the prompts from which it is to start.
    """
    plans = list_plans(config)
    for plan in plans:
        check_student(plan, config)
    for plan in plans:
        _check_start(plan)
    return plans


def pack_by_id(config: RunConfig, task_id: str, num_classes: int) -> list[StudentPlan]:
    """The plans of that pack, they alone checked: hundreds of tasks ask for one each. Errors as of `packs_by_id`."""
    return packs_by_id(config, [task_id], num_classes)[0]


def packs_by_id(config: RunConfig, task_ids: Sequence[str], num_classes: int) -> list[list[StudentPlan]]:
    """The plans of those packs, they alone checked; what there is is listed once for all.

    Args:
        task_ids: as `pack_id` names packs.
        num_classes: of the data set.

    Raises:
        ValueError: the config has none of one's name, or as `student_plans` of those.
    """
    known = {
        pack_id(pack): pack
        for stage in stages(list_plans(config))
        for pack in packs(stage, config.cluster, num_classes)
    }
    for task_id in task_ids:
        if task_id not in known:
            raise ValueError(f"found no students {task_id!r} in the run's config, expected one of {', '.join(known)}")
        for plan in known[task_id]:
            check_student(plan, config)
            _check_start(plan)
    return [known[task_id] for task_id in task_ids]


def plan_by_id(config: RunConfig, student_id: str) -> StudentPlan:
    """The plan of that student, alone checked: hundreds of tasks ask for one each.

    Raises:
        ValueError: the config has none of that name, or as `student_plans` of that one.
    """
    plans = {plan.id: plan for plan in list_plans(config)}
    if student_id not in plans:
        raise ValueError(f"found no student {student_id!r} in the run's config, expected one of {', '.join(plans)}")
    plan = plans[student_id]
    check_student(plan, config)
    _check_start(plan)
    return plan


def _check_start(plan: StudentPlan) -> None:
    """Refuse what the prompts of the source cannot serve. Those of the same names are carried over; a negative prompt
    that the source has not learned begins with its own words."""
    if plan.config.prompts:
        check_start_file(plan)
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
