"""Every objective by its name. A new one is a file beside this and a line here."""

from typing import Any

from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.objectives.cross_entropy import CrossEntropy, PseudoLabels
from fdbpl.pipeline.objectives.fdbpl import Fdbpl
from fdbpl.pipeline.objectives.kdpl import Kdpl, KdplClassAgnostic
from fdbpl.pipeline.objectives.promptkd import PromptKd
from fdbpl.pipeline.options import build

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (CrossEntropy, PseudoLabels, Kdpl, KdplClassAgnostic, PromptKd, Fdbpl)
}


def make_objective(name: str, options: dict[str, Any]) -> Objective:
    """The objective of that name with these options.

    Raises:
        ValueError: an unknown name or option, or an option out of its range.
    """
    return build("objective", OBJECTIVES, name, options)
