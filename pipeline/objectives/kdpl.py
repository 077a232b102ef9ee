"""KDPL: the student's class distribution follows the teacher's, without labels (arXiv 2407.03056).

The published code scales the teacher's cosines by the student's factor; here each model has its own. Of CLIPs
trained to the usual limit of 100 both are the same.
"""

from dataclasses import dataclass
from typing import ClassVar

from fdbpl.pipeline.objectives.distilling import Distilling
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class Kdpl(Distilling):
    """The divergence alone; as published it is symmetric, at temperature 1, and all crops count alike."""

    name: ClassVar[str] = "kdpl"
    dual: ClassVar[bool] = False

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        return LossTerms(values={"agreement": self.agreement(prediction, targets)})


@dataclass(frozen=True, kw_only=True)
class KdplClassAgnostic(Kdpl):
    """KDPL where not even the names of the training classes are known: of a fixed vocabulary each batch uses the
    `most_classes` that the teacher finds likeliest on average over the batch (K_MAX = 1000 as published).

    most_classes: names of the vocabulary that a batch uses at most.
    """

    name: ClassVar[str] = "kdpl_ca"
    by_vocabulary: ClassVar[bool] = True

    most_classes: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most_classes < 2:
            raise ValueError(f"found most_classes = {self.most_classes}, expected 2 or more")
