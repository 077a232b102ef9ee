"""One process at a time decides about a run: a person's command, or a checking job on any node.

The lock is POSIX's, which file servers (NFS, Lustre with flock) pass on between machines, and which goes with its
holder however it ends. Where a file system has no locks, it is said and the run goes on without: tasks submitted twice
do no harm, they cost time.
"""

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fdbpl.slurm.errors import SlurmError

logger = logging.getLogger(__name__)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def deciding(folder: Path, *, wait_seconds: float = 600.0) -> Iterator[None]:
    """Hold the run's lock while the body runs.

    Raises:
        SlurmError: another process held it for so long.
    """
    descriptor = os.open(folder / "records" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait_seconds
    try:
        while not _locked(descriptor, folder):
            if time.monotonic() > deadline:
                raise SlurmError(
                    f"another process has been deciding about {folder} for {wait_seconds:.0f} s (submitting, or a "
                    "check of a step); try again later"
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            logger.warning("%s: its file system has no locks (%s); going on without", folder, error.strerror)
            return True
        return False
    return True
