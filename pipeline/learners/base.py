"""What a learner is: a module that turns views into a prediction, and whose prompts can be saved and used again."""

from collections.abc import Sequence
from typing import Literal, Protocol

from torch import Tensor, nn

from fdbpl.pipeline.values import Prediction, Views


class Learner(Protocol):
    """The learned part of a student: a torch module over a frozen backbone.

    `needs` says what the loader must bring; a learner with a frozen image encoder asks for features only, so
    that they may come from a cache.
    """

    needs: Literal["features", "pixels"]

    def __call__(self, views: Views) -> Prediction:
        """Logits [B, C] over the training classes, scaled by the model's own factor."""

    def classifier(self, class_names: Sequence[str]) -> Tensor:
        """Unit text features [C, D] of any class names under the learned (positive) prompt."""

    def prompts(self) -> dict[str, nn.Parameter]:
        """Everything that was learned, by name: what is optimised, saved and loaded."""
