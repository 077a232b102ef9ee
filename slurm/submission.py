"""Submitting the tasks of a stage as Slurm job arrays, by submitit.

The pickle of a task holds the name of one function of ours and four texts: no code, no data, about 200 bytes.
The ids of the jobs are written down in jobs.json after each array, so that whoever comes later finds them
again.
"""

import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from fdbpl.slurm.array_parts import array_parts
from fdbpl.slurm.controller import max_array_size
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.private_folder import make_private
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.worker import run_in_slurm

# Slurm's measured lateness, so that a task hears of its time limit with this much left at least.
_SIGNAL_DELAY_SECONDS = 90


@dataclass(frozen=True, kw_only=True)
class SubmittedTask:
    """Which job runs a task.

    Attributes:
        job: "12", or "12_3" in an array.
        name: the job's name, unlike any other submission's: tells a reused job id.
        function: what the job calls.
        attempts_before: the task's attempts when it was submitted.
    """

    job: str
    name: str
    function: str
    attempts_before: int


def read_jobs(paths: StagePaths) -> dict[str, SubmittedTask]:
    """The stage's submissions: task id -> job of its latest."""
    payload = read_json(paths.jobs)
    return {} if payload is None else {task: SubmittedTask(**job) for task, job in payload["tasks"].items()}


def submit(stage: Stage, attempts_before: Mapping[str, int], parameters: Mapping[str, Any]) -> dict[str, SubmittedTask]:
    """Submit tasks and write down their jobs.

    Args:
        stage: where and how.
        attempts_before: attempts of each task that is to be submitted.
        parameters: for submitit's AutoExecutor; they win over the stage's resources.

    Returns:
        Task id -> its job.

    Raises:
        SlurmError: Slurm refused; what was submitted before that is written down.
        ValueError: an unknown parameter, or a folder that Slurm cannot write logs to.
        PermissionError: the run folder is somebody else's.
    """
    task_ids = tuple(attempts_before)
    _prepare_folders(stage.paths)
    limit = parameters.get("slurm_array_parallelism", stage.resources.max_parallel)
    parts = array_parts(len(task_ids), max_array_size(), limit)
    name = f"{stage.name}-{secrets.token_hex(4)}"
    submitted: dict[str, SubmittedTask] = {}
    arrays: list[str] = []
    for part in parts:
        executor = _executor(stage, name, parameters)
        executor.update_parameters(slurm_array_parallelism=part.parallel)
        if part.after is not None:
            executor.update_parameters(slurm_dependency=_after(arrays[part.after], parameters))
        jobs = _submit_array(executor, stage, task_ids[part.start : part.stop])
        arrays.append(jobs[0].partition("_")[0])
        for task_id, job in zip(task_ids[part.start : part.stop], jobs, strict=True):
            submitted[task_id] = SubmittedTask(
                job=job, name=name, function=stage.function, attempts_before=attempts_before[task_id]
            )
        _write_jobs(stage.paths, {**read_jobs(stage.paths), **submitted})
    return submitted


def _prepare_folders(paths: StagePaths) -> None:
    # Slurm replaces % in the names of log files, and its scripts are made of lines.
    unfit = [character for character in "%\\\n" if character in str(paths.folder)]
    if unfit:
        raise ValueError(
            f"the run folder {str(paths.folder)!r} holds {unfit[0]!r}, where Slurm writes no logs; rename it"
        )
    for folder in (paths.folder, paths.records.parent, paths.records, paths.submitit):
        make_private(folder)


def _executor(stage: Stage, name: str, parameters: Mapping[str, Any]) -> submitit.AutoExecutor:
    resources = stage.resources
    rest = dict(parameters)
    python = rest.pop("slurm_python", None)
    setup = [*rest.pop("slurm_setup", ()), *_exports(stage)]
    defaults: dict[str, Any] = {
        "name": name,
        "cpus_per_task": resources.cpus,
        "mem_gb": resources.memory_gb,
        "timeout_min": resources.minutes,
        "gpus_per_node": resources.gpus or None,
        "slurm_signal_delay_s": min(_SIGNAL_DELAY_SECONDS, resources.minutes * 60 // 4),
    }
    try:
        executor = submitit.AutoExecutor(
            stage.paths.submitit, cluster="slurm", **({} if python is None else {"slurm_python": python})
        )
        executor.update_parameters(**{**defaults, **rest, "slurm_setup": setup})
    except NameError as error:
        raise ValueError(f"Slurm parameters: {error}") from error
    except RuntimeError as error:
        raise SlurmError(str(error)) from error
    return executor


def _exports(stage: Stage) -> list[str]:
    # Since 22.05 a step does not inherit the job's cores: without this it would be bound to one.
    variables = {"SRUN_CPUS_PER_TASK": str(stage.resources.cpus), **stage.task_environment()}
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _after(array: str, parameters: Mapping[str, Any]) -> str:
    given = parameters.get("slurm_dependency")
    return f"afterany:{array}" if not given else f"{given},afterany:{array}"


def _submit_array(executor: submitit.AutoExecutor, stage: Stage, task_ids: Sequence[str]) -> list[str]:
    calls = [stage.call(task_id) for task_id in task_ids]
    columns = zip(*((call.function, call.folder, call.stage, call.task_id) for call in calls), strict=True)
    try:
        jobs = executor.map_array(run_in_slurm, *columns)
    except (FailedJobError, FailedSubmissionError) as error:
        raise SlurmError(f"sbatch refused {len(task_ids)} tasks of stage {stage.name}: {error}") from error
    return [job.job_id for job in jobs]


def _write_jobs(paths: StagePaths, jobs: Mapping[str, SubmittedTask]) -> None:
    write_json(paths.jobs, {"format": 1, "tasks": {task: asdict(job) for task, job in jobs.items()}})
    os.chmod(paths.jobs, 0o600)  # noqa: PTH101
