"""CoOp: the words around a class name are learned as vectors, the encoders stay frozen (arXiv 2109.01134).

In the dual form a second, negative context is learned beside the positive one ('a photo of no', FDBPL,
arXiv 2505.18053). Contexts are float32 master copies whatever the precision of the model: in half precision
small steps would vanish. Letters: B batch, C classes, D embedding, M context tokens, W tower width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.clip.prompts import PromptTokens, context_embedding, prompt_tokens
from fdbpl.pipeline.clip.text_tower import encode_embeddings
from fdbpl.pipeline.values import Prediction, Views


@dataclass(frozen=True, kw_only=True)
class CoOpOptions:
    """The words from which the contexts start; their number of tokens is the number learned."""

    name: ClassVar[str] = "coop"

    context: str = "a photo of a"
    negative_context: str = "a photo of no"

    def build(self, backbone: Backbone, class_names: Sequence[str], *, dual: bool) -> "CoOp":
        return CoOp(backbone, class_names, self, dual=dual)

    def start_template(self) -> str:
        """The hand-written prompt that an untrained student equals."""
        return f"{self.context} {{}}."

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        """The words of each prompt, by its name."""
        return {"positive": self.context} | ({"negative": self.negative_context} if dual else {})


class CoOp(nn.Module):
    needs: Literal["features", "pixels"] = "features"

    def __init__(self, backbone: Backbone, class_names: Sequence[str], options: CoOpOptions, *, dual: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.class_names = tuple(class_names)
        self.positive = nn.Parameter(context_embedding(backbone, options.context))
        self.negative = nn.Parameter(context_embedding(backbone, options.negative_context)) if dual else None
        self._tokens = lru_cache(maxsize=4)(self._tokenise)

    def forward(self, views: Views) -> Prediction:
        assert views.features_BD is not None, "the loader brings what a learner needs"
        text_CD = self._text_features(self.positive, self.class_names)
        prediction = {
            "logits_BC": self._logits(views.features_BD, text_CD),
            "image_features_BD": views.features_BD,
            "text_features_CD": text_CD,
        }
        if self.negative is not None:
            negative_CD = self._text_features(self.negative, self.class_names)
            prediction["negative_text_features_CD"] = negative_CD
            prediction["negative_logits_BC"] = self._logits(views.features_BD, negative_CD)
        return Prediction(**prediction)

    @torch.no_grad()
    def classifier(self, class_names: Sequence[str]) -> Tensor:
        return self._text_features(self.positive, tuple(class_names))

    def prompts(self) -> dict[str, nn.Parameter]:
        prompts = {"positive": self.positive}
        if self.negative is not None:
            prompts["negative"] = self.negative
        return prompts

    def _logits(self, features_BD: Tensor, text_CD: Tensor) -> Tensor:
        return self.backbone.logit_scale * features_BD @ text_CD.T

    def _text_features(self, context_MW: Tensor, class_names: tuple[str, ...]) -> Tensor:
        tokens = self._tokens(class_names, len(context_MW))
        with self.backbone.autocast():
            return encode_embeddings(self.backbone.module, tokens.around(context_MW), tokens.end_C)

    def _tokenise(self, class_names: tuple[str, ...], num_context: int) -> PromptTokens:
        return prompt_tokens(self.backbone, class_names, num_context)
