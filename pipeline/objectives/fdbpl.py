"""FDBPL: distillation weighted by how informative a crop is, with a negative prompt that learns to reject
(arXiv 2505.18053).

    L =   mean w (symmetric KL of T and S+)          agreement: learn where the teacher knows
        + mean (1 - w) (-H(S-))                      rejection: the negative prompt tells nothing of poor crops
        + separation * mean w cos(z+, z-)            the two prompts part
        + ranking * mean over pairs (see kernels.ranking)

with w = 1 - H(T)/log C. The published code's fourth term sums to zero whatever the prompts are; here it is the
ranking that it was meant to be. `ranking = 0` gives the published loss exactly.
"""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch

from fdbpl.kernels.dual_prompt import fdbpl_terms
from fdbpl.kernels.ranking import difference_ranking
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class Fdbpl:
    """The weights of the terms; `weighted = false` is the ablation w = 1 throughout, which leaves no rejection."""

    name: ClassVar[str] = "fdbpl"
    needs: ClassVar[Literal["labels", "teacher"]] = "teacher"
    dual: ClassVar[bool] = True

    rejection: float = 1.0
    separation: float = 0.001
    ranking: float = 0.1
    margin: float = 0.2
    weighted: bool = True

    def __post_init__(self) -> None:
        for option in fields(self):
            if getattr(self, option.name) < 0:
                raise ValueError(f"found {option.name} = {getattr(self, option.name)}, expected 0 or more")

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        assert prediction.negative_logits_BC is not None and prediction.negative_text_features_CD is not None
        teacher_BC = targets.teacher()
        terms = fdbpl_terms(teacher_BC, prediction.logits_BC, prediction.negative_logits_BC)
        weight_B = terms.weight_B if self.weighted else torch.ones_like(terms.weight_B)
        values = {
            "agreement": weight_B * terms.agreement_B,
            "rejection": (1.0 - weight_B) * terms.rejection_B,
            "separation": weight_B * terms.separation_B,
            "ranking": difference_ranking(
                prediction.image_features_BD,
                prediction.text_features_CD - prediction.negative_text_features_CD,
                teacher_BC.argmax(dim=-1),
                weight_B,
                self.margin,
            ),
        }
        weights = {"rejection": self.rejection, "separation": self.separation, "ranking": self.ranking}
        return LossTerms(values=values, weights=weights)
