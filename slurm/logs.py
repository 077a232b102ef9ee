"""The last lines of a task's output."""

import os
from pathlib import Path

_LONGEST_TAIL = 16_384


def last_lines(log: Path, count: int = 20) -> str:
    """The last `count` lines of a log, or "" where there is none. Reads at most 16 kB."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-count:])
