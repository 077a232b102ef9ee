"""Where the files of a stage lie: the one place that knows their names.

    FOLDER/records/STAGE/TASK.json             the record of a task
    FOLDER/records/STAGE/jobs.json             the Slurm jobs that were submitted for the stage
    FOLDER/records/STAGE/logs/TASK.1.log       output of a task's first attempt
    FOLDER/records/STAGE/submitit/             scripts, arguments and job logs of Slurm

A task id may hold any character: it is percent-encoded in file names, so that two ids never share a file
and none leaves the folder.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class StagePaths:
    """The files of stage `stage` in the run folder `folder`."""

    folder: Path
    stage: str

    @property
    def records(self) -> Path:
        return self.folder / "records" / self.stage

    @property
    def jobs(self) -> Path:
        return self.records / "jobs.json"

    @property
    def submitit(self) -> Path:
        return self.records / "submitit"

    def record(self, task_id: str) -> Path:
        return self.records / f"{file_name(task_id)}.json"

    def log(self, task_id: str, attempt: int) -> Path:
        return self.records / "logs" / f"{file_name(task_id)}.{attempt}.log"

    def slurm_log(self, job_id: str) -> Path:
        """What Slurm itself and the job's start-up wrote for a job (`12`) or an array's element (`12_3`)."""
        return self.submitit / f"{job_id}_0_log.err"

    def relative(self, path: Path) -> str:
        """A path as records hold it: relative to the run folder, which may be moved."""
        return str(path.relative_to(self.folder))


def file_name(task_id: str) -> str:
    """The task's id as a file name: ASCII, without separators, never hidden, one to one."""
    quoted = quote(task_id, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted
