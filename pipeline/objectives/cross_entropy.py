"""Cross-entropy with the true labels, CoOp as published (arXiv 2109.01134), or with the teacher's."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch.nn.functional import cross_entropy

from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    name: ClassVar[str] = "cross_entropy"
    needs: ClassVar[Literal["labels", "teacher"]] = "labels"
    dual: ClassVar[bool] = False
    by_vocabulary: ClassVar[bool] = False

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        loss_B = cross_entropy(prediction.logits_BC.float(), targets.labels_B, reduction="none")
        return LossTerms(values={"cross_entropy": loss_B})


@dataclass(frozen=True, kw_only=True)
class PseudoLabels:
    """Cross-entropy with the teacher's likeliest class in place of the label: a control that tells what soft labels add
    to hard ones of the same teacher."""

    name: ClassVar[str] = "pseudo_labels"
    needs: ClassVar[Literal["labels", "teacher"]] = "teacher"
    dual: ClassVar[bool] = False
    by_vocabulary: ClassVar[bool] = False

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        loss_B = cross_entropy(prediction.logits_BC.float(), targets.teacher().argmax(dim=-1), reduction="none")
        return LossTerms(values={"cross_entropy": loss_B})
