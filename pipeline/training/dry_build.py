"""Building every learner of a run once without weights, so that what a model has no place for is told before the
teacher has run: visual tokens in a ResNet, deeper prompts than a tower has layers, names too long for its context."""

import json
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fdbpl.pipeline.clip.blank import blank_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import training_set
from fdbpl.pipeline.datasets.data_set import DataSet
from fdbpl.pipeline.labels.class_lists import asked_names
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.students.start_file import check_start_fits
from fdbpl.pipeline.training.checkpoint import shapes_of


def check_learners(config: RunConfig, data: DataSet, plans: Iterable[StudentPlan]) -> None:
    """Refuse learners that their models, class names or prompts to start from do not suit; each kind is built once,
    however many seeds it has.

    Raises:
        ValueError: as the learners' `build` and `check_start_fits`, naming a student.
    """
    seen = set()
    for plan in plans:
        choices = plan.choices()
        kind = json.dumps([choices[key] for key in ("model", "learner", "learner_options", "objective", "classes")])
        kind += plan.config.vocabulary + plan.config.prompts
        if kind in seen:
            continue
        seen.add(kind)
        try:
            learner = _built(config, data, plan)
        except ValueError as error:
            raise ValueError(f"student {plan.id}: {error}") from error
        if plan.config.prompts:
            check_start_fits(plan, data, learner.class_names, shapes_of(learner.state_dict()))


@torch.no_grad()
def _built(config: RunConfig, data: DataSet, plan: StudentPlan) -> Learner:
    context = LearnerContext(
        backbone=blank_backbone(plan.config.model),
        class_names=asked_names(config, plan.config, training_set(data, plan).class_names).class_names,
        dual=plan.make_objective().dual,
        template=config.data.template,
        teacher_texts=_blank_texts,
    )
    learner = plan.learner_options().build(context)
    learner.eval().texts(context.class_names)
    return learner


def _blank_texts(class_names: Sequence[str]) -> Tensor:
    return torch.empty(len(class_names), 1, device="meta")
