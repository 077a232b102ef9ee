"""PromptKD's loss: forward KL at a temperature, averaged over classes as well (arXiv 2403.02781).

    L = weight * temperature^2 * sum KL(T || S) / (B C)

with weight 1000, or 200 for FGVCAircraft, Flowers102 and DTD, as published.
"""

from dataclasses import dataclass
from typing import ClassVar

from fdbpl.kernels.distillation import Direction
from fdbpl.pipeline.objectives.distilling import Distilling
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class PromptKd(Distilling):
    """weight_of_kl: factor of the divergence, a mean over the classes; 1000 as published, 200 for some data sets."""

    name: ClassVar[str] = "promptkd"
    dual: ClassVar[bool] = False

    direction: Direction = "forward"
    weight_of_kl: float = 1000.0

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        factor = self.weight_of_kl * self.temperature**2 / prediction.logits_BC.shape[-1]
        return LossTerms(values={"agreement": self.agreement(prediction, targets)}, weights={"agreement": factor})
