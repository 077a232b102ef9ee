"""Submitting tasks as Slurm job arrays, by submitit.

The pickle of a job holds the name of one function of ours and a few texts: no code, no data, some 300 bytes. What was
submitted is written into the stage's journal after each array, so that whoever comes later finds the jobs again. A
controller that is away is waited for; a request whose answer was lost is looked for by its name, and withdrawn, before
it is made again, so that nothing is queued twice.
"""

import contextlib
import logging
import math
import os
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from fdbpl.slurm.array_parts import array_parts
from fdbpl.slurm.controller import cancel, is_transient, max_array_size, patiently, unfinished_named
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.journal import Submission, read_journal, write_journal
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.private_folder import make_private
from fdbpl.slurm.profile import Profile
from fdbpl.slurm.records import read_record
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.worker import run_in_slurm

logger = logging.getLogger(__name__)

# How long a controller that does not answer is waited for, by whoever submits.
PATIENCE_SECONDS = 900.0
Bundles = Sequence[tuple[str, ...]]


def submit(
    stage: Stage,
    bundles: Bundles,
    profile: Profile,
    *,
    site: str,
    round: int,
    excluded: tuple[str, ...] = (),
    reasons: Mapping[str, tuple[str, str]] | None = None,
    dependency: str = "",
    delay_seconds: int = 0,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Submission]:
    """Submit jobs and write them into the stage's journal.

    Args:
        stage: where and how; its task ids are not looked at.
        bundles: the task ids of each job.
        profile: of the cluster.
        site: the step whose part of the profile holds.
        round: see Submission.
        excluded: nodes to keep away from, beside those of the profile.
        reasons: why tasks are submitted again, for the journal.
        dependency: as sbatch takes it.
        delay_seconds: the jobs do not begin earlier.
        patience_seconds: how long a controller that is away is waited for.

    Returns:
        The arrays: several where the cluster takes no array so long.

    Raises:
        SlurmError: Slurm refused; what was submitted before that is written down.
        ValueError: a folder that Slurm cannot write logs to.
        PermissionError: the run folder is somebody else's.
    """
    prepare_folders(stage.paths)
    longest = patiently(max_array_size, patience_seconds)
    submissions: list[Submission] = []
    for part in array_parts(len(bundles), longest, stage.resources.max_parallel):
        waits = [dependency] if dependency else []
        if part.after is not None:
            waits.append(f"afterany:{submissions[part.after].array}")
        name = f"{stage.name}-{secrets.token_hex(4)}"
        executor = make_executor(
            stage, profile, site=site, name=name, excluded=excluded, dependency=",".join(waits), parallel=part.parallel
        )
        if delay_seconds:
            executor.parameters["additional_parameters"]["begin"] = f"now+{delay_seconds}"
        here = tuple(bundles[part.start : part.stop])
        submission = Submission(
            name=name,
            array=_submit_array(executor, stage, here, profile.retry.requeues, name, patience_seconds),
            bundles=here,
            round=round,
            attempts_before={task: read_record(stage.paths, task).attempt for bundle in here for task in bundle},
            resources=stage.resources,
            excluded=excluded,
            reasons={task: why for task, why in (reasons or {}).items() if any(task in bundle for bundle in here)},
            submitted=time.time(),
        )
        submissions.append(submission)
        write_journal(stage.paths, read_journal(stage.paths).with_submission(submission))
    return submissions


def prepare_folders(paths: StagePaths) -> None:
    """Make the folders of job files, closed to others. Raises ValueError, PermissionError."""
    # Slurm replaces % in the names of log files, and its scripts are made of lines.
    unfit = [character for character in "%\\\n" if character in str(paths.folder)]
    if unfit:
        raise ValueError(
            f"the run folder {str(paths.folder)!r} holds {unfit[0]!r}, where Slurm writes no logs; rename it"
        )
    for folder in (paths.folder, paths.records.parent, paths.records, paths.submitit):
        make_private(folder)


