"""What an objective is: a pure loss over a prediction and its targets, and what it needs to be computed."""

from typing import ClassVar, Literal, Protocol

from fdbpl.pipeline.values import LossTerms, Prediction, Targets


class Objective(Protocol):
    """A frozen dataclass of options, called on each batch.

    `needs` says what the targets must hold, `dual` that it learns negative prompts too, `by_vocabulary` that its
    classes are a fixed vocabulary's, of which each batch uses the ones that the teacher finds likeliest.
    """

    name: ClassVar[str]
    needs: ClassVar[Literal["labels", "teacher"]]
    dual: ClassVar[bool]
    by_vocabulary: ClassVar[bool]

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms: ...
