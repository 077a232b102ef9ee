"""Steps for the tests of chains: `first`, `second` (after first) and `third` (after second).

`plan.json` in the run folder lists each step's tasks. A task's result is a file results/STEP/TASK; what a task does
follows from the beginning of its id:

    bad-      fails until the folder holds a file `mended`
    die-      kills its process, until the folder holds a file `mended`
    slow-     waits for the file `gate`
    deaf-     so, too, but it ignores requests to stop, and has a child that does
    once-     dies at its first attempt
    big-      dies with a line about memory unless it may use 1 GB
    flaky-    raises at its first attempt, with another text each time
    hungry-   takes 400 MB and keeps them, unless it may use 500
    spent-    is at its time limit at its first attempt, and stops when it is told
    over-     so, too, but does not listen, so that Slurm ends it
    near-     counts the tasks that run while it does, until it has met as many as the file `company` says
    env-      returns the values of the variables that follow, as in env-A-B
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fdbpl.slurm.chain import Todo
from fdbpl.slurm.paths import file_name
from fdbpl.slurm.progress import report_progress


class WrongInput(ValueError):
    """An error that no second run mends."""


def todo(folder: Path, environment: Mapping[str, str], step: str) -> Todo:
    while "SLURM_JOB_ID" in os.environ and (folder / f"hold-check-{step}").exists():
        (folder / f"held-{step}").touch()
        time.sleep(0.01)
    tasks = json.loads((folder / "plan.json").read_text())[step]
    results = folder / "results" / step
    missing = tuple(task for task in tasks if not (results / file_name(task)).exists())
    return Todo(total=len(tasks), missing=missing, is_finished=not missing and (folder / f"closed-{step}").exists())


def finish(folder: Path, environment: Mapping[str, str], step: str) -> dict[str, Any]:
    while (folder / f"hold-{step}").exists():
        time.sleep(0.01)
    if (folder / f"refuse-{step}").exists():
        raise WrongInput(f"{step} cannot be closed")
    spoils = folder / f"spoils-{step}"  # STEP/TASK, whose result goes, once
    if spoils.exists():
        spoiled = folder / "results" / spoils.read_text()
        spoils.unlink()
        spoiled.unlink()
        (folder / f"closed-{spoiled.parent.name}").unlink(missing_ok=True)
        if spoiled.parent.name == step:
            return {"spoiled": spoiled.name}
    (folder / f"closed-{step}").touch()
    return {"closed": step}


def _work(step: str) -> Callable[[Path, str], dict[str, Any]]:
    def work(folder: Path, task_id: str) -> dict[str, Any]:
        before = {"second": "first", "third": "second"}.get(step)
        if before is not None and not (folder / f"closed-{before}").exists() and not (folder / "careless").exists():
            raise WrongInput(f"{task_id} of {step} ran before {before} was closed")
        tries = folder / "tries"
        tries.mkdir(exist_ok=True)
        count = sum(path.name.startswith(f"{file_name(task_id)}+") for path in tries.iterdir())
        (tries / f"{file_name(task_id)}+{count}").write_text(os.environ.get("SLURM_JOB_ID", ""))
        told = _behave(folder, task_id, count)
        (folder / "results" / step).mkdir(parents=True, exist_ok=True)
        (folder / "results" / step / file_name(task_id)).touch()
        return {"pid": os.getpid(), "tries": count + 1, **(told or {})}

    return work


def _behave(folder: Path, task_id: str, count: int) -> dict[str, Any] | None:
    kind = task_id.partition("-")[0]
    if kind == "near":
        return {"most": _count_neighbours(folder, task_id), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
    if kind == "env":
        return {name: os.environ.get(name) for name in task_id.split("-")[1:]}
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        (folder / "child").write_text(str(child.pid))
    if kind == "bad" and not (folder / "mended").exists():
        raise RuntimeError(f"no luck with {task_id}")
    if kind == "wrong" and not (folder / "mended").exists():
        raise WrongInput(f"{task_id} is wrong")
    if kind == "flaky" and count == 0:
        raise RuntimeError(f"no luck at {time.monotonic()}")
    if kind == "hungry" and int(os.environ["SLURM_MEM_PER_NODE"]) < 500:
        kept = bytearray(b"x") * 400_000_000
        time.sleep(60)
        raise RuntimeError(f"nobody minded {len(kept)} bytes")
    if kind in ("spent", "over") and count == 0:
        if kind == "over":
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        time.sleep(240)
    if kind in ("slow", "deaf"):
        report_progress(1, 4)
        while not (folder / "gate").exists():
            time.sleep(0.01)
        report_progress(4, 4)
    if kind == "big" and int(os.environ["SLURM_MEM_PER_NODE"]) < 1000:
        sys.stderr.write("slurmstepd: error: Exceeded job memory limit\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if (kind == "once" and count == 0) or (kind == "die" and not (folder / "mended").exists()):
        os.kill(os.getpid(), signal.SIGKILL)
    return None


def _count_neighbours(folder: Path, task_id: str) -> int:
    """The most tasks that ran while this one did, itself among them: each waits until the company was there once."""
    company = int((folder / "company").read_text())
    running, met = folder / "running", folder / "met"
    running.mkdir(exist_ok=True)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if gpus and any(path.read_text() == gpus for path in running.iterdir()):
        (folder / "clash").touch()
    (running / task_id).write_text(gpus)
    most = 0
    deadline = time.monotonic() + 20
    while True:
        most = max(most, len(list(running.iterdir())))
        if most >= company:
            met.touch()
        if met.exists() or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    time.sleep(0.05)  # for one too many
    most = max(most, len(list(running.iterdir())))
    (running / task_id).unlink()
    return most


work_first, work_second, work_third = map(_work, ("first", "second", "third"))
