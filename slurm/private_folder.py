"""Folders that nobody else can put files into.

Slurm jobs load a pickle of their call from the run folder: whoever can write there can run code as its owner.
So before anything is pickled, the folder and those below it must be the caller's, and closed to all others.
"""

import os
import stat
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make the folder where it is missing, check its owner, and close it to others (mode 0700).

    Raises:
        PermissionError: it belongs to somebody else.
        NotADirectoryError: it is a link or a file.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise PermissionError(
                f"{folder} belongs to user {found.st_uid}, expected {os.geteuid()} (you): its owner "
                "could run code as you through a Slurm job; choose a run folder of your own"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
