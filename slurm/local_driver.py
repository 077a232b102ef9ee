"""Which process on which machine runs a chain's tasks by the local pool: so that others can ask, and end it."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from fdbpl.slurm.json_files import read_json, write_json


def _driver_file(folder: Path) -> Path:
    return folder / "records" / "driver.json"


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks: with the pid it names one process only."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()[19]


@contextlib.contextmanager
def local_driver(folder: Path) -> Iterator[None]:
    """Tell, while the body runs, that this process runs the tasks of a run folder.

    Raises:
        ValueError: another process does.
    """
    if local_driver_lives(folder):
        found = read_json(_driver_file(folder)) or {}
        if found.get("pid") != os.getpid():
            raise ValueError(
                f"found process {found.get('pid')} on {found.get('host')} at work in {folder}, expected nobody: wait "
                "for it (`fdbpl status`), or end it (`fdbpl cancel`)"
            )
    _driver_file(folder).parent.mkdir(parents=True, exist_ok=True)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "ticks": _started(os.getpid()), "started": time.time()}
    write_json(_driver_file(folder), mine)
    try:
        yield
    finally:
        _driver_file(folder).unlink(missing_ok=True)


def local_driver_pid(folder: Path) -> int | None:
    """The process on this machine that runs the folder's tasks, or None."""
    found = read_json(_driver_file(folder))
    if found is None or found["host"] != socket.gethostname():
        return None
    try:
        return int(found["pid"]) if _started(found["pid"]) == found["ticks"] else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def local_driver_lives(folder: Path) -> bool:
    """Whether a process runs the folder's tasks; one on another machine is believed to live."""
    found = read_json(_driver_file(folder))
    return found is not None and (found["host"] != socket.gethostname() or local_driver_pid(folder) is not None)
