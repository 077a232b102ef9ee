"""`fdbpl bench start`: how long a command waits for its help, and a student's task for its first step.

Each is a process of its own, timed from before it is started, with the files in memory that it reads: it is the program
that is measured, not the disk. Weights are random, for what they hold takes no time.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.small_run import SmallRun, run_passes
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
        machine, parameters, results: a list of {name, seconds}, medians over the rounds: the help, a student's task to
        its first step, and the phases of that.

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
        run_passes(config)
        on_progress(1, 1)
    rounds: list[dict[str, float]] = []
    with ui.bar("measure", "rounds") as on_progress:
        for number in range(1 + parameters.num_rounds):
            rounds.append({HELP: _help(folder), **_student(config, folder)})
            on_progress(number, parameters.num_rounds)
    device = choose_device(parameters.device)
    return {
        "machine": machine(installed(("torch", "open_clip_torch", "typer")), folder, device),
        "parameters": asdict(parameters),
        "results": [
            {"name": name, "seconds": round(median(one[name] for one in rounds[1:]), 3)}
            for name in (HELP, STUDENT, *PHASES)
        ],
    }


def _help(folder: Path) -> float:
    started = time.monotonic()
    _run(folder, "fdbpl.pipeline.cli", "--help")
    return time.monotonic() - started


def _student(config: RunConfig, folder: Path) -> dict[str, float]:
    """Seconds of the whole and of each phase."""
    file, (plan,) = RunFolder(config.folder).save(config), student_plans(config)
    started = before = time.monotonic()
    ends = json.loads(_run(folder, "fdbpl.pipeline.bench.start_child", str(file), plan.id))
    seconds = {STUDENT: ends[PHASES[-1]] - started}
    for phase in PHASES:
        seconds[phase] = ends[phase] - before
        before = ends[phase]
    return seconds


def _run(folder: Path, module: str, *arguments: str) -> str:
    """What a process prints. Raises ValueError where it fails."""
    answer = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise ValueError(f"found exit code {answer.returncode} of {module}, expected 0: {answer.stderr.strip()}")
    return answer.stdout
