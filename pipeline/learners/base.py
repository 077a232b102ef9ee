"""What a learner is: a module over a frozen backbone that turns views into a prediction, for any class names.

Its parameters are what is optimised, in float32 whatever the precision of the model: in half precision small steps
would vanish. Its `state_dict` is what is saved. The backbone is no part of the module.
Letters: B batch, C classes, K chosen classes, D embedding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.values import Prediction, Views

Need = Literal["features", "pixels"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnerContext:
    """What a learner is built over.

    Attributes:
        backbone: the frozen student.
        class_names: C classes to train on.
        dual: with negative prompts too.
        seed: of random initial values.
        template: the data set's hand-written prompt.
        teacher_texts: the teacher's unit text features [C, Dt] of class names, on the student's device; None where the
            run has no teacher at hand.
    """

    backbone: Backbone
    class_names: tuple[str, ...]
    dual: bool = False
    seed: int = 0
    template: str = "a photo of a {}."
    teacher_texts: Callable[[Sequence[str]], Tensor] | None = None

    def generator(self) -> torch.Generator:
        """A new generator on the CPU, of the seed alone: every learner begins the same wherever it is built."""
        return torch.Generator().manual_seed(self.seed)


class Learner(nn.Module, ABC):
    """The learned part of a student.

    `needs` says what the loader must bring; a learner with a frozen image encoder asks for features only, so that they
    may come from a cache.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})

    def __init__(self, context: LearnerContext) -> None:
        super().__init__()
        self.backbone = context.backbone
        self.class_names = context.class_names

    @abstractmethod
    def texts(self, class_names: Sequence[str], chosen_K: Tensor | None = None) -> Any:
        """All of these class names that no image changes, differentiable with respect to the prompts.

        Args:
            class_names: any, not only those trained on.
            chosen_K: int64 positions of the names that are wanted; all where None.
        """

    @abstractmethod
    def predict(self, views: Views, texts: Any) -> Prediction:
        """Logits [B, C] over the classes of `texts`, cosines scaled by the model's own factor."""

    @classmethod
    def texts_together(cls, learners: "Sequence[Learner]") -> Any:
        """What `texts` says of the training classes of several learners of one form and the same classes: the same
        dataclass, each tensor with an axis of learners first. Who has it trains in packs (`learners.catalog`)."""
        raise NotImplementedError(f"{cls.__name__} trains alone")

    def forward(self, views: Views, chosen_K: Tensor | None = None) -> Prediction:
        """What it says of views over its training classes, or over those chosen of them."""
        return self.predict(views, self.texts(self.class_names, chosen_K))

    @abstractmethod
    def classifier(self, class_names: Sequence[str]) -> dict[str, Tensor]:
        """Text features [C, D] of any class names under the learned prompts, without gradient: `classifier`, with which
        images are compared, and the unit vectors `negative` where it is dual.

        Raises:
            ValueError: a learner whose text features depend on the image has none.
        """

    def epoch_weight(self, epoch: int, num_epochs: int) -> float | None:
        """How much the values at the end of an epoch (from 0) count in what the training ends with; None where the
        last epoch's are what it ends with."""
        return None

    def prompts(self) -> dict[str, nn.Parameter]:
        """Everything that is optimised, by name."""
        return dict(self.named_parameters())


class LearnerOptions(Protocol):
    """A frozen dataclass of a learner's options, which builds it."""

    name: ClassVar[str]

    def build(self, context: LearnerContext) -> Learner:
        """Raises ValueError where the model, the names or the dual form do not suit this learner."""
        ...

    def start_template(self, template: str) -> str | None:
        """The hand-written prompt that an untrained student equals, where there is one.

        Args:
            template: the data set's own.
        """
        ...

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        """What each tensor begins as, by its name; under one model, those that begin alike have one shape."""
        ...
