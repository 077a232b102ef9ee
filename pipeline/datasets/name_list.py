"""Class names from a file that a person wrote."""

from collections import Counter
from pathlib import Path

from fdbpl.pipeline.datasets.class_names import read_lines


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; empty lines are left out.

    Raises:
        ValueError: no such file, no UTF-8, no name, or a name twice.
    """
    names = tuple(filter(None, read_lines(path)))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise ValueError(
            f"{path}: found {len(names)} class names, {', '.join(twice[:3]) or 'none'} more than once, expected some, "
            "each once"
        )
    return names
