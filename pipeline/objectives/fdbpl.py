"""FDBPL: distillation weighted by how informative a crop is, with a negative prompt that learns to reject
(arXiv 2505.18053).

    L =   mean w KL                               agreement: learn where the teacher knows
        + rejection * mean (1 - w) (-H(S-))       the negative prompt tells nothing of poor crops
        + separation * mean w cos(z+, z-)         the two prompts part
        + ranking * cascade                       the classes' differences positive - negative part

with w = 1 - H(T)/log C. The forms differ in the last term (kernels.ranking): `as_published` has the cascade of the
published code, which is identically zero whatever the prompts are; `corrected` the ranking that it was meant to be.

In both the negative prompt plays no part in what the positive one learns or answers. In `presence`, a form of our own,
it does: positive and negative prompt of a class decide together whether the class is there at all,

    L = mean w KL + presence * mean BCE(sigmoid(z+ - z-), w T)

so that a crop of which the teacher knows nothing, and any class that is not the image's, speak for negative prompts. It
is tried, not recommended.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fdbpl.kernels import dual_prompt
from fdbpl.kernels.ranking import difference_ranking, published_cascade
from fdbpl.pipeline.objectives.distilling import Distilling, Weighting
from fdbpl.pipeline.values import LossTerms, Prediction, Targets


@dataclass(frozen=True, kw_only=True)
class Fdbpl(Distilling):
    """The form and the weights of its terms; a weight of 0 leaves a term out. Without crop weights (`weights = "none"`)
    w is 1, which leaves no rejection. Without negative prompts FDBPL is KDPL with `weights = "informative"`.

    form: `corrected`, with the ranking that was meant; `as_published`, whose ranking is zero; or `presence`.
    rejection: weight of the term by which the negative prompt tells nothing of poor crops.
    separation: weight of the cosine between the logits of both prompts.
    ranking: weight of the ranking of the classes' differences.
    margin: by which an image is to lie further along its own class's difference.
    presence: weight of the term of `form = "presence"`, which stands in place of the three.
    """

    name: ClassVar[str] = "fdbpl"
    dual: ClassVar[bool] = True

    form: Literal["corrected", "as_published", "presence"] = "corrected"
    weights: Weighting = "informative"
    rejection: float = 1.0
    separation: float = 0.001
    ranking: float = 0.1
    margin: float = 0.2
    presence: float = 1.0

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms:
        is_presence = self.form == "presence"
        negative_BC = prediction.negative()
        terms = self.terms(prediction, targets, None if is_presence else negative_BC)
        weight_B = torch.ones_like(terms.agreement_B) if terms.weight_B is None else terms.weight_B
        agreement_B = weight_B * terms.agreement_B
        if is_presence:
            present_BC = weight_B[:, None] * targets.teacher().float().softmax(dim=-1)
            presence_B = dual_prompt.presence(prediction.positive(), negative_BC, present_BC)
            return LossTerms(
                values={"agreement": agreement_B, "presence": presence_B}, weights={"presence": self.presence}
            )
        assert terms.rejection_B is not None and terms.separation_B is not None, "negative logits were given"
        values = {
            "agreement": agreement_B,
            "rejection": (1.0 - weight_B) * terms.rejection_B,
            "separation": weight_B * terms.separation_B,
            "ranking": self._cascade(prediction, targets, weight_B),
        }
        weights = {"rejection": self.rejection, "separation": self.separation, "ranking": self.ranking}
        return LossTerms(values=values, weights=weights)

    def _cascade(self, prediction: Prediction, targets: Targets, weight_B: Tensor) -> Tensor:
        teacher_B = targets.teacher().argmax(dim=-1)
        positive_CD, negative_CD = prediction.text_features_CD, prediction.negative_text_features_CD
        if self.form == "as_published":
            if positive_CD is None or negative_CD is None:
                return weight_B.new_zeros(())  # each image has its own text features; the term is zero of any
            return published_cascade(positive_CD - negative_CD, teacher_B)
        # In units of logits, from which two passes over [B, C] are saved.
        projections_BC = prediction.positive() - prediction.negative()
        scale = prediction.logit_scale
        return difference_ranking(projections_BC, teacher_B, weight_B, self.margin * scale) / scale
