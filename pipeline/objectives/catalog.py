"""Every objective by its name. A new one is a file beside this and a line here."""

from typing import Any

from fdbpl.pipeline.objectives.base import Objective
from fdbpl.pipeline.objectives.cross_entropy import CrossEntropy, PseudoLabels
from fdbpl.pipeline.objectives.fdbpl import Fdbpl
from fdbpl.pipeline.objectives.kdpl import Kdpl, KdplClassAgnostic
from fdbpl.pipeline.objectives.promptkd import PromptKd
from fdbpl.pipeline.options import build
from fdbpl.pipeline.own_code import own_class, own_file

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (CrossEntropy, PseudoLabels, Kdpl, KdplClassAgnostic, PromptKd, Fdbpl)
}

NEEDS = ("labels", "teacher")


def objective_class(name: str) -> type[Objective] | None:
    """Of a name of ours, or of a reference to a class; None for an unknown name. Raises ValueError as `own_class`."""
    if (file := own_file(name)) is not None:
        kind: type[Objective] = own_class(name, ("name", "needs", "dual", "by_vocabulary", "__call__"))
        if kind.needs not in NEEDS:
            raise ValueError(
                f"{file}: found {kind.__name__}.needs = {kind.needs!r}, expected one of {', '.join(NEEDS)}"
            )
        return kind
    return OBJECTIVES.get(name)


def make_objective(name: str, options: dict[str, Any]) -> Objective:
    """The objective of that name with these options.

    Raises:
        ValueError: an unknown name or option, or an option out of its range; as `own_class`.
    """
    kind = objective_class(name)
    if kind is None:
        raise ValueError(
            f"found objective = {name!r}, expected one of {', '.join(sorted(OBJECTIVES))}, or FILE.py:CLASS of your own"
        )
    return build("objective", {name: kind}, name, options)
