"""What every objective that follows a teacher lets people choose: direction and temperature of the divergence, and how
much each crop counts."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fdbpl.kernels.distillation import Direction, kl_divergence
from fdbpl.kernels.dual_prompt import informative_weight
from fdbpl.pipeline.values import Prediction, Targets

Weighting = Literal["none", "informative", "shuffled"]


@dataclass(frozen=True, kw_only=True)
class Distilling:
    """Options of the divergence between a student's and the teacher's distribution.

    direction: `symmetric`, `forward` KL(T || S), or `reverse` KL(S || T).
    temperature: divides both sides' logits.
    weights: `informative` counts a crop by w = 1 - H(T)/log C (at temperature 1), `none` counts all alike, `shuffled`
        gives each crop the weight of another one in the batch: the control that tells what the weights themselves do.
    """

    needs: ClassVar[Literal["labels", "teacher"]] = "teacher"
    by_vocabulary: ClassVar[bool] = False

    direction: Direction = "symmetric"
    temperature: float = 1.0
    weights: Weighting = "none"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"found temperature = {self.temperature}, expected a positive number")
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, float) and not value >= 0:
                raise ValueError(f"found {option.name} = {value}, expected 0 or more")

    def agreement(self, prediction: Prediction, targets: Targets) -> Tensor:
        """The divergence of each example [B], not weighted yet."""
        return kl_divergence(
            prediction.logits_BC, targets.teacher(), direction=self.direction, temperature=self.temperature
        )

    def weight(self, targets: Targets) -> Tensor:
        """How much each example counts [B]."""
        teacher_BC = targets.teacher()
        if self.weights == "none":
            return torch.ones(len(teacher_BC), device=teacher_BC.device)
        weight_B = informative_weight(teacher_BC)
        # Batches come in random order: the neighbour's weight is a random other one's.
        return weight_B.roll(1) if self.weights == "shuffled" else weight_B
