"""What several learners refuse."""

from fdbpl.pipeline.learners.base import LearnerContext


def check_positive(options: object, *names: str) -> None:
    """Raises ValueError for an option of these below 1."""
    for name in names:
        value = getattr(options, name)
        if value < 1:
            raise ValueError(f"found {name} = {value}, expected 1 or more")


def refuse_dual(context: LearnerContext, name: str) -> None:
    """Raises ValueError for the dual form of a learner without text."""
    if context.dual:
        raise ValueError(
            f"found an objective with negative prompts for the learner {name}, expected one without: it learns no "
            "text, so there is nothing that a negative prompt could be. Choose another objective, or a learner of text"
        )
