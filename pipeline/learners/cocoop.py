"""CoCoOp: learned context tokens that a small net shifts for each image (arXiv 2203.05557).

The meta-net (linear, ReLU, linear, with D/16 hidden values) makes a shift [W] of an image's frozen feature; it is added
to every context token, so that each image has text features of its own: B x C prompts are encoded for a batch, where
CoOp encodes C. They are encoded in chunks of images, and each chunk again in the backward pass, so that the memory is
that of one chunk whatever the batch; published is one image a step. Values are float32, where the half precision of the
published code loses small steps.

In the dual form a negative context is learned that the same shift moves: the shift tells what is in the image, which is
one thing for both prompts, and what tells them apart is left to the contexts.
Letters: B batch, N images of a chunk, C classes, D embedding, M context tokens, T positions, W width of the text tower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fdbpl.pipeline.clip.prompt_features import encode_stacked
from fdbpl.pipeline.clip.prompts import PromptTokens, context_embedding, prompt_tokens
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.learners.checks import check_positive
from fdbpl.pipeline.learners.initial_values import linear, random_tokens, text_width
from fdbpl.pipeline.values import Prediction, Views

# Hidden values of the meta-net, as a part of the image feature's.
_REDUCTION = 16


@dataclass(frozen=True, kw_only=True)
class CoCoOpOptions:
    """context: words whose tokens are the start of those learned; "" starts from random ones.
    num_context: tokens learned, where `context` is "".
    negative_context: the same of the negative prompts.
    prompts_at_once: images times classes that are encoded together, at least one image's; 1000 is ImageNet's for one
        image, the published step.
    """

    name: ClassVar[str] = "cocoop"

    context: str = "a photo of a"
    num_context: int = 4
    negative_context: str = "a photo of no"
    prompts_at_once: int = 1000

    def __post_init__(self) -> None:
        check_positive(self, "num_context", "prompts_at_once")

    def build(self, context: LearnerContext) -> "CoCoOp":
        return CoCoOp(context, self)

    def start_template(self, template: str) -> None:
        """None: the net shifts the context from the start."""

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        words = {"positive": self.context} | ({"negative": self.negative_context} if dual else {})
        return words if self.context else dict.fromkeys(words, f"{self.num_context} tokens")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """What stands around both contexts; around the negative one where the learner is dual."""

    positive: PromptTokens
    negative: PromptTokens | None


class CoCoOp(Learner):
    def __init__(self, context: LearnerContext, options: CoCoOpOptions) -> None:
        super().__init__(context)
        self.options = options
        random = context.generator()
        self.positive = nn.Parameter(self._start(options.context, random))
        width = self.backbone.embedding_width
        hidden = max(1, width // _REDUCTION)
        self.net = nn.Sequential(
            linear(self.backbone, width, hidden, random),
            nn.ReLU(),
            linear(self.backbone, hidden, text_width(self.backbone), random),
        )
        self.negative = None
        if context.dual:
            self.negative = nn.Parameter(self._start(options.negative_context if options.context else "", random))
        self._tokens = lru_cache(maxsize=8)(self._tokenise)

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> Tokens:
        def around(context_MW: Tensor) -> PromptTokens:
            tokens = self._tokens(tuple(class_names), len(context_MW))
            return tokens if chosen_K is None else tokens.chosen(chosen_K)

        return Tokens(positive=around(self.positive), negative=None if self.negative is None else around(self.negative))

    def predict(self, views: Views, texts: Tokens) -> Prediction:
        assert views.features_BD is not None, "the loader brings what a learner needs"
        shift_BW = self.net(views.features_BD)
        negative_BC = None
        if self.negative is not None and texts.negative is not None:
            negative_BC = self._logits(views.features_BD, shift_BW, self.negative, texts.negative)
        return Prediction(
            logits_BC=self._logits(views.features_BD, shift_BW, self.positive, texts.positive),
            logit_scale=self.backbone.logit_scale,
            negative_logits_BC=negative_BC,
        )

    def classifier(self, class_names: Sequence[str]) -> NoReturn:
        raise ValueError(
            "found the learner cocoop, whose text features depend on the image, expected one with a classifier that "
            "all images share: ask `predict` about each image, or choose another learner"
        )

    def _logits(self, features_BD: Tensor, shift_BW: Tensor, context_MW: Tensor, tokens: PromptTokens) -> Tensor:
        """Scaled cosines [B, C] of each image with the text features of its own contexts."""

        def encoded(features_ND: Tensor, shift_NW: Tensor) -> Tensor:
            with self.backbone.autocast():
                text_NCD = encode_stacked(tokens, context_MW + shift_NW[:, None])
            return self.backbone.logit_scale * torch.einsum("nd,ncd->nc", features_ND, text_NCD)

        num_images = max(1, self.options.prompts_at_once // len(tokens.end_C))
        chunks = list(zip(features_BD.split(num_images), shift_BW.split(num_images), strict=True))
        if len(chunks) == 1:
            return encoded(features_BD, shift_BW)
        # Nothing in it is random: no state of a generator is kept for the second time.
        return torch.cat(
            [checkpoint(encoded, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        )

    def _start(self, words: str, random: torch.Generator) -> Tensor:
        if words:
            return context_embedding(self.backbone, words)
        return random_tokens(self.backbone, random, self.options.num_context, text_width(self.backbone))

    def _tokenise(self, class_names: tuple[str, ...], num_context: int) -> PromptTokens:
        return prompt_tokens(self.backbone, class_names, num_context)
