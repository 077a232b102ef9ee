"""Every learner in a small form, and what its tests feed it: see test_learners.py."""

from collections.abc import Sequence
from typing import Any

import torch
from small_clips import random_pixels, small_clip
from torch import Tensor
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.learners.catalog import learner_options
from fdbpl.pipeline.values import Prediction, Views

NAMES = ("red circle", "green_square", "a very long name of an odd thing", "x", "dog")
TEACHER_WIDTH = 12
# Depths that small towers have, other than the number of their layers.
SMALL: dict[str, dict[str, Any]] = {
    "coop": {},
    "cocoop": {},
    "vpt": {"depth": 3},
    "maple": {"depth": 3},
    "promptsrc": {"text_depth": 2, "visual_depth": 3},
    "promptkd": {"depth": 3},
}
WITH_TEXT = ("coop", "cocoop", "maple", "promptsrc")
WITH_PIXELS = ("vpt", "maple", "promptsrc", "promptkd")


def teacher_texts(class_names: Sequence[str]) -> Tensor:
    """Unit features [C, 12] that depend on each name alone."""
    rows = [torch.randn(TEACHER_WIDTH, generator=torch.Generator().manual_seed(len(name))) for name in class_names]
    return normalize(torch.stack(rows), dim=-1)


def build(name: str, backbone: Backbone | None = None, *, dual: bool = False, seed: int = 0, **options: Any) -> Learner:
    context = LearnerContext(
        backbone=backbone or small_clip(),
        class_names=NAMES,
        dual=dual,
        seed=seed,
        template="a picture of a {}.",
        teacher_texts=teacher_texts,
    )
    return learner_options(name, SMALL[name] | options).build(context)


def views(backbone: Backbone, count: int = 6) -> Views:
    """With pixels, and features of a frozen encoder that are not those of the pixels."""
    ids = torch.arange(count)
    features_BD = torch.randn(count, backbone.embedding_width, generator=torch.Generator().manual_seed(1))
    return Views(
        image_ids_B=ids,
        seeds_B=ids,
        labels_B=ids % len(NAMES),
        pixels_BCHW=random_pixels(backbone, count),
        features_BD=normalize(features_BD, dim=-1),
    )


def loss_of(prediction: Prediction) -> Tensor:
    """Something that all that was learned has a part in."""
    loss = prediction.logits_BC[:, 0].sum() + sum(term.mean() for term in prediction.own_terms.values())
    negative_BC = prediction.negative_logits_BC
    return loss if negative_BC is None else loss + negative_BC[:, 1].sum()
