"""The four values that pass between loader, supervision, learner and objective; all frozen, all plain tensors.

Letters: B batch, C classes, D embedding, H W pixels.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Views:
    """A batch of (image, crop seed) pairs with what a learner asked for: pixels, features, or neither.

    image_ids_B and seeds_B are int64 on the CPU; labels_B is int64 on the training device, an index into the
    classes of the student; pixels_BCHW is uint8; features_BD are unit vectors of the student's image encoder.
    """

    image_ids_B: Tensor
    seeds_B: Tensor
    labels_B: Tensor
    pixels_BCHW: Tensor | None = None
    features_BD: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a supervision answers for views: hard labels, and the teacher's scaled logits where it has a teacher."""

    labels_B: Tensor
    teacher_logits_BC: Tensor | None = None

    def teacher(self) -> Tensor:
        assert self.teacher_logits_BC is not None, "checked when objective and supervision were paired"
        return self.teacher_logits_BC


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a learner says of views; the negative twins exist where it is dual."""

    logits_BC: Tensor
    image_features_BD: Tensor
    text_features_CD: Tensor
    negative_logits_BC: Tensor | None = None
    negative_text_features_CD: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Named terms with their weights; a term is one value per example [B], or a scalar over all pairs."""

    values: dict[str, Tensor]
    weights: dict[str, float] = field(default_factory=dict)

    def total(self) -> Tensor:
        """The loss to minimise: the weighted sum of the terms' means."""
        means = [self.weights.get(name, 1.0) * value.mean() for name, value in self.values.items()]
        return torch.stack(means).sum()
