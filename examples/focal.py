"""An objective of your own: KDPL's divergence, in which crops that the student has right already count less.

    objective = ["examples/focal.py:Focal"]        # in a [[student]] table; the path is taken from the config's folder
    [student.objective_options.Focal]
    gamma = 2.0

After the focal loss (Lin et al., arXiv 1708.02002). Letters: B batch, C classes.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from fdbpl.kernels.distillation import kl_divergence
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class Focal:
    """gamma: how little a crop counts of which the student is sure; 0 is KDPL."""

    name: ClassVar[str] = "focal"
    needs: ClassVar[Literal["labels", "teacher"]] = "teacher"
    dual: ClassVar[bool] = False
    by_vocabulary: ClassVar[bool] = False

    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"found gamma = {self.gamma}, expected 0 or more")

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        """One value a crop [B]; the loop takes their mean."""
        teacher_BC = targets.teacher()
        sure_B = prediction.logits_BC.softmax(-1).gather(1, teacher_BC.argmax(-1, keepdim=True))[:, 0]
        loss_B = kl_divergence(prediction.logits_BC, teacher_BC, direction="symmetric")
        return LossTerms(values={"focal": (1.0 - sure_B.detach()) ** self.gamma * loss_B})
