"""VPT: tokens beside the image's patches are learned, the text is hand-written (arXiv 2203.12119).

VPT-deep gives each layer tokens of its own, which replace what the layer before made of the last ones; VPT-shallow
(depth 1) only the first. The published prompt of CLIP's VPT is 'a photo of a {}.' for every data set; here it is the
data set's own. Tokens are float32, those of the published code half precision.
Letters: B batch, C classes, D embedding, V visual tokens, W width of the image encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

from fdbpl.pipeline.clip.vision_tower import encode_prompted
from fdbpl.pipeline.clip.zero_shot import text_classifier
from fdbpl.pipeline.learners.base import Learner, LearnerContext, Need
from fdbpl.pipeline.learners.checks import check_positive, refuse_dual
from fdbpl.pipeline.learners.initial_values import visual_tokens
from fdbpl.pipeline.learners.text_features import TextFeatures, predict_by_texts
from fdbpl.pipeline.values import Prediction, Views


@dataclass(frozen=True, kw_only=True)
class VptOptions:
    """num_tokens: visual tokens of each layer.
    depth: layers with tokens, from the first; 1 is VPT-shallow.
    """

    name: ClassVar[str] = "vpt"

    num_tokens: int = 8
    depth: int = 12

    def __post_init__(self) -> None:
        check_positive(self, "num_tokens", "depth")

    def build(self, context: LearnerContext) -> "Vpt":
        return Vpt(context, self)

    def start_template(self, template: str) -> None:
        """None: random tokens change what the image encoder says."""

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        return {"visual": f"{self.num_tokens} tokens at {self.depth} layers"}


class Vpt(Learner):
    needs: ClassVar[frozenset[Need]] = frozenset({"pixels"})

    def __init__(self, context: LearnerContext, options: VptOptions) -> None:
        super().__init__(context)
        refuse_dual(context, VptOptions.name)
        self.visual = visual_tokens(
            self.backbone,
            num_tokens=options.num_tokens,
            depth=options.depth,
            option="depth",
            random=context.generator(),
        )
        self._template = context.template
        self._text_features = lru_cache(maxsize=8)(self._encode)

    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> TextFeatures:
        text_CD = self._text_features(tuple(class_names))
        return TextFeatures(positive_CD=text_CD if chosen_K is None else text_CD[chosen_K])

    def predict(self, views: Views, texts: TextFeatures) -> Prediction:
        assert views.pixels_BCHW is not None, "the loader brings what a learner needs"
        features_BD = encode_prompted(self.backbone, views.pixels_BCHW, self.visual)
        return predict_by_texts(self.backbone.logit_scale, features_BD, texts)

    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        return self.texts(class_names).classifier()

    def _encode(self, class_names: tuple[str, ...]) -> Tensor:
        return text_classifier(self.backbone, class_names, (self._template,))