def make_executor(
    stage: Stage,
    profile: Profile,
    *,
    site: str,
    name: str,
    excluded: tuple[str, ...] = (),
    dependency: str = "",
    parallel: int = 1,
) -> submitit.SlurmExecutor:
    """submitit's executor for a stage's jobs: arguments as of `submit`; `parallel` jobs of an array run at a time."""
    resources = stage.resources
    given = profile.parameters(site)
    extra = {**given.pop("additional_parameters")}
    if "afterok" in dependency:
        # A job whose condition cannot come true any more would wait for ever.
        extra.setdefault("kill_on_invalid_dep", "yes")
    kept_away = [*filter(None, [given.pop("exclude", None)]), *excluded]
    try:
        executor = submitit.SlurmExecutor(stage.paths.submitit, python=given.pop("python", None))
        executor.update_parameters(
            job_name=name,
            cpus_per_task=resources.cpus,
            mem=f"{math.ceil(resources.memory_gb * 1024)}MB",
            time=resources.whole_minutes,
            gpus_per_node=resources.gpus or None,
            signal_delay_s=min(profile.signal_delay_seconds, resources.whole_minutes * 60 // 4),
            array_parallelism=parallel,
            exclude=",".join(kept_away) or None,
            dependency=dependency or None,
            additional_parameters=extra,
            setup=[*given.pop("setup"), *_exports(stage)],
            **given,
        )
    except RuntimeError as error:
        raise SlurmError(str(error)) from error
    return executor


def script_text(executor: submitit.SlurmExecutor, num_jobs: int) -> str:
    """The script that sbatch is given for an array of so many jobs."""
    shown = submitit.SlurmExecutor(executor.folder, python=executor.python)
    shown.update_parameters(**executor.parameters)
    if num_jobs > 1:
        shown.parameters["map_count"] = num_jobs
    return str(shown._make_submission_file_text(shown._submitit_command_str, "plan"))


def _exports(stage: Stage) -> list[str]:
    # Since 22.05 a step does not inherit the job's cores: without this it would be bound to one.
    variables = {"SRUN_CPUS_PER_TASK": str(stage.resources.cpus), **stage.task_environment()}
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _submit_array(
    executor: submitit.SlurmExecutor, stage: Stage, bundles: Bundles, requeues: int, name: str, patience_seconds: float
) -> str:
    """The array's job id."""
    columns = zip(
        *((stage.function, str(stage.folder), stage.name, bundle, requeues) for bundle in bundles), strict=True
    )
    calls = [list(column) for column in columns]

    def send() -> str:
        try:
            with outside_of_a_job():
                jobs = executor.map_array(run_in_slurm, *calls)
        except (FailedJobError, FailedSubmissionError) as error:
            message = f"sbatch refused {len(bundles)} jobs of stage {stage.name}: {error}"
            if "limit" in str(error).lower():
                message += "\nif that is a limit on the jobs in the queue, set max_jobs in the site profile to it"
            raise SlurmError(message) from error
        return str(jobs[0].job_id).partition("_")[0]

    def withdraw_lost() -> None:
        """The controller may have taken the jobs and its answer was lost: they have no pickle, so they go."""
        lost = unfinished_named(name)
        if lost:
            logger.warning("%s: withdrawing %s, whose submission was not answered", stage.name, " ".join(lost))
            cancel(lost)

    try:
        return patiently(send, patience_seconds, before_next=withdraw_lost)
    except SlurmError as error:
        if is_transient(error):
            with contextlib.suppress(SlurmError):
                withdraw_lost()
        raise
    finally:
        _sweep(stage.paths)


def _sweep(paths: StagePaths) -> None:
    """Remove the scripts and pickles of requests that came to nothing: those that bear no job's number."""
    for path in paths.submitit.glob("*.pkl"):
        if not path.name.endswith("_submitted.pkl"):
            path.unlink(missing_ok=True)
    for path in paths.submitit.glob(".submission_file_*.sh"):
        path.unlink(missing_ok=True)  # of one that was taken, a link is left here


@contextlib.contextmanager
def outside_of_a_job() -> Iterator[None]:
    """Hide that this process runs in a job: sbatch takes the job's own settings for the new one's, else."""
    mine: Mapping[str, str] = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("SLURM_", "SRUN_", "SUBMITIT_")) and name != "SLURM_CONF"
    }
    for name in mine:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(mine)
