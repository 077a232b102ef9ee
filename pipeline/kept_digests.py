"""Digests of large files, kept for other processes: hundreds of students name the same gigabytes of weights.

Kept in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache), where other programs keep weights themselves; a folder
that may be removed at any time. A digest is used for as long as the file's inode, size and both times of change are
what they were before it was read. A copy may set back the time of its content, but not that of its status.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from fdbpl.pipeline.whole_file import replace_file

# Smaller files are read in less time than it takes to wonder.
SMALLEST_BYTES = 64 * 2**20
# A file that has changed just now may change once more within one tick of a file system's clock.
_SETTLED_SECONDS = 5.0


def kept_digest(path: Path) -> str:
    """sha256 of a file's content in hexadecimal. Raises OSError as reading does."""
    facts = _facts(path)  # before it is read: of a file that changes meanwhile they will not be true
    folder = _folder()
    if facts["size"] < SMALLEST_BYTES or folder is None:
        return _digest(path)
    place = folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # not kept, or not as it was written
        kept = json.loads(place.read_text())
        if kept["facts"] == facts:
            return str(kept["sha256"])
    digest = _digest(path)
    is_settled = time.time() - max(facts["modified"], facts["changed"]) / 1e9 > _SETTLED_SECONDS
    if is_settled:
        with suppress(OSError):  # a home that cannot be written to costs time alone
            replace_file(place, json.dumps({"path": str(path), "facts": facts, "sha256": digest}).encode())
    return digest


def _facts(path: Path) -> dict[str, int]:
    found = path.stat()
    return {
        "inode": found.st_ino,
        "size": found.st_size,
        "modified": found.st_mtime_ns,
        "changed": found.st_ctime_ns,
    }


def _folder() -> Path | None:
    """None where there is no home, as in some containers."""
    home = os.environ.get("HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    return Path(cache) / "fdbpl" / "digests" if cache else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
