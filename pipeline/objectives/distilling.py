"""What every objective that follows a teacher lets people choose: direction and temperature of the divergence, and how
much each crop counts."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor

from fdbpl.kernels.distillation import Direction
from fdbpl.kernels.fdbpl_terms import Terms, fdbpl_terms
from fdbpl.kernels.topk_distillation import topk_informative_weight, topk_kl_divergence
from fdbpl.pipeline.values import KeptLogits, Prediction, Targets

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
        if targets.kept is not None and negative_BC is None and self.fused:
            terms = self._kept_terms(prediction.logits_BC, targets.kept)
        else:
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

    def _kept_terms(self, logits_BC: Tensor, kept: KeptLogits) -> Terms:
        """Of the classes that a store has kept: no [B, C] is made of the teacher."""
        label = (kept.value_BK, kept.index_BK, kept.other_B)
        agreement_B = topk_kl_divergence(logits_BC, *label, direction=self.direction, temperature=self.temperature)
        weight_B = None
        if self.weights != "none":
            weight_B = topk_informative_weight(kept.value_BK, kept.other_B, kept.num_classes)
        return Terms(agreement_B, weight_B, None, None)

    def agreement(self, prediction: Prediction, targets: Targets) -> Tensor:
        """The divergence of each example [B], times its weight."""
        terms = self.terms(prediction, targets)
        return terms.agreement_B if terms.weight_B is None else terms.weight_B * terms.agreement_B
