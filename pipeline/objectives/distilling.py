"""What every objective that follows a teacher lets people choose: direction and temperature of the divergence, and how
much each crop counts."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor

from fdbpl.kernels.distillation import Direction
from fdbpl.kernels.fdbpl_terms import Terms, fdbpl_terms
from fdbpl.pipeline.values import Prediction, Targets

Weighting = Literal["none", "informative", "shuffled"]


@dataclass(frozen=True, kw_only=True)
class Distilling:
    """Options of the divergence between a student's and the teacher's distribution.

    direction: `symmetric`, `forward` KL(T || S), or `reverse` KL(S || T).
    temperature: divides both sides' logits.
    weights: `informative` counts a crop by w = 1 - H(T)/log C (at temperature 1), `none` counts all alike, `shuffled`
        gives each crop the weight of another one in the batch: the control that tells what the weights themselves do.
    fused: all that is asked of logits in one pass; false, to compare with, takes the plain functions. One result, up to
        rounding.
    """

    needs: ClassVar[Literal["labels", "teacher"]] = "teacher"
    by_vocabulary: ClassVar[bool] = False

    direction: Direction = "symmetric"
    temperature: float = 1.0
    weights: Weighting = "none"
    fused: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"found temperature = {self.temperature}, expected a positive number")
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, float) and not value >= 0:
                raise ValueError(f"found {option.name} = {value}, expected 0 or more")

    def terms(self, prediction: Prediction, targets: Targets, negative_BC: Tensor | None = None) -> Terms:
        """The divergence of each example [B], not weighted yet; its weight, None where all count alike; and the terms
        of a negative prompt where its logits are given."""
        terms = fdbpl_terms(
            prediction.logits_BC,
            targets.teacher(),
            negative_BC,
            direction=self.direction,
            temperature=self.temperature,
            subtract=prediction.subtract,
            weighted=self.weights != "none",
            fused=self.fused,
        )
        if terms.weight_B is None or self.weights != "shuffled":
            return terms
        # Batches come in random order: the neighbour's weight is a random other one's.
        return terms._replace(weight_B=terms.weight_B.roll(1))

    def agreement(self, prediction: Prediction, targets: Targets) -> Tensor:
        """The divergence of each example [B], times its weight."""
        terms = self.terms(prediction, targets)
        return terms.agreement_B if terms.weight_B is None else terms.weight_B * terms.agreement_B
