"""MaPLe: text tokens are learned at the first layers, and visual tokens as linear maps of them (arXiv 2210.03117).

The first words of a prompt are learned ('a photo' of 'a photo of a'), the others stay as text. Each deeper layer of the
text tower has tokens of its own in their places, and each layer's tokens P have a map F of their own: F(P) stand in the
image encoder at that layer. As in the published code the deeper maps begin alike; unlike there, their widths are the
towers' own (not 512 and 768), and values are float32, where half precision loses small steps.

In the dual form a second set of text tokens is learned from the negative words, without visual tokens: an objective
compares what both prompts say of one image feature, and visual tokens of its own would cost each view another pass
through the image encoder. Letters: B batch, C classes, D embedding, M learned tokens, L layers, W width of a tower.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from fdbpl.pipeline.clip.vision_tower import check_vision_tower, encode_prompted, vision_width
from fdbpl.pipeline.learners.base import Learner, LearnerContext, Need
from fdbpl.pipeline.learners.checks import check_positive
from fdbpl.pipeline.learners.initial_values import linear
from fdbpl.pipeline.learners.text_features import TextFeatures, predict_by_texts
from fdbpl.pipeline.learners.text_prompt import TextPrompt, text_starts
from fdbpl.pipeline.values import Prediction, Views


@dataclass(frozen=True, kw_only=True)
class MapleOptions:
    """context: words of which the first are the start of those learned; "" starts from random values.
    num_context: tokens learned at each layer, in the text as in the image.
    negative_context: the same words of the negative prompt.
    depth: layers with tokens, from the first, in both towers; the paper's cross-dataset runs have 3.
    """

    name: ClassVar[str] = "maple"

    context: str = "a photo of a"
    num_context: int = 2
    negative_context: str = "a photo of no"
    depth: int = 9

    def __post_init__(self) -> None:
        check_positive(self, "num_context", "depth")

    def build(self, context: LearnerContext) -> "Maple":
        return Maple(context, self)

    def start_template(self, template: str) -> None:
        """None: deeper tokens are random."""

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        words = (self.context, self.negative_context)
        return {"maps": f"maps at {self.depth} layers"} | text_starts(*words, self.num_context, self.depth, dual=dual)


class Maple(Learner):
    needs: ClassVar[frozenset[Need]] = frozenset({"pixels"})

    def __init__(self, context: LearnerContext, options: MapleOptions) -> None:
        super().__init__(context)
        check_vision_tower(self.backbone, options.depth, option="depth")
        random = context.generator()
        prompt = partial(
            TextPrompt,
            self.backbone,
            num_context=options.num_context,
            depth=options.depth,
            option="depth",
            random=random,
        )
        self.positive = prompt(options.context)
        widths = (self.positive.context.shape[1], vision_width(self.backbone))
        first, deeper = (linear(self.backbone, *widths, random) for _ in range(2))
        self.maps = nn.ModuleList([first, *(deepcopy(deeper) for _ in range(options.depth - 1))])
        # Last, so that the positive prompt begins the same with it and without.
        self.negative = prompt(options.negative_context if options.context else "") if context.dual else None

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> TextFeatures:
        names = tuple(class_names)
        return TextFeatures(
            positive_CD=self.positive(names, chosen_K),
            negative_CD=None if self.negative is None else self.negative(names, chosen_K),
        )

    def predict(self, views: Views, texts: TextFeatures) -> Prediction:
        assert views.pixels_BCHW is not None, "the loader brings what a learner needs"
        features_BD = encode_prompted(self.backbone, views.pixels_BCHW, self.visual())
        return predict_by_texts(self.backbone.logit_scale, features_BD, texts)

    def visual(self) -> Tensor:
        """The image encoder's tokens [L, M, W] that follow from the text's."""
        pairs = zip(self.maps, self.positive.layers(), strict=True)
        return torch.stack([layer_map(tokens_MW) for layer_map, tokens_MW in pairs])

    @torch.no_grad()
    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        return self.texts(class_names).classifier()
