"""Which process on which machine runs a chain's tasks by the local pool: so that others can ask, and end it."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.run_lock import deciding


def _driver_file(folder: Path) -> Path:
    return folder / "records" / "driver.json"


def driver_log(folder: Path) -> Path:
    """The output of a process that runs a folder's tasks in the background: empty unless something went wrong."""
    return folder / "records" / "driver.log"


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: with the pid it names one process only. None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A dead process is listed until its parent has asked how it ended.
    return None if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def local_driver(folder: Path) -> Iterator[None]:
    """Tell, while the body runs, that this process runs the tasks of a run folder.

    Raises:
        ValueError: another process does, or this one already.
        SlurmError: another process has been deciding about the run for ten minutes.
    """
    _driver_file(folder).parent.mkdir(parents=True, exist_ok=True)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "ticks": _started(os.getpid()), "started": time.time()}
    with deciding(folder):
        if local_driver_lives(folder):
            found = read_json(_driver_file(folder)) or {}
            raise ValueError(
                f"found process {found.get('pid')} on {found.get('host')} at work in {folder}, expected nobody: wait "
                "for it (`fdbpl status`), or end it there (`fdbpl cancel`); if that machine is gone, delete "
                f"{_driver_file(folder)}"
            )
        write_json(_driver_file(folder), mine)
    try:
        yield
    finally:
        # Not that of a process which somebody has let in by deleting this one's.
        if read_json(_driver_file(folder)) == mine:
            _driver_file(folder).unlink(missing_ok=True)


def local_driver_pid(folder: Path) -> int | None:
    """The process on this machine that runs the folder's tasks, or None."""
    found = read_json(_driver_file(folder))
    if found is None or found["host"] != socket.gethostname():
        return None
    return int(found["pid"]) if _started(found["pid"]) == found["ticks"] else None


def local_driver_lives(folder: Path) -> bool:
    """Whether a process runs the folder's tasks; one on another machine is believed to live."""
    found = read_json(_driver_file(folder))
    return found is not None and (found["host"] != socket.gethostname() or local_driver_pid(folder) is not None)
