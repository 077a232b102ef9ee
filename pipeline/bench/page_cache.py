"""Making files warm or cold, and asking the kernel which it is.

Warm: read to the end once. Cold: flushed, dropped from the page cache by posix_fadvise, and counted by mincore,
which sees what is in memory whoever put it there. Some file systems refuse (tmpfs keeps its files in the cache
and nowhere else), and a page that any process maps is kept: close readers first. Names and folders stay cached,
and below a virtual disk the host may cache too.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

_CHUNK = 1 << 22
_EVICTIONS, _SECONDS_BETWEEN_EVICTIONS = 10, 0.05
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """The files among the paths, and all files below the folders among them."""
    for path in paths:
        if path.is_dir():
            yield from (file for file in sorted(path.rglob("*")) if file.is_file())
        else:
            yield path


def warm(files: Iterable[Path]) -> None:
    """Read every file once."""
    buffer = bytearray(_CHUNK)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def flush(files: Iterable[Path]) -> None:
    """Wait until the files are on the disk: only then can their pages be dropped."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            os.fsync(file.fileno())


def make_cold(files: Sequence[Path]) -> float:
    """Drop the files' pages; the share that stays, 0 where they are cold.

    Pages that are still being read, by somebody's read-ahead, cannot be dropped: asked again a few times.
    """
    for _ in range(_EVICTIONS):
        evict(files)
        share = resident_share(files)
        if share == 0:
            break
        time.sleep(_SECONDS_BETWEEN_EVICTIONS)
    return share


def evict(files: Iterable[Path]) -> None:
    """Ask the kernel once to drop the files' pages; `resident_share` tells whether it did."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_share(files: Iterable[Path]) -> float:
    """Which part of the files' pages is in memory, 0 to 1."""
    resident = total = 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            pages = -(-size // mmap.PAGESIZE)
            resident += _resident_pages(file.fileno(), size, pages) if size else 0
            total += pages
    return resident / total if total else 0.0


def _resident_pages(descriptor: int, size: int, pages: int) -> int:
    states = np.empty(pages, np.uint8)
    address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), f"cannot map a file to count its pages: {os.strerror(ctypes.get_errno())}")
    try:
        if _libc.mincore(address, size, states.ctypes.data) != 0:
            raise OSError(ctypes.get_errno(), f"mincore failed: {os.strerror(ctypes.get_errno())}")
    finally:
        _libc.munmap(address, size)
    return int((states & 1).sum())
