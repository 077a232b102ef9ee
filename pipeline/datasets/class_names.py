"""Class names from a file that a person wrote."""

from collections import Counter
from pathlib import Path


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line; empty lines are left out.

    Raises:
        ValueError: no such file, no UTF-8, no name, or a name twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read class names from {path} ({error}), expected one a line") from error
    names = tuple(filter(None, map(str.strip, lines)))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise ValueError(
            f"{path}: found {len(names)} class names, {', '.join(twice[:3]) or 'none'} more than once, expected some, "
            "each once"
        )
    return names
