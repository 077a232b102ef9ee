"""Every learner by its name. A new one is a file beside this and a line here."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from fdbpl.pipeline.clip.backbone import Backbone
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.learners.coop import CoOpOptions
from fdbpl.pipeline.options import build


class LearnerOptions(Protocol):
    """A frozen dataclass of a learner's options, which builds it."""

    name: ClassVar[str]

    def build(self, backbone: Backbone, class_names: Sequence[str], *, dual: bool) -> Learner: ...

    def start_template(self) -> str: ...

    def starts(self, *, dual: bool) -> Mapping[str, object]:
        """What each prompt begins as, by its name; under one model, prompts that begin alike have one shape."""
        ...


LEARNERS: dict[str, type[LearnerOptions]] = {kind.name: kind for kind in (CoOpOptions,)}


def learner_options(name: str, options: dict[str, Any]) -> LearnerOptions:
    """The options of the learner of that name.

    Raises:
        ValueError: an unknown name or option, or an option of the wrong type.
    """
    return build("learner", LEARNERS, name, options)
