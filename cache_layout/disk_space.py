"""Room on a disk: asked for before a copy is made, and told of in plain words where it runs out meanwhile."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fdbpl.cache_layout.errors import CacheError

_PAGE_BYTES = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT)


class NoSpace(CacheError):
    """The disk of `folder` cannot take what is to be written; nothing of it is left there.

    `needed` and `free` are bytes: all that is to be written, and what was free when it was refused.
    """

    def __init__(self, folder: str, needed: int, free: int) -> None:
        super().__init__(folder, needed, free)
        self.folder, self.needed, self.free = folder, needed, free

    def __str__(self) -> str:
        return (
            f"not enough room in {self.folder}: {self.needed:,} bytes are needed, {self.free:,} are free; nothing of "
            "it is left there: free some (older copies: `fdbpl cache copy-to --remove COPY`), choose another folder, "
            "or fewer campaigns"
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a copy would write: `num_bytes` in `num_files` files at `target`, where `free_bytes` are free.

    `is_present`: it is there already. `is_estimate`: the bytes are guessed from samples (compression).
    """

    target: Path
    num_files: int
    num_bytes: int
    free_bytes: int
    is_present: bool = False
    is_estimate: bool = False

    @property
    def fits(self) -> bool:
        return self.is_present or self.num_bytes <= self.free_bytes


def free_bytes(folder: Path) -> int:
    """Bytes that may be written where `folder` is, or will be."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(existing).free


def bytes_on_disk(size: int) -> int:
    """What a file of `size` bytes takes: whole pages."""
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


def require_space(folder: Path, needed: int) -> None:
    """NoSpace where `needed` bytes are not free."""
    if (free := free_bytes(folder)) < needed:
        raise NoSpace(str(folder), needed, free)


@contextmanager
def full_disk_told(folder: Path, needed: int) -> Iterator[None]:
    """Raise NoSpace in place of the system's error where a disk, or a quota, is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise NoSpace(str(folder), needed, free_bytes(folder)) from error
