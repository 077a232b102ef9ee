"""Files that appear under their name whole or not at all, whatever kills the writer."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write under a temporary name in the same folder, then rename; missing folders are made.

    Args:
        durable: wait until the content is on the disk, so that it outlives a power failure too. Costs some
            milliseconds; what can be made again does without.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, not the process id: two machines on one file system may have the same.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON, durably."""
    replace_file(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), durable=True)
