"""Combinations of what a config chooses for a student that make no sense, each with the reason and what to change."""

from collections.abc import Iterator
from pathlib import Path

from fdbpl.pipeline.config import Protocol, RunConfig, StudentConfig
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.own_code import plain_name
from fdbpl.pipeline.students.plan import StudentPlan

# Options of learners that shape negative prompts alone.
_NEGATIVE = ("coupling", "negative_context", "subtract")
# What is wrong, and what to do.
Fault = tuple[str, str]


def check_student(plan: StudentPlan, config: RunConfig) -> None:
    """Refuse a student that makes no sense.

    Raises:
        ValueError: unknown names or options, or a senseless combination.
    """
    _check_options(plan.config)
    protocol = config.evaluate.protocol
    for faults in (
        _of_objective(plan),
        _of_vocabulary(plan),
        _of_learner(plan, protocol),
        _of_views(plan, config.crops.seeds),
        _of_start(plan.config),
    ):
        for found, advice in faults:
            raise ValueError(f"student {plan.id}: {found}: {advice}")


def _of_objective(plan: StudentPlan) -> Iterator[Fault]:
    """Against supervision, learner and batch."""
    objective = plan.make_objective()
    if objective.needs == "teacher" and plan.supervision == "hard":
        found = f"the objective {plan.objective} follows a teacher, but supervision 'hard' gives labels only"
        yield found, "choose 'cached' or 'online'"
    if objective.needs == "labels" and plan.supervision != "hard":
        yield (
            f"the objective {plan.objective} uses true labels only, so the teacher of supervision "
            f"{plan.supervision!r} would be asked for nothing",
            "choose 'hard'",
        )
    if objective.dual and not learner_entry(plan.learner).learns_text:
        yield (
            f"the objective {plan.objective} learns negative prompts, but the learner {plan.learner} learns no text",
            'choose a learner of text, such as coop, or the objective kdpl with weights = "informative"',
        )
    if getattr(objective, "weights", "none") == "shuffled" and plan.config.batch_size == 1:
        yield (
            "weights = 'shuffled' gives each crop the weight of another one in its batch, but batch_size = 1",
            "raise batch_size, or choose other weights",
        )


def _of_vocabulary(plan: StudentPlan) -> Iterator[Fault]:
    name, by_vocabulary = plan.config.vocabulary, plan.make_objective().by_vocabulary
    if by_vocabulary and not name:
        yield (
            f"the objective {plan.objective} takes its classes from a vocabulary, but there is none",
            "set `vocabulary` to a file of class names, one a line",
        )
    if name and not by_vocabulary:
        yield (
            f"there is a vocabulary, of which the objective {plan.objective} makes no use",
            "take it out, or choose kdpl_ca",
        )
    if name and not Path(name).is_file():
        yield f"the vocabulary {name}, which is no file", "set `vocabulary` to a file of class names, one a line"


def _of_learner(plan: StudentPlan, protocol: Protocol) -> Iterator[Fault]:
    options, by_vocabulary = plan.learner_options(), plan.make_objective().by_vocabulary
    if getattr(options, "class_specific", False) and (protocol != "few-shot" or by_vocabulary):
        yield (
            "class_specific contexts know their own classes only, but others are asked for by "
            + (plan.objective if by_vocabulary else f"the protocol {protocol}"),
            "set class_specific = false",
        )
    least = learner_entry(plan.learner).least_batch
    if plan.config.batch_size < least:
        yield (
            f"batch_size = {plan.config.batch_size}, but the learner {plan.learner} normalises over the batch",
            f"set it to {least} or more",
        )
    if plan.config.classes == "base" and protocol != "base-to-new":
        yield (
            f"classes = 'base' trains on half of the classes, but the protocol {protocol} asks for all of them",
            'set classes = "all"',
        )


def _of_views(plan: StudentPlan, num_seeds: int) -> Iterator[Fault]:
    table = plan.config
    if table.importance and table.views != "informative":
        yield (
            f"importance = true, which weighs views that were drawn unevenly, but views = {table.views!r}",
            'set views = "informative", or take importance out',
        )
    if plan.weighs_views and num_seeds == 1:
        yield (
            f"views = {table.views!r} chooses among the crops of an image, but crops.seeds = 1",
            'raise crops.seeds, or set views = "cycle"',
        )


def _of_start(table: StudentConfig) -> Iterator[Fault]:
    if table.prompts and table.starts_from:
        yield "there are two places to start from, `prompts` and `starts_from`", "take one of them out"


def _check_options(table: StudentConfig) -> None:
    """Refuse options that nothing in the table makes use of. Raises ValueError."""
    for kind, options, chosen in (
        ("learner", table.learner_options, table.learner),
        ("objective", table.objective_options, table.objective),
    ):
        stray = sorted(set(options) - set(map(plain_name, chosen)))
        if stray:
            raise ValueError(
                f"student.{kind}_options: found options of {', '.join(stray)}, expected only those of the "
                f"table's own {kind}: {', '.join(map(plain_name, chosen))}"
            )
    from fdbpl.pipeline.objectives.catalog import objective_class  # imports torch

    kinds = [objective_class(name) for name in table.objective]
    if any(kind is None or kind.dual for kind in kinds):
        return
    for learner, options in table.learner_options.items():
        useless = sorted(set(options) & set(_NEGATIVE))
        if useless:
            raise ValueError(
                f"student.learner_options.{learner}: found {', '.join(useless)}, which shape negative prompts, but no "
                f"objective of the table learns any ({', '.join(table.objective)}): take them out, or choose fdbpl"
            )
