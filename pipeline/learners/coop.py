"""CoOp: the words around a class name are learned as vectors, the encoders stay frozen (arXiv 2109.01134).

In the dual form a second, negative context is learned beside the positive one ('a photo of no', FDBPL,
arXiv 2505.18053). Letters: B batch, C classes, D embedding, M context tokens, W tower width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fdbpl.pipeline.clip.prompt_features import encode_prompts, encode_stacked
from fdbpl.pipeline.clip.prompts import ClassPosition, PromptTokens, context_embedding, prompt_tokens
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.learners.checks import check_positive
from fdbpl.pipeline.learners.initial_values import random_tokens, text_width
from fdbpl.pipeline.learners.text_features import TextFeatures, predict_by_texts
from fdbpl.pipeline.values import Prediction, Views


@dataclass(frozen=True, kw_only=True)
class CoOpOptions:
    """How the contexts start and where they stand.

    context: words whose tokens are the start of those learned; "" starts from random ones.
    num_context: tokens learned, where `context` is ""; 16 as published.
    negative_context: the same of the negative prompts.
    class_specific: a context for each class in place of one for all; such contexts know no other classes.
    class_position: where the name stands: behind the context, in its `middle`, or in `front` of it.
    subtract: the part of the negative prompt's logits that is taken from the positive one's, in training and in use; 0
        as published, where the negative prompt plays no part in the answer.
    coupling: how the negative context hangs on the positive one. `separate`: not at all, as published. `offset`: it is
        the positive one plus a learned difference. `token`: it is the positive one and a learned token more.
    """

    name: ClassVar[str] = "coop"

    context: str = "a photo of a"
    num_context: int = 16
    negative_context: str = "a photo of no"
    class_specific: bool = False
    class_position: ClassPosition = "end"
    coupling: Literal["separate", "offset", "token"] = "separate"
    subtract: float = 0.0

    def __post_init__(self) -> None:
        check_positive(self, "num_context")
        if not self.subtract >= 0:
            raise ValueError(f"found subtract = {self.subtract}, expected 0 or more")

    def build(self, context: LearnerContext) -> "CoOp":
        return CoOp(context, self)

    def start_template(self, template: str) -> str | None:
        """Where contexts start from words behind which the name stands, the prompt of these words."""
        return f"{self.context} {{}}." if self.context and self.class_position == "end" else None

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        """The words of each context, or how many tokens it has, by its name."""
        names = ["positive", *(["negative" if self.coupling == "separate" else self.coupling] if dual else [])]
        words = dict(zip(names, (self.context, self.negative_context), strict=False))
        each = " for each class" if self.class_specific else ""
        place = "" if self.class_position == "end" else f", the name at the {self.class_position}"
        return {name: (words[name] if self.context else f"{self.num_context} tokens") + each + place for name in names}


class CoOp(Learner):
    def __init__(self, context: LearnerContext, options: CoOpOptions) -> None:
        super().__init__(context)
        self.options = options
        random = context.generator()
        self.positive = nn.Parameter(self._start(options.context, random))
        self.negative = self.offset = self.token = None
        if context.dual and options.coupling == "separate":
            self.negative = nn.Parameter(self._start(options.negative_context if options.context else "", random))
        elif context.dual and options.coupling == "offset":
            self.offset = nn.Parameter(self._offset(random))
        elif context.dual:
            self.token = nn.Parameter(context_embedding(self.backbone, "no"))
        self._tokens = lru_cache(maxsize=8)(self._tokenise)

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> TextFeatures:
        features = self._encode(self._contexts(), tuple(class_names), chosen_K)
        return self._features(features)

    @classmethod
    def texts_together(cls, learners: Sequence[Learner]) -> TextFeatures:
        """All contexts of all learners go through the tower together."""
        own = [learner for learner in learners if isinstance(learner, CoOp)]
        first, number = own[0], len(own[0]._contexts())
        features = first._encode([context for one in own for context in one._contexts()], first.class_names, None)
        return first._features([torch.stack(features[kind::number]) for kind in range(number)])

    def predict(self, views: Views, texts: TextFeatures) -> Prediction:
        assert views.features_BD is not None, "the loader brings what a learner needs"
        return predict_by_texts(self.backbone.logit_scale, views.features_BD, texts)

    @torch.no_grad()
    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        return self.texts(class_names).classifier()

    def _features(self, each: Sequence[Tensor]) -> TextFeatures:
        """Of the contexts in their order."""
        negative = each[1] if len(each) > 1 else None
        return TextFeatures(positive_CD=each[0], negative_CD=negative, subtract=self.options.subtract)

    def _contexts(self) -> list[Tensor]:
        """The positive context, and the negative one where there is one."""
        negative = self._negative_context()
        return [self.positive] if negative is None else [self.positive, negative]

    def _negative_context(self) -> Tensor | None:
        if self.offset is not None:
            return self.positive + self.offset
        if self.token is not None:
            return torch.cat([self.positive, self.token.expand(*self.positive.shape[:-2], -1, -1)], dim=-2)
        return self.negative

    def _encode(
        self, contexts: Sequence[Tensor], class_names: tuple[str, ...], chosen_K: Tensor | None
    ) -> list[Tensor]:
        """Text features of names under each context [M, W], or [classes, M, W] where each class has its own; those of
        one length go through the tower together."""
        features: dict[int, Tensor] = {}
        for length in dict.fromkeys(context.shape[-2] for context in contexts):
            rows = [row for row, context in enumerate(contexts) if context.shape[-2] == length]
            alike = [contexts[row] for row in rows]
            tokens = self._tokens(class_names, length)
            if self.options.class_specific:
                alike = [context[self._places(class_names)] for context in alike]
            if chosen_K is not None:
                tokens = tokens.chosen(chosen_K)
                alike = [context[chosen_K] if context.ndim == 3 else context for context in alike]
            with self.backbone.autocast():
                if tokens.shares_context:
                    found: Sequence[Tensor] = encode_stacked(tokens, torch.stack(alike)).unbind()
                else:
                    found = [encode_prompts(tokens, context) for context in alike]
            features |= zip(rows, found, strict=True)
        return [features[row] for row in range(len(contexts))]

    def _places(self, class_names: tuple[str, ...]) -> list[int]:
        """Where names stand among those trained on. Raises ValueError for names that have no context."""
        places = {name: place for place, name in enumerate(self.class_names)}
        unknown = [name for name in class_names if name not in places]
        if unknown:
            raise ValueError(
                f"found {len(unknown)} classes that were not trained on ({', '.join(unknown[:3])}), expected none: "
                "class_specific contexts know their own classes only; set class_specific = false"
            )
        return [places[name] for name in class_names]

    def _start(self, words: str, random: torch.Generator) -> Tensor:
        """Where a context starts: [M, W], or [C, M, W] where each class has its own."""
        num_classes = len(self.class_names)
        if words:
            start_MW = context_embedding(self.backbone, words)
            return start_MW.repeat(num_classes, 1, 1) if self.options.class_specific else start_MW
        each = (num_classes,) if self.options.class_specific else ()
        return random_tokens(self.backbone, random, *each, self.options.num_context, text_width(self.backbone))

    def _offset(self, random: torch.Generator) -> Tensor:
        """From the positive context's start to the negative one's. Raises ValueError where they differ in length."""
        negative = self._start(self.options.negative_context if self.options.context else "", random)
        if negative.shape != self.positive.shape:
            raise ValueError(
                f"found negative_context with {negative.shape[-2]} tokens and context with {self.positive.shape[-2]}, "
                'expected as many for coupling = "offset"'
            )
        return negative - self.positive.detach()

    def _tokenise(self, class_names: tuple[str, ...], num_context: int) -> PromptTokens:
        return prompt_tokens(
            self.backbone,
            class_names,
            num_context,
            position=self.options.class_position,
            own_contexts=self.options.class_specific,
        )
