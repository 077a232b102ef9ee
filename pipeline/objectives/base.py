"""What an objective is: a pure loss over a prediction and its targets, and what it needs to be computed."""

from typing import ClassVar, Literal, Protocol

from fdbpl.pipeline.values import LossTerms, Prediction, Targets


class Objective(Protocol):
    """A frozen dataclass of options, called on each batch."""

    name: ClassVar[str]
    needs: ClassVar[Literal["labels", "teacher"]]
    dual: ClassVar[bool]

    def __call__(self, prediction: Prediction, targets: Targets) -> LossTerms: ...
