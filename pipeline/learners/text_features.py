"""Text features of class names under a learner's prompts, and what they say of image features.

Letters: B batch, C classes, D embedding.
"""

from dataclasses import dataclass

from torch import Tensor

from fdbpl.pipeline.values import Prediction


@dataclass(frozen=True, kw_only=True, eq=False)
class TextFeatures:
    """Unit text features [C, D] of both prompts; the negative ones where the learner is dual, of which images are
    compared with the part `subtract` less than with the positive ones."""

    positive_CD: Tensor
    negative_CD: Tensor | None = None
    subtract: float = 0.0

    def compared(self) -> Tensor:
        """What images are compared with [C, D]."""
        if self.negative_CD is None or not self.subtract:
            return self.positive_CD
        return self.positive_CD - self.subtract * self.negative_CD

    def classifier(self) -> dict[str, Tensor]:
        """By name, as `Learner.classifier` answers."""
        return {"classifier": self.compared()} | ({} if self.negative_CD is None else {"negative": self.negative_CD})


def predict_by_texts(logit_scale: float, features_BD: Tensor, texts: TextFeatures) -> Prediction:
    """Scaled cosines of image features with text features that all images share."""
    negative_CD = texts.negative_CD
    return Prediction(
        logits_BC=logit_scale * features_BD @ texts.compared().T,
        logit_scale=logit_scale,
        text_features_CD=texts.positive_CD,
        negative_logits_BC=None if negative_CD is None else logit_scale * features_BD @ negative_CD.T,
        negative_text_features_CD=negative_CD,
        subtract=texts.subtract if negative_CD is not None else 0.0,
    )
