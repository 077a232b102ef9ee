"""A learner of your own: a small linear map of the hand-written prompts' text features, of which any class has one.
In a [[student]] table, the path taken from the config's folder: learner = ["examples/text_map.py:TextMap"]
Letters: C classes, D embedding, R rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.learners.base import Learner, LearnerContext
from fdbpl.pipeline.learners.catalog import Entry
from fdbpl.pipeline.learners.text_features import TextFeatures, predict_by_texts
from fdbpl.pipeline.values import Prediction, Views


@dataclass(frozen=True, kw_only=True)
class TextMap:
    """rank: R, of what is added to each class's text feature."""

    name: ClassVar[str] = "text_map"
    entry: ClassVar[Entry] = Entry(options="", learns_text=False, uses=frozenset({"template"}))
    rank: int = 4

    def build(self, context: LearnerContext) -> "Mapped":
        return Mapped(context, self.rank)

    def start_template(self, template: str) -> str:
        return template  # untrained it adds nothing

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        return {"down_DR": self.rank, "up_RD": self.rank}


class Mapped(Learner):
    def __init__(self, context: LearnerContext, rank: int) -> None:
        super().__init__(context)
        width = context.backbone.embedding_width
        self.down_DR = nn.Parameter(torch.randn(width, rank, generator=context.generator()) / width**0.5)
        self.up_RD = nn.Parameter(torch.zeros(rank, width))
        self._written = lru_cache(maxsize=8)(lambda names: text_classifier(self.backbone, names, (context.template,)))

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> TextFeatures:
        text_CD = self._written(tuple(class_names))
        text_CD = text_CD if chosen_K is None else text_CD[chosen_K]
        return TextFeatures(positive_CD=normalize(text_CD + text_CD @ self.down_DR @ self.up_RD, dim=-1))

    def predict(self, views: Views, texts: TextFeatures) -> Prediction:
        return predict_by_texts(self.backbone.logit_scale, views.features_BD, texts)

    @torch.no_grad()
    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        return self.texts(class_names).classifier()
