"""Running a suite: its runs one after another on this machine, or all at once on Slurm; what is done is left alone."""

import time
from collections.abc import Callable
from typing import Any

from fdbpl.pipeline.evaluation.protocol import tests_of
from fdbpl.pipeline.presets.preset import render
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.protocols.suite import Suite, SuiteRun
from fdbpl.pipeline.protocols.table import suite_results
from fdbpl.pipeline.run.provenance import note_submission
from fdbpl.pipeline.run.results import read_results
from fdbpl.pipeline.run.submit import Submission
from fdbpl.pipeline.run.to_end import run_to_end
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.whole_file import replace_file
from fdbpl.slurm.backend import choose_kind, make_backend
from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import chain_status

SECONDS_BETWEEN_LOOKS = 5.0


def plan_suite(suite: Suite) -> dict[str, Any]:
    """What each run would do, as JSON, and what stands in its way; starts and writes nothing."""
    runs = []
    for run in suite.runs:
        entry: dict[str, Any] = {
            "run": run.name,
            "folder": str(run.config.folder),
            "students": len(student_plans(run.config)),
            "tests": [test.name for test in tests_of(run.config)],
            "problem": "",
        }
        try:
            submission = Submission(run.config, run.file)
            submission.check()
            entry["missing"] = submission.missing()
        except (ValueError, OSError) as error:
            entry["problem"] = str(error)
        runs.append(entry)
    return {"protocol": suite.protocol, "folder": str(suite.folder), "runs": runs}


def run_suite(suite: Suite, ui: Ui, *, command: str, wait: bool) -> dict[str, Any]:
    """Do what is missing of every run, where the config says, and tell the table of what is there. Here runs are done
    one after another; on Slurm all are submitted at once.

    Args:
        command: what a person types to go on.
        wait: on Slurm, stay until all runs have ended.

    Returns:
        As of `suite_results`, with `standing`: run -> complete, running, failed, …

    Raises:
        ValueError, CacheError: what a run refuses, before any of them is started.
        StageFailed: tasks did not complete here; the runs after it have not begun.
    """
    submissions = {run.name: Submission(run.config, run.file) for run in suite.runs}
    for submission in submissions.values():
        submission.check()
    chosen, reason = choose_kind(suite.runs[0].config.cluster.kind)
    for run in suite.runs:
        _keep(run)
    for name, submission in submissions.items():
        RunFolder(submission.config.folder).save(submission.config)
        if all(submission.chain.todo(step).is_finished for step in submission.chain.steps):
            continue
        ui.say(f"{name}: on {chosen} ({reason})")
        if chosen == "slurm":
            submission.start(command=command)
        else:
            note_submission(submission.chain, command=command, backend=chosen)
            backend = make_backend(chosen, max_workers=submission.config.cluster.max_workers)
            run_to_end(submission.chain, backend, ui, command=command)
    chains = {name: submission.chain for name, submission in submissions.items()}
    if chosen == "slurm" and wait:
        _wait(chains)
    found = {run.name: read_results(submissions[run.name].config) for run in suite.runs}
    return {**suite_results(suite, found), "standing": {n: chain_status(c).standing for n, c in chains.items()}}


def _keep(run: SuiteRun) -> None:
    """The run's config as a file, for people and for every other command."""
    content = render(run.config, "the protocol").encode()
    if not run.file.exists() or run.file.read_bytes() != content:
        replace_file(run.file, content)


def _wait(chains: dict[str, Chain], sleep: Callable[[float], None] = time.sleep) -> None:
    while any(chain_status(chain).standing == "running" for chain in chains.values()):
        sleep(SECONDS_BETWEEN_LOOKS)
