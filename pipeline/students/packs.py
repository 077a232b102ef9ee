"""Students that can train as one batched program, each as it would alone.

They read the same store and model, learn prompts of one form over the same classes by one objective, and take as many
steps of as many views; seeds, learning rates, view policies and the objective's options are their own. What a step
costs beside arithmetic (a kernel's start, a layer's call, a read) is then paid once for all. Imports no torch.
"""

import json
import math
from collections.abc import Sequence

from fdbpl.pipeline.config import ClusterConfig
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.students.plan import StudentPlan

# Where the config says nothing: students of a pack, and students times classes, at most. The memory is about that of
# one student with as many classes: 1 GB for the text tower of ViT-B in float32 (docs/cost.md), twice that with negative
# prompts.
_MOST, _MOST_PROMPTS = 16, 512
# Choices of a student's table that those of one pack need not share, or that are told by the plan.
_OWN = {"name", "starts_from", "prompts", "seeds", "objective", "objective_options", "views", "importance", "optim"}
_OF_PLAN = {"learner", "learner_options", "supervision", "shots"}


def packs(plans: Sequence[StudentPlan], cluster: ClusterConfig, num_classes: int) -> list[list[StudentPlan]]:
    """The plans in packs: as large as the config says; else as large as leaves a pack for every task that may run at a
    time. A plan that must train alone is a pack of its own.

    Args:
        num_classes: of the data set.
    """
    kinds: dict[str, list[StudentPlan]] = {}
    for plan in plans:
        kinds.setdefault(_kind(plan), []).append(plan)
    most = cluster.students_per_task
    if not most:
        most = max(1, min(_MOST, _MOST_PROMPTS // num_classes, math.ceil(len(plans) / cluster.max_workers)))
    return [kind[start : start + most] for kind in kinds.values() for start in range(0, len(kind), most)]


def pack_id(pack: Sequence[StudentPlan]) -> str:
    """Its first student's id, and how many more there are."""
    return pack[0].id + (f"+{len(pack) - 1}" if len(pack) > 1 else "")


def trains_in_packs(plan: StudentPlan) -> bool:
    """Whether others can train with it: where no image is read, and a step computes text prompts alone."""
    return (
        learner_entry(plan.learner).in_packs
        and plan.config.text_tower != "plain"
        and plan.supervision != "online"
        and not plan.needs_pixels
        and not plan.config.vocabulary
    )


def _kind(plan: StudentPlan) -> str:
    """What plans of one pack have in common, as text."""
    if not trains_in_packs(plan):
        return plan.id
    table = plan.config.model_dump(mode="json", exclude=_OWN | _OF_PLAN)
    own = [plan.learner, plan.given_options, plan.objective, plan.supervision, plan.shots]
    return json.dumps([table, own], sort_keys=True)
