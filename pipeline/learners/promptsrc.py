"""PromptSRC: tokens in both towers, held near what the frozen CLIP says (arXiv 2307.06948).

Text and visual tokens are learned at the first layers, independently of each other. To any objective's loss it adds

    text_weight  * mean |t - t0|         t0: the frozen text features, averaged over 60 templates
  + image_weight * mean |f - f0|         f0: the frozen image feature of the same view
  + logit_weight * mean KL(S0 || S) / C  S, S0: the class distributions of these and of the frozen features

and what training ends with is the mean of the values after each epoch, weighted by a Gaussian over the epochs. Weights
and the division by C are as in the published code. Different from it: f0 may come from stored features, which saves a
second pass through the encoder; each template's text feature is made a unit vector before the mean; and values are
float32, where half precision loses small steps.

In the dual form a second set of text tokens is learned from the negative words, without visual tokens (see maple.py).
Only the positive prompt is held near the frozen features: the negative one is to differ from them.
Letters: B batch, C classes, D embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from fdbpl.kernels.distillation import kl_divergence
from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.clip.zero_shot import imagenet_templates, text_classifier
from fdbpl.pipeline.learners.base import Learner, LearnerContext, Need
from fdbpl.pipeline.learners.checks import check_positive
from fdbpl.pipeline.learners.initial_values import visual_tokens
from fdbpl.pipeline.learners.text_features import TextFeatures, predict_by_texts
from fdbpl.pipeline.learners.text_prompt import TextPrompt, text_starts
from fdbpl.pipeline.values import Prediction, Views

# The published templates are the first of OpenAI's 80 for ImageNet.
NUM_TEMPLATES = 60


@dataclass(frozen=True, kw_only=True)
class PromptSrcOptions:
    """context: words of which the first are the start of those learned; "" starts from random values.
    num_context: text tokens learned at each layer.
    negative_context: the same words of the negative prompt.
    num_tokens: visual tokens of each layer.
    text_depth: layers of the text tower with tokens, from the first; the paper's cross-dataset runs have 3.
    visual_depth: the same of the image encoder.
    text_weight, image_weight, logit_weight: weights of the three terms; 0 leaves one out.
    average: whether the mean over epochs is kept; false keeps the last epoch's values.
    average_mean, average_sd: the Gaussian of that mean, in epochs counted from 1; published for 20 epochs.
    """

    name: ClassVar[str] = "promptsrc"

    context: str = "a photo of a"
    num_context: int = 4
    negative_context: str = "a photo of no"
    num_tokens: int = 4
    text_depth: int = 9
    visual_depth: int = 9
    text_weight: float = 25.0
    image_weight: float = 10.0
    logit_weight: float = 1.0
    average: bool = True
    average_mean: float = 15.0
    average_sd: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "num_context", "num_tokens", "text_depth", "visual_depth")
        for name in ("text_weight", "image_weight", "logit_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"found {name} = {getattr(self, name)}, expected 0 or more")
        if not self.average_sd > 0:
            raise ValueError(f"found average_sd = {self.average_sd}, expected a positive number of epochs")

    def build(self, context: LearnerContext) -> "PromptSrc":
        return PromptSrc(context, self)

    def start_template(self, template: str) -> None:
        """None: visual and deeper tokens are random."""

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        words = (self.context, self.negative_context)
        text = text_starts(*words, self.num_context, self.text_depth, dual=dual)
        return {"visual": f"{self.num_tokens} tokens at {self.visual_depth} layers"} | text


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldTextFeatures(TextFeatures):
    """With the frozen text features [C, D] that the positive ones are held near; None where no one trains."""

    frozen_CD: Tensor | None


class PromptSrc(Learner):
    needs: ClassVar[frozenset[Need]] = frozenset({"features", "pixels"})

    def __init__(self, context: LearnerContext, options: PromptSrcOptions) -> None:
        super().__init__(context)
        self.options = options
        random = context.generator()
        prompt = partial(
            TextPrompt,
            self.backbone,
            num_context=options.num_context,
            depth=options.text_depth,
            option="text_depth",
            random=random,
        )
        self.positive = prompt(options.context)
        self.visual = visual_tokens(
            self.backbone,
            num_tokens=options.num_tokens,
            depth=options.visual_depth,
            option="visual_depth",
            random=random,
        )
        # Last, so that the others begin the same with it and without.
        self.negative = prompt(options.negative_context if options.context else "") if context.dual else None
        self._frozen = lru_cache(maxsize=2)(self._encode_templates)

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> HeldTextFeatures:
        names = tuple(class_names)
        frozen_CD = self._frozen(names) if self.training else None
        return HeldTextFeatures(
            positive_CD=self.positive(names, chosen_K),
            negative_CD=None if self.negative is None else self.negative(names, chosen_K),
            frozen_CD=frozen_CD if frozen_CD is None or chosen_K is None else frozen_CD[chosen_K],
        )

    def predict(self, views: Views, texts: HeldTextFeatures) -> Prediction:
        """With the own terms while it trains."""
        assert views.pixels_BCHW is not None, "the loader brings what a learner needs"
        features_BD = encode_prompted(self.backbone, views.pixels_BCHW, self.visual)
        prediction = predict_by_texts(self.backbone.logit_scale, features_BD, texts)
        return replace(prediction, **self._own(prediction, views, features_BD, texts)) if self.training else prediction

    def _own(
        self, prediction: Prediction, views: Views, features_BD: Tensor, texts: HeldTextFeatures
    ) -> dict[str, Any]:
        """The terms that hold the features near the frozen ones, with their weights."""
        assert views.features_BD is not None and texts.frozen_CD is not None, "the loader brings what a learner needs"
        frozen_BC = prediction.logit_scale * views.features_BD @ texts.frozen_CD.T
        kl_B = kl_divergence(prediction.logits_BC, frozen_BC, direction="forward")
        options = self.options
        return {
            "own_terms": {
                "text_consistency": (texts.positive_CD - texts.frozen_CD).abs().mean(),
                "image_consistency": (features_BD - views.features_BD).abs().mean(dim=-1),
                "logit_consistency": kl_B / frozen_BC.shape[1],
            },
            "own_weights": {
                "text_consistency": options.text_weight,
                "image_consistency": options.image_weight,
                "logit_consistency": options.logit_weight,
            },
        }

    @torch.no_grad()
    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        return self.texts(class_names).classifier()

    def epoch_weight(self, epoch: int, num_epochs: int) -> float | None:
        """The Gaussian at this epoch's number from 1, over its sum over all."""
        if not self.options.average:
            return None
        epochs = torch.arange(1, num_epochs + 1, dtype=torch.float64)
        distance = (epochs - self.options.average_mean) / self.options.average_sd
        # As a softmax it is right for epochs far from the mean too, where each exponential would be 0.
        return float((-0.5 * distance.square()).softmax(dim=0)[epoch])

    def _encode_templates(self, class_names: tuple[str, ...]) -> Tensor:
        return text_classifier(self.backbone, class_names, imagenet_templates(NUM_TEMPLATES))
