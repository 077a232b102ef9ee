"""One process at a time on a machine, by a lock that the kernel drops when its holder dies.

The lock is `flock` on a file that exists only while it is held or waited for: the holder removes the name
before it lets go, and who then gets a lock on a file without that name starts again. For local file systems.
Cost: waiters look every tenth of a second. A process that the holder forked keeps the lock as long as it lives.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fdbpl.cache_layout.errors import CacheError

SECONDS_BETWEEN_LOOKS = 0.1
log = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(path: Path, *, wait_seconds: float, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` meanwhile.

    Args:
        wait_seconds: for another holder, at most; 0 does not wait.
        on_wait: told once for each holder that is waited for, in a line; it is logged as well.

    Raises:
        CacheError: another process held it all the time.
        PermissionError: the folder cannot be written.
    """
    descriptor = _acquire(path, wait_seconds, on_wait)
    try:
        with suppress(OSError):  # only tells the others who holds it: a full disk does not matter
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        with suppress(OSError):  # another user's file in a folder like /tmp: it stays, and locks as well as before
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path, wait_seconds: float, on_wait: Callable[[str], None] | None) -> int:
    deadline = time.monotonic() + wait_seconds
    told = ""
    while True:
        descriptor = _open(path)
        if _locked(descriptor, path):
            if _has_name(descriptor, path):
                return descriptor
            os.close(descriptor)
            continue
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise CacheError(
                f"{path}: held by {holder}, waited {wait_seconds:g} s for it, expected it to finish: if it hangs, end "
                "it (the lock goes with it); if it only is slow, wait longer"
            )
        if holder != told:
            told = holder
            message = f"waiting for {holder}, which makes {path.name.removeprefix('.').removesuffix('.lock')}"
            log.info(message)
            if on_wait is not None:
                on_wait(message)
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:
        try:
            return os.open(path, os.O_RDONLY)  # another user's: it can be locked all the same
        except FileNotFoundError:
            raise error from None


def _locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(descriptor)
        raise CacheError(f"{path}: no lock can be had ({error.strerror}): choose a folder on a local disk") from error
    return True


def _has_name(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
