"""The four values that pass between loader, supervision, learner and objective; all frozen, all plain tensors.

Letters: B batch, C classes, K chosen classes, D embedding, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Views:
    """A batch of (image, crop seed) pairs with what a learner asked for: pixels, features, or both.

    image_ids_B and seeds_B are int64 on the CPU; labels_B is int64 on the training device, an index into the
    classes of the student; pixels_BCHW is uint8; features_BD are unit vectors of the student's frozen image encoder;
    importance_B float32 is by how much each view's loss counts, None where all count alike. label_rows are the
    teacher's labels as they are stored, a tensor [B, ...] for each array, on the training device; none where no store
    is read.
    """

    image_ids_B: Tensor
    seeds_B: Tensor
    labels_B: Tensor
    pixels_BCHW: Tensor | None = None
    features_BD: Tensor | None = None
    importance_B: Tensor | None = None
    label_rows: tuple[Tensor, ...] = ()

    def each(self, change: Callable[[Tensor], Tensor]) -> "Views":
        """The same views with every tensor changed."""

        def changed(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(change, value))
            return None if value is None else change(value)

        return Views(**{one.name: changed(getattr(self, one.name)) for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class KeptLogits:
    """A teacher's logits of the classes that were kept of each view, and the one that each of the others has.

    value_BK float32, index_BK int64 positions among the student's classes, other_B float32; num_classes is C.
    """

    value_BK: Tensor
    index_BK: Tensor
    other_B: Tensor
    num_classes: int

    def dense(self) -> Tensor:
        """Of all classes [B, C]."""
        logits_BC = self.other_B.unsqueeze(-1).repeat(*[1] * self.other_B.ndim, self.num_classes)
        return logits_BC.scatter_(-1, self.index_BK, self.value_BK)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a supervision answers for views: hard labels, and the teacher's scaled logits where it has a teacher: of all
    classes, or of those that a store has kept.

    Where it has chosen some of the student's classes for this batch, chosen_K int64 are their positions among all, and
    the logits are over these.
    """

    labels_B: Tensor
    teacher_logits_BC: Tensor | None = None
    kept: KeptLogits | None = None
    chosen_K: Tensor | None = None

    def teacher(self) -> Tensor:
        """The teacher's logits of all classes [B, C]."""
        if self.kept is not None:
            return self.kept.dense()
        assert self.teacher_logits_BC is not None, "checked when objective and supervision were paired"
        return self.teacher_logits_BC


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a learner says of views; the negative twins exist where it is dual.

    Logits are cosines times `logit_scale`; those that answer, logits_BC, are the positive prompts' less the part
    `subtract` of the negative ones'. text_features_CD are None where each image has its own text features.
    own_terms are losses that a learner adds to any objective's, with their weights.
    """

    logits_BC: Tensor
    logit_scale: float
    text_features_CD: Tensor | None = None
    negative_logits_BC: Tensor | None = None
    negative_text_features_CD: Tensor | None = None
    subtract: float = 0.0
    own_terms: dict[str, Tensor] = field(default_factory=dict)
    own_weights: dict[str, float] = field(default_factory=dict)

    def negative(self) -> Tensor:
        assert self.negative_logits_BC is not None, "a learner of a dual objective is built in its dual form"
        return self.negative_logits_BC

    def positive(self) -> Tensor:
        """The logits of the positive prompts alone, z+ [B, C]."""
        return self.logits_BC + self.subtract * self.negative() if self.subtract else self.logits_BC

    def margins(self) -> Tensor | None:
        """By how much each class's positive prompt outweighs its negative one, z+ - z- [B, C]; None without these."""
        return None if self.negative_logits_BC is None else self.positive() - self.negative_logits_BC


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Named terms with their weights; a term is one value per example [B], or a scalar over all pairs."""

    values: dict[str, Tensor]
    weights: dict[str, float] = field(default_factory=dict)

    def total(self, importance_B: Tensor | None = None) -> Tensor:
        """The loss to minimise: the weighted sum of the terms' means, where each example counts by its importance."""
        return torch.stack(
            [self.weights.get(name, 1.0) * mean for name, mean in self.means(importance_B).items()]
        ).sum()

    def means(self, importance_B: Tensor | None = None) -> dict[str, Tensor]:
        """Each term's mean over the examples, times their importance; terms over pairs are as they are."""
        return {
            name: (value if importance_B is None or value.ndim == 0 else value * importance_B).mean()
            for name, value in self.values.items()
        }
