"""Files mapped side by side into one reserved range of addresses, read-only, through libc.

The range is reserved without memory; each file is mapped over a part of it and its descriptor can be closed
at once, which Python's `mmap` cannot do. The range is unmapped when nothing refers to it any more, so an
array over it can never outlive it. Works after fork; is never pickled. Cost: one map a file and address
space for all.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PAGE_BYTES = mmap.PAGESIZE
HUGE_PAGE_BYTES = 2 << 20
# One call reads ahead no more than the device's limit, silently; a megabyte or less is read in full.
ADVICE_BYTES = 1 << 20
_PROT_NONE, _MAP_FIXED, _MAP_NORESERVE = 0, 0x10, 0x4000  # Linux's; Python does not name them all
_MAP_FAILED = ctypes.c_void_p(-1).value

_LEAST_FILES = 16
_reserved = [0]
_reserving = threading.RLock()  # collecting garbage under it may end an owner's life

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def most_files() -> int:
    """How many files a process should hold mapped: each takes two of its maps, the file's and the gap after it.

    Half of the limit is left to others: libraries, allocators, other readers.
    """
    limit = _map_limit()
    return max(_LEAST_FILES, int(limit) // 4) if limit.isdigit() else 16_000


def reserve_files(owner: object, wanted: int) -> int:
    """How many files `owner` may hold mapped, of the process's share, until it is gone; a few in any case."""
    with _reserving:
        granted = max(_LEAST_FILES, min(wanted, most_files() - _reserved[0]))
        _reserved[0] += granted
    weakref.finalize(owner, _give_back, granted).atexit = False
    return granted


def _give_back(count: int) -> None:
    with _reserving:
        _reserved[0] -= count


class MappedRange:
    """Reserved addresses of `num_bytes` (rounded up to pages), from a huge page's border on, that files go into."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = round_to_pages(num_bytes)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        reserved = self.num_bytes + HUGE_PAGE_BYTES
        first = _mmap(None, reserved, _PROT_NONE, flags, -1, "an address range")
        self._address = -(-first // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        release = weakref.finalize(self, _libc.munmap, first, reserved)
        release.atexit = False  # the process ends anyway, and other threads may still read

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "typestr": "|u1", "shape": (self.num_bytes,), "data": (self._address, True)}

    def bytes(self) -> npt.NDArray[np.uint8]:
        """The range as a read-only array that keeps it alive; only mapped parts may be read."""
        return np.asarray(self)

    def map_file(self, start: int, path: Path, descriptor: int, size: int) -> None:
        """Map `size` bytes of an open file at `start`, a multiple of the page size; no more is read than is touched."""
        assert start % PAGE_BYTES == 0 and size > 0 and start + size <= self.num_bytes
        flags = mmap.MAP_SHARED | _MAP_FIXED
        _mmap(self._address + start, size, mmap.PROT_READ, flags, descriptor, str(path))
        # Read-ahead around a random row would read a hundred times too much; `will_need` says what to read.
        _check(_libc.madvise(self._address + start, size, mmap.MADV_RANDOM), "madvise")

    def unmap(self, start: int, size: int) -> None:
        """Give a mapped part back to the reservation; it must not be read any more."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
        _mmap(self._address + start, round_to_pages(size), _PROT_NONE, flags, -1, "an address range")

    def will_need(self, starts: npt.NDArray[np.int64], length: int) -> None:
        """Ask the kernel to read `length` bytes from each of these positions in the background.

        Costs a call for each, and for each megabyte.
        """
        advise, address = _libc.madvise, self._address
        for start in starts.tolist():
            stop = start + length
            for piece in range(start - start % PAGE_BYTES, stop, ADVICE_BYTES):
                _check(advise(address + piece, min(ADVICE_BYTES, stop - piece), mmap.MADV_WILLNEED), "madvise")


def round_to_pages(num_bytes: int) -> int:
    """The next multiple of the page size."""
    return -(-num_bytes // PAGE_BYTES) * PAGE_BYTES


def _mmap(address: int | None, length: int, protection: int, flags: int, descriptor: int, what: str) -> int:
    result = _libc.mmap(address, length, protection, flags, descriptor, 0)
    if result == _MAP_FAILED:
        code = ctypes.get_errno()
        raise OSError(
            code,
            f"cannot map {length} bytes of {what}: {os.strerror(code)}; the limit on address space "
            f"(ulimit -v) is {_address_limit()}, the limit on maps (vm.max_map_count) is {_map_limit()}",
        )
    return int(result)


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call} failed: {os.strerror(code)}")


def _address_limit() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} bytes"


def _map_limit() -> str:
    try:
        return Path("/proc/sys/vm/max_map_count").read_text().strip()
    except OSError:
        return "unknown"
