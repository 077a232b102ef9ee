"""The journal of a stage: what has been submitted for it, in order, and how many tasks it has.

It is how any process finds the jobs of a run again. Whether they did their work is in the tasks' records.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from fdbpl.slurm.json_files import read_json, write_json
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One array of jobs, or one run of the local pool.

    Attributes:
        name: unlike any other submission's; in Slurm the jobs' name, which tells a reused job id.
        array: the array's job id in Slurm; "" on the local pool.
        bundles: the task ids that each job of the array runs.
        round: 1 where a person asked for it, one more each time that a check submits a task again.
        attempts_before: of each task.
        resources: that were asked for.
        excluded: nodes that were excluded after failures.
        reasons: task id -> (type, message) of the error for which it was submitted again.
        submitted: seconds since 1970, UTC.
    """

    name: str
    array: str
    bundles: tuple[tuple[str, ...], ...]
    round: int
    attempts_before: Mapping[str, int]
    resources: Resources
    excluded: tuple[str, ...] = ()
    reasons: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    submitted: float = 0.0

    @cached_property
    def jobs(self) -> dict[str, str]:
        """Task id -> job: "12_3", or "12" where it is the only one."""
        alone = len(self.bundles) == 1
        return {
            task_id: self.array if alone else f"{self.array}_{index}"
            for index, bundle in enumerate(self.bundles)
            for task_id in bundle
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Submission":
        return cls(
            **{
                **values,
                "bundles": tuple(tuple(bundle) for bundle in values["bundles"]),
                "excluded": tuple(values["excluded"]),
                "reasons": {task: (kind, message) for task, (kind, message) in values["reasons"].items()},
                "resources": Resources(**values["resources"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What is known of a stage without asking its results.

    Attributes:
        total: tasks of the stage, as of the last look at its results.
        unplaced: of these, the missing ones that no submission holds.
        is_finished: nothing was missing, and the step was closed.
        cancelled: jobs that a person has ended, with the whole run.
        submissions: oldest first.
    """

    total: int = 0
    unplaced: int = 0
    is_finished: bool = False
    cancelled: tuple[str, ...] = ()
    submissions: tuple[Submission, ...] = field(default=())

    @cached_property
    def latest(self) -> dict[str, Submission]:
        """Task id -> the last submission that holds it."""
        return {task_id: submission for submission in self.submissions for task_id in submission.attempts_before}

    def with_submission(self, submission: Submission) -> "Journal":
        return replace(self, submissions=(*self.submissions, submission))


def read_journal(paths: StagePaths) -> Journal:
    """The stage's journal; an empty one where nothing was ever submitted."""
    payload = read_json(paths.jobs)
    if payload is None:
        return Journal()
    submissions = tuple(Submission.from_json(values) for values in payload.pop("submissions"))
    del payload["format"]
    cancelled = tuple(payload.pop("cancelled", ()))
    return Journal(**payload, cancelled=cancelled, submissions=submissions)


def write_journal(paths: StagePaths, journal: Journal) -> None:
    paths.records.mkdir(parents=True, exist_ok=True)
    write_json(paths.jobs, {"format": 2, **asdict(journal)})
    os.chmod(paths.jobs, 0o600)  # noqa: PTH101
