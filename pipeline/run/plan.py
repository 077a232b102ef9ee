"""What a run would do and cost, before anything is started: tasks, jobs, time, GPU-hours, bytes.

Time follows from a rate for each step: the one that was given, or measured just now, or told by the complete tasks of
this run folder. Where there is none it is not guessed.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.run.sizing import Sizes
from fdbpl.pipeline.run.state import RunState
from fdbpl.pipeline.run.steps import kind_of
from fdbpl.pipeline.run.units import units_left
from fdbpl.slurm.chain import Chain, Step

# A job's start, until its first task works: Python, torch, the model (4.4 to 5.5 s for the first two).
START_SECONDS = 8.0


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """What a step would do.

    Attributes:
        tasks, missing: in all, and still to be done.
        jobs, per_job, parallel: jobs, tasks that each runs in turn, and jobs at a time.
        units, unit: work that is missing, such as views.
        rate, rate_from: units a second of one task, and how that is known; None and "" where it is not.
        seconds: of the step from its first task to its last, without waiting in the queue.
        gpu_hours: None where the rate is not known.
        bytes: that will be written to the store.
    """

    step: str
    tasks: int
    missing: int
    jobs: int
    per_job: int
    parallel: int
    units: int
    unit: str
    rate: float | None
    rate_from: str
    seconds: float | None
    gpu_hours: float | None
    bytes: int


def plan_run(config: RunConfig, chain: Chain, rates: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
    """The plan of each step and of the whole, as JSON.

    Args:
        config: of the run.
        chain: its steps.
        rates: step (or `train` for all of its stages) -> units a second of one task, and where that comes from.
    """
    run = RunState(chain.environment)
    sizes = Sizes(config)
    plans = [_plan_step(chain, step, run, sizes, rates) for step in chain.steps]
    known = [plan.seconds for plan in plans if plan.seconds is not None]
    unknown = [plan.step for plan in plans if plan.seconds is None]
    num_bytes = sum(plan.bytes for plan in plans)
    free = shutil.disk_usage(_nearest(config.store.path)).free
    return {
        "folder": str(config.folder),
        "store": str(config.store.path),
        "steps": [asdict(plan) for plan in plans],
        "seconds": sum(known),
        "gpu_hours": sum(plan.gpu_hours or 0.0 for plan in plans),
        "unknown": unknown,
        "bytes": num_bytes,
        "bytes_free": free,
        "fits": num_bytes < free,
        "is_private": config.store.path.is_relative_to(config.folder),
    }


def _plan_step(
    chain: Chain, step: Step, run: RunState, sizes: Sizes, rates: Mapping[str, tuple[float, str]]
) -> StepPlan:
    todo = chain.todo(step)
    missing = len(todo.missing)
    units, num_bytes = units_left(run, step.name, todo.missing)
    limit = step.resources.max_parallel or max(missing, 1)
    per_job = max(1, min(step.per_job, missing))
    jobs = math.ceil(missing / per_job)
    parallel = min(jobs, limit)
    rate, rate_from = rates.get(step.name) or rates.get(kind_of(step.name)) or sizes.rate(step.name)
    seconds = None
    if not missing:
        seconds = 0.0
    elif rate is not None and units:
        seconds = math.ceil(jobs / parallel) * (START_SECONDS + units / jobs / rate)
    elif not units:
        seconds = START_SECONDS
    busy = None if rate is None and units else (units / rate if rate else 0.0) + jobs * START_SECONDS
    return StepPlan(
        step=step.name,
        tasks=todo.total,
        missing=missing,
        jobs=jobs,
        per_job=per_job,
        parallel=parallel,
        units=units,
        unit=step.unit,
        rate=rate,
        rate_from=rate_from,
        seconds=seconds,
        gpu_hours=0.0 if not step.resources.gpus else None if busy is None else busy * step.resources.gpus / 3600,
        bytes=num_bytes,
    )


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
