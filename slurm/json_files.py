"""JSON files that appear whole or not at all, and that a crash of the machine may at worst leave empty."""

import contextlib
import json
import logging
import os
import secrets
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def write_json(path: Path, payload: object, *, durable: bool = True) -> None:
    """Replace `path` by the JSON of `payload` in one step; `durable` waits for the disk.

    Raises:
        TypeError: the payload is not JSON.
        OSError: the folder cannot be written.
    """
    text = json.dumps(payload, indent=1)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None where there is no file, or one that a crash left unreadable."""
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        logger.warning("%s is not readable JSON (%s): taken as absent", path, error)
        return None
    return payload if isinstance(payload, dict) else None
