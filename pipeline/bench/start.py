"""`fdbpl bench start`: how long a command waits for its help, and a student's task for its first step.

Each is a process of its own, timed from before it is started, with the files in memory that it reads: it is the program
that is measured, not the disk. Weights are random, for what they hold takes no time.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.small_run import SmallRun, feature_pass, teacher_pass
from fdbpl.pipeline.bench.start_child import PHASES
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.versions import installed

HELP, STUDENT = "help", "student to its first step"


@dataclass(frozen=True, kw_only=True)
class StartParameters:
    """What is measured.

    Attributes:
        student, teacher: open_clip models; of the teacher a student asks only which weights it has.
        num_classes, batch_size: of the student's step.
        device: auto, cpu or cuda.
        num_rounds: processes of each kind, after one that is not counted.
    """

    student: str = "ViT-B-32"
    teacher: str = "ViT-L-14"
    num_classes: int = 100
    batch_size: int = 8
    device: str = "auto"
    num_rounds: int = 5


def bench_start(parameters: StartParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure both; everything is put into `folder`.

    Returns:
        machine, threads, parameters, results: a list of {name, seconds, cpu_seconds} of the quickest round: the help, a
        student's task to its first step, and the phases of that.

    Raises:
        ValueError: an unknown model or device.
    """
    run = SmallRun(
        student=parameters.student,
        teacher=parameters.teacher,
        num_classes=parameters.num_classes,
        num_images=parameters.batch_size,
        batch_size=parameters.batch_size,
        size=(500, 375),
        device=parameters.device,
    )
    config = run.config(folder)
    with ui.bar("teacher and feature pass", "passes") as on_progress:
        teacher_pass(config)
        feature_pass(config)
        on_progress(1, 1)
    helps, students = [], []
    with ui.bar("measure", "rounds") as on_progress:
        for number in range(1 + parameters.num_rounds):
            helps.append(_help(folder))
            students.append(_student(config, folder))
            on_progress(number, parameters.num_rounds)
    # What else a machine does only adds to a start; of a student, the phases of one round.
    quickest = {HELP: min(helps[1:]), **min(students[1:], key=lambda spent: spent[STUDENT])}
    device = choose_device(parameters.device)
    return {
        "machine": machine(installed(("torch", "open_clip_torch", "typer")), folder, device),
        "threads": config.cluster.cpus,
        "parameters": asdict(parameters),
        "results": [
            {"name": name, "seconds": round(spent.seconds, 3), "cpu_seconds": round(spent.cpu_seconds, 3)}
            for name, spent in quickest.items()
        ],
    }


class Spent(NamedTuple):
    """Time of the clock, and of all cores together."""

    seconds: float
    cpu_seconds: float


def _help(folder: Path) -> Spent:
    started, before = time.monotonic(), os.times()
    _run(folder, "fdbpl.pipeline.cli", "--help")
    after = os.times()
    cpu_seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(time.monotonic() - started, cpu_seconds)


def _student(config: RunConfig, folder: Path) -> dict[str, Spent]:
    """What the whole took, and each phase."""
    file, (plan,) = RunFolder(config.folder).save(config), student_plans(config)
    before = began = Spent(time.monotonic(), 0.0)
    threads = {"OMP_NUM_THREADS": str(config.cluster.cpus)}  # as a task is told
    ends = json.loads(_run(folder, "fdbpl.pipeline.bench.start_child", str(file), plan.id, **threads))
    spent = {}
    for phase in PHASES:
        end = Spent(*ends[phase])
        spent[phase] = _between(before, end)
        before = end
    return {STUDENT: _between(began, before), **spent}


def _between(before: Spent, after: Spent) -> Spent:
    return Spent(after.seconds - before.seconds, after.cpu_seconds - before.cpu_seconds)


def _run(folder: Path, module: str, *arguments: str, **environment: str) -> str:
    """What a process prints. Raises ValueError where it fails."""
    answer = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise ValueError(f"found exit code {answer.returncode} of {module}, expected 0: {answer.stderr.strip()}")
    return answer.stdout
