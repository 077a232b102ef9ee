"""PromptKD's student: visual tokens and a projector bring image features to the teacher's text (arXiv 2403.02781).

Tokens are learned at the first layers of the image encoder, as of VPT, and a projector (linear, batch normalisation,
ReLU, linear) from the student's width to the teacher's. The classifier is the teacher's text features, so the student
encodes no text and knows any class that the teacher can be asked about. Meant for the objective `promptkd`.

Different from the published code: the projector takes unit features; the scale of the raw ones, which it takes there,
is what batch normalisation takes away again, but for the differences between images. Values are float32, where half
precision loses small steps. Letters: B batch, C classes, D student's and E teacher's embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.learners.base import Learner, LearnerContext, Need
from fdbpl.pipeline.learners.checks import check_positive, refuse_dual
from fdbpl.pipeline.learners.initial_values import linear, visual_tokens
from fdbpl.pipeline.learners.text_features import TextFeatures, predict_by_texts
from fdbpl.pipeline.values import Prediction, Views


@dataclass(frozen=True, kw_only=True)
class PromptKdOptions:
    """num_tokens: visual tokens of each layer.
    depth: layers with tokens, from the first.
    """

    name: ClassVar[str] = "promptkd"

    num_tokens: int = 4
    depth: int = 9

    def __post_init__(self) -> None:
        check_positive(self, "num_tokens", "depth")

    def build(self, context: LearnerContext) -> "PromptKdStudent":
        return PromptKdStudent(context, self)

    def start_template(self, template: str) -> None:
        """None: tokens and projector are random."""

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        return {"visual": f"{self.num_tokens} tokens at {self.depth} layers"}


class PromptKdStudent(Learner):
    needs: ClassVar[frozenset[Need]] = frozenset({"pixels"})

    def __init__(self, context: LearnerContext, options: PromptKdOptions) -> None:
        super().__init__(context)
        refuse_dual(context, PromptKdOptions.name)
        if context.teacher_texts is None:
            raise ValueError(
                "found the learner promptkd without a teacher, expected one: its classifier is the teacher's text "
                "features. Name a [teacher], or choose another learner"
            )
        random = context.generator()
        self.visual = visual_tokens(
            self.backbone, num_tokens=options.num_tokens, depth=options.depth, option="depth", random=random
        )
        self._teacher_texts = lru_cache(maxsize=8)(context.teacher_texts)
        width = self._teacher_texts(self.class_names).shape[1]
        self.projector = nn.Sequential(
            # The normalisation takes a bias away again.
            linear(self.backbone, self.backbone.embedding_width, width, random, bias=False),
            nn.BatchNorm1d(width, device=self.backbone.device),
            nn.ReLU(),
            linear(self.backbone, width, width, random),
        )

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> TextFeatures:
        text_CE = self._teacher_texts(tuple(class_names))
        return TextFeatures(positive_CD=text_CE if chosen_K is None else text_CE[chosen_K])

    def predict(self, views: Views, texts: TextFeatures) -> Prediction:
        """While it trains, features are normalised by their batch; else by what training has seen.

        Raises:
            ValueError: one view alone while it trains, of which there is no variance.
        """
        assert views.pixels_BCHW is not None, "the loader brings what a learner needs"
        if self.training and len(views.pixels_BCHW) == 1:
            raise ValueError(
                "found a batch of 1 view, expected 2 or more: the projector of promptkd normalises over the batch. "
                "Raise batch_size, or the number of training images"
            )
        features_BE = self.projector(encode_prompted(self.backbone, views.pixels_BCHW, self.visual))
        return predict_by_texts(self.backbone.logit_scale, normalize(features_BE, dim=-1), texts)

    @torch.no_grad()
    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        """The teacher's text features [C, E]: what the projected image features are compared with."""
        return self.texts(class_names).classifier()
