"""KDPL: the student's class distribution follows the teacher's, without labels (arXiv 2407.03056).

The published code scales the teacher's cosines by the student's factor; here each model has its own. Of CLIPs
trained to the usual limit of 100 both are the same.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from fdbpl.kernels.distillation import symmetric_kl
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class Kdpl:
    """The symmetric KL divergence at one temperature for both sides."""

    name: ClassVar[str] = "kdpl"
    needs: ClassVar[Literal["labels", "teacher"]] = "teacher"
    dual: ClassVar[bool] = False

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"found temperature = {self.temperature}, expected a positive number")

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        student_BC = prediction.logits_BC / self.temperature
        return LossTerms(values={"agreement": symmetric_kl(student_BC, targets.teacher() / self.temperature)})
