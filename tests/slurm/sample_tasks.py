"""Functions of tasks for the tests: they run in workers and jobs, found through PYTHONPATH."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fdbpl.slurm.progress import report_progress
from fdbpl.slurm.stopping import Stopped


def echo(folder: Path, task_id: str) -> dict[str, Any]:
    print(f"task {task_id} says hello")
    return {"task": task_id, "folder": str(folder)}


def environment(folder: Path, task_id: str) -> dict[str, Any]:
    return {"value": os.environ.get(task_id), "pid": os.getpid()}


def leave_variable(folder: Path, task_id: str) -> dict[str, Any]:
    """Change the process's environment as a careless library does; say what the task before left."""
    found = {"left": os.environ.get("LEFT"), "home": os.environ.get("HOME"), "pid": os.getpid()}
    os.environ["LEFT"] = task_id
    os.environ.pop("HOME", None)
    return found


def nothing(folder: Path, task_id: str) -> None:
    return None


def fail_if_bad(folder: Path, task_id: str) -> dict[str, Any]:
    if task_id.startswith("bad"):
        raise ValueError(f"no luck with {task_id}")
    return {"task": task_id}


def exit_if_bad(folder: Path, task_id: str) -> None:
    if task_id.startswith("bad"):
        sys.exit("giving up")


def die_if_bad(folder: Path, task_id: str) -> dict[str, Any]:
    if task_id.startswith("bad"):
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return {"task": task_id}


def hang_up_and_die(folder: Path, task_id: str) -> None:
    """Close all pipes, some time before the end."""
    os.closerange(3, 100)
    time.sleep(0.3)
    os._exit(3)


class StopsWhenRead(dict[str, Any]):
    """A result that sends its process TERM when it is written down."""

    def items(self) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().items()


def stop_worker_afterwards(folder: Path, task_id: str) -> dict[str, Any]:
    """The worker is asked to stop when the function has returned."""
    return StopsWhenRead(task=task_id)


def return_path(folder: Path, task_id: str) -> Any:
    return {"path": folder}


def return_number(folder: Path, task_id: str) -> Any:
    return 7


def count_neighbours(folder: Path, task_id: str) -> dict[str, Any]:
    """How many tasks run while this one does: wait for the first company, then a while for more."""
    active, met = folder / "active", folder / "met"
    active.mkdir(parents=True, exist_ok=True)
    mine = active / task_id
    mine.touch()
    most = 0
    deadline = time.monotonic() + 10
    enough = None
    while time.monotonic() < (enough or deadline):
        most = max(most, len(list(active.iterdir())))
        if most > 1:
            met.touch()
        if met.exists() and enough is None:
            enough = time.monotonic() + 0.15
        time.sleep(0.01)
    mine.unlink()
    return {"most": most}


def wait_for_gate(folder: Path, task_id: str) -> dict[str, Any]:
    """Run until the folder holds a file `gate`."""
    report_progress(1, 4)
    while not (folder / "gate").exists():
        time.sleep(0.01)
    report_progress(4, 4, words="through the gate")
    return {"task": task_id}


def wait_for_sign_of_life(folder: Path, task_id: str) -> dict[str, Any]:
    """Report nothing until the record has been renewed, at most 10 s; return what it says then."""
    record = folder / "records" / "sample" / f"{task_id}.json"
    first = json.loads(record.read_text())
    deadline = time.monotonic() + 10
    while (found := json.loads(record.read_text())) == first and time.monotonic() < deadline:
        time.sleep(0.01)
    return {name: found[name] for name in ("state", "updated")}


def deaf_with_child(folder: Path, task_id: str) -> dict[str, Any]:
    """Ignore requests to stop, and have a process running that does, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    (folder / "child").write_text(str(child.pid))
    return wait_for_gate(folder, task_id)


def slow_if_slow(folder: Path, task_id: str) -> None:
    time.sleep(1.0 if task_id == "slow" else 0)


def hang_if_bad(folder: Path, task_id: str) -> dict[str, Any]:
    """Hang without a sign, deaf to all requests, with a child in a process group of its own."""
    if task_id.startswith("bad"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], process_group=0)
        (folder / "child").write_text(str(child.pid))
        while True:
            signal.pause()
    return {"task": task_id}


def return_when_stopped(folder: Path, task_id: str) -> dict[str, Any]:
    try:
        return wait_for_gate(folder, task_id)
    except Stopped as stop:
        return {"stop": str(stop)}


def clean_up_when_stopped(folder: Path, task_id: str) -> dict[str, Any]:
    try:
        return wait_for_gate(folder, task_id)
    finally:
        (folder / "cleaned").touch()


def fail_when_stopped(folder: Path, task_id: str) -> dict[str, Any]:
    """A stop often shows as an error of something else: here of a child that got the signal, too."""
    try:
        return wait_for_gate(folder, task_id)
    except BaseException as error:
        raise RuntimeError("a child was killed") from error


def ten_steps(folder: Path, task_id: str) -> dict[str, Any]:
    for step in range(10):
        report_progress(step + 1, 10, views=step + 1)
    return {}
