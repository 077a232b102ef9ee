"""The students of a config, each checked: a combination that makes no sense is refused, with the reason, before
anything runs."""

from pathlib import Path

from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.student_plan import StudentPlan, list_plans
from fdbpl.pipeline.weights import weights_source


def student_plans(config: RunConfig) -> list[StudentPlan]:
    """All students of a config, in the order of its tables.

    Raises:
        ValueError: as `list_plans`; unknown names or options, a senseless combination, or a student that cannot
            go on with the prompts from which it is to start.
    """
    plans = list_plans(config)
    for plan in plans:
        _check(plan, config)
    for plan in plans:
        _check_start(plan)
    return plans


def plan_by_id(config: RunConfig, student_id: str) -> StudentPlan:
    """The plan of that student, alone checked: hundreds of tasks ask for one each.

    Raises:
        ValueError: the config has none of that name, or as `student_plans` of that one.
    """
    plans = {plan.id: plan for plan in list_plans(config)}
    if student_id not in plans:
        raise ValueError(f"found no student {student_id!r} in the run's config, expected one of {', '.join(plans)}")
    plan = plans[student_id]
    _check(plan, config)
    _check_start(plan)
    return plan


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


def _check(plan: StudentPlan, config: RunConfig) -> None:
    """Refuse a student that makes no sense."""
    table, protocol = plan.config, config.evaluate.protocol
    objective = plan.make_objective()
    options = plan.learner_options()
    _check_options(table)
    for is_wrong, found, advice in (
        (
            objective.needs == "teacher" and plan.supervision == "hard",
            f"the objective {plan.objective} follows a teacher, but supervision 'hard' gives labels only",
            "choose 'cached' or 'online'",
        ),
        (
            objective.needs == "labels" and plan.supervision != "hard",
            f"the objective {plan.objective} uses true labels only, so the teacher of supervision "
            f"{plan.supervision!r} would be asked for nothing",
            "choose 'hard'",
        ),
        (
            objective.dual and not learner_entry(plan.learner).learns_text,
            f"the objective {plan.objective} learns negative prompts, but the learner {plan.learner} learns no text",
            'choose a learner of text, such as coop, or the objective kdpl with weights = "informative"',
        ),
        (
            objective.by_vocabulary and not table.vocabulary,
            f"the objective {plan.objective} takes its classes from a vocabulary, but there is none",
            "set `vocabulary` to a file of class names, one a line",
        ),
        (
            bool(table.vocabulary) and not Path(table.vocabulary).is_file(),
            f"the vocabulary {table.vocabulary}, which is no file",
            "set `vocabulary` to a file of class names, one a line",
        ),
        (
            bool(table.vocabulary) and not objective.by_vocabulary,
            f"there is a vocabulary, of which the objective {plan.objective} makes no use",
            "take it out, or choose kdpl_ca",
        ),
        (
            getattr(options, "class_specific", False) and (protocol != "few-shot" or objective.by_vocabulary),
            "class_specific contexts know their own classes only, but others are asked for by "
            + (plan.objective if objective.by_vocabulary else f"the protocol {protocol}"),
            "set class_specific = false",
        ),
        (
            table.importance and table.views != "informative",
            f"importance = true, which weighs views that were drawn unevenly, but views = {table.views!r}",
            'set views = "informative", or take importance out',
        ),
        (
            table.classes == "base" and protocol != "base-to-new",
            f"classes = 'base' trains on half of the classes, but the protocol {protocol} asks for all of them",
            'set classes = "all"',
        ),
        (
            bool(table.prompts) and bool(table.starts_from),
            "there are two places to start from, `prompts` and `starts_from`",
            "take one of them out",
        ),
    ):
        if is_wrong:
            raise ValueError(f"student {plan.id}: {found}: {advice}")


def _check_options(table: StudentConfig) -> None:
    for kind, options, chosen in (
        ("learner", table.learner_options, table.learner),
        ("objective", table.objective_options, table.objective),
    ):
        stray = sorted(set(options) - set(chosen))
        if stray:
            raise ValueError(
                f"student.{kind}_options: found options of {', '.join(stray)}, expected only those of the "
                f"table's own {kind}: {', '.join(chosen)}"
            )
