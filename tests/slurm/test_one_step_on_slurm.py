"""One step of tasks on a real cluster: what is submitted, what is recorded, and what is not done twice."""

import json
import os
import pickletools
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import StepStatus, chain_status
from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.local_chain import run_here
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.records import TaskRecord, read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.start import start
from fdbpl.slurm.status import StageStatus

pytestmark = pytest.mark.slurm

MakeChain = Callable[..., Chain]
ONCE = {"retry": {"rounds": 1, "requeues": 0}}


def records(step: StepStatus) -> dict[str, TaskRecord]:
    return {task: seen.record for task, seen in step.tasks.items()}


def states(step: StepStatus) -> dict[str, str]:
    return {task: record.state for task, record in records(step).items()}


def first(chain: Chain) -> StepStatus:
    return chain_status(chain).step("first")


def runs(chain: Chain, *tasks: str) -> bool:
    """Whether these tasks have told progress, so are within their function."""
    found = records(first(chain))
    return all(found[task].state == "running" and found[task].progress is not None for task in tasks)


def test_an_array_leaves_the_same_records_as_the_local_pool(
    make_chain: MakeChain, chains: Any, tmp_path: Path, slurm_cluster: Any
) -> None:
    tasks = ("a", "-b", "c d/ü", "bad-e")
    here = make_chain({"first": tasks}, folder=tmp_path / "local", profile=ONCE)
    local = records(run_here(here, LocalPool(2)).step("first"))
    chain = make_chain({"first": tasks}, folder=tmp_path / "-a 'run' \"ü\" $HOME", profile=ONCE)
    step = chains.finish(chain).step("first")
    assert states(step) == {"a": "complete", "-b": "complete", "c d/ü": "complete", "bad-e": "failed"}
    for task in tasks:
        ours, theirs = records(step)[task], local[task]
        same = ("state", "attempt", "error", "progress", "log", "exit_status")
        assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
        assert ours == read_record(chain.paths("first"), task)
    assert records(step)["c d/ü"].job == "1_2"
    assert "no luck with bad-e" in (chain.folder / records(step)["bad-e"].log).read_text()

    # What is submitted is names and texts, in folders that are closed to others; nothing is ever answered in pickles.
    submitit = chain.paths("first").submitit
    assert {folder.stat().st_mode & 0o777 for folder in (chain.folder, submitit)} == {0o700}
    pickles = sorted(submitit.glob("*.pkl"))
    assert [path.name for path in pickles] == [f"1_{index}_submitted.pkl" for index in range(4)]
    assert all(path.stat().st_size < 1000 for path in pickles)
    assert globals_of(pickles[0]) == {"submitit.core.utils DelayedSubmission", "fdbpl.slurm.worker run_in_slurm"}


def globals_of(path: Path) -> set[str]:
    """The classes and functions that unpickling would import."""
    texts: list[str] = []
    found = set()
    for opcode, argument, _ in pickletools.genops(path.read_bytes()):
        if isinstance(argument, str):
            texts.append(argument)
        if opcode.name in ("STACK_GLOBAL", "GLOBAL"):
            found.add(" ".join(texts[-2:]))
    return found


def test_a_task_alone_the_environment_and_the_cores(make_chain: MakeChain, chains: Any, slurm_cluster: Any) -> None:
    task = "env-A-OMP_NUM_THREADS-SRUN_CPUS_PER_TASK"
    chain = make_chain(
        {"first": [task]},
        steps={"first": {"resources": Resources(cpus=3, memory_gb=0.1)}},
        environment={"A": "x y'\"$"},
    )
    record = records(chains.finish(chain).step("first"))[task]
    result = record.result or {}
    assert (result["A"], result["OMP_NUM_THREADS"], result["SRUN_CPUS_PER_TASK"]) == ("x y'\"$", "3", "3")
    assert record.job == "1"


def test_tasks_of_one_job_run_one_after_another(make_chain: MakeChain, chains: Any, slurm_cluster: Any) -> None:
    chain = make_chain({"first": ["a", "bad-b", "c", "d", "e"]}, steps={"first": {"per_job": 3}}, profile=ONCE)
    step = chains.finish(chain).step("first")
    assert states(step) == {"a": "complete", "bad-b": "failed", "c": "complete", "d": "complete", "e": "complete"}
    assert [record.job for record in records(step).values()] == ["1_0"] * 3 + ["1_1"] * 2


def test_a_killed_task_and_a_cancelled_one_do_not_disturb_the_others(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, cluster_module: Any
) -> None:
    chain = make_chain({"first": ["slow-a", "slow-cancelled", "slow-killed"]}, profile=ONCE)
    start(chain)
    cluster_module.wait_until(lambda: runs(chain, *chain_tasks(chain)), "three tasks run")
    found = records(first(chain))
    os.kill(found["slow-killed"].pid, signal.SIGKILL)
    slurm_cluster.ask("scancel", found["slow-cancelled"].job or "")
    cluster_module.wait_until(lambda: len([*first(chain).causes.values()]) == 2, "two have ended")
    (chain.folder / "gate").touch()
    step = chains.settled(chain).step("first")
    assert states(step) == {"slow-a": "complete", "slow-cancelled": "stopped", "slow-killed": "failed"}
    assert {cause: [record.task_id for record in found] for cause, found in step.causes.items()} == {
        "cancelled": ["slow-cancelled"],
        "died": ["slow-killed"],
    }
    killed = records(step)["slow-killed"]
    assert killed.error is not None and killed.error.type == "FAILED"
    assert killed.error.message.startswith("Slurm says FAILED (NonZeroExitCode) of job 1_2")
    assert "Killed" in killed.error.traceback
    assert killed == read_record(chain.paths("first"), "slow-killed")
    assert killed.host and killed.started is not None

    step = chains.finish(chain).step("first")
    assert set(states(step).values()) == {"complete"}
    assert {task: record.attempt for task, record in records(step).items()} == {
        "slow-a": 1,
        "slow-cancelled": 2,
        "slow-killed": 2,
    }


def chain_tasks(chain: Chain) -> list[str]:
    return list(read_journal(chain.paths("first")).latest)


def test_a_task_cancelled_in_the_queue_ends(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, cluster_module: Any
) -> None:
    resources = Resources(memory_gb=0.1, max_parallel=1)
    chain = make_chain({"first": ["slow-a", "slow-b"]}, steps={"first": {"resources": resources}}, profile=ONCE)
    start(chain)
    cluster_module.wait_until(lambda: runs(chain, "slow-a") and first(chain).waiting != "", "one runs, one waits")
    assert first(chain).waiting == "JobArrayTaskLimit"
    slurm_cluster.ask("scancel", "1_1")
    (chain.folder / "gate").touch()
    step = chains.settled(chain).step("first")
    assert states(step) == {"slow-a": "complete", "slow-b": "stopped"}
    error = records(step)["slow-b"].error
    assert error is not None and error.type == "CANCELLED"


def test_a_task_that_died_while_slurm_lost_its_memory_is_submitted_again(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, cluster_module: Any
) -> None:
    chain = make_chain({"first": ["slow-a"]})
    start(chain)
    cluster_module.wait_until(lambda: runs(chain, "slow-a"), "the task runs")
    slurm_cluster.kill("slurmctld")
    pid = read_record(chain.paths("first"), "slow-a").pid
    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(slurm_cluster.folder / "state")
    (slurm_cluster.folder / "state").mkdir()
    # As who restores a cluster does: numbers that nodes may still know are not given again.
    with slurm_cluster.config.open("a") as config:
        config.write("FirstJobId=100\n")
    slurm_cluster.start_controller()
    step = chains.settled(chain).step("first")
    assert states(step) == {"slow-a": "failed"}
    error = records(step)["slow-a"].error
    assert error is not None and error.type == "VANISHED"
    assert error.message.startswith("Slurm no longer knows job 1, and the task left no final record; see records/")

    (chain.folder / "gate").touch()
    assert chains.finish(chain).standing == "complete"


def test_a_second_submission_attaches(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, cluster_module: Any
) -> None:
    chain = make_chain({"first": ["slow-a", "slow-b"]}, environment={"RUN": "1"})
    start(chain)
    journal = read_journal(chain.paths("first"))
    assert json.loads(chain.paths("first").jobs.read_text())["submissions"][0]["array"] == "1"

    other = make_chain({"first": ["slow-a", "slow-b"]}, environment={"RUN": "2"})
    with pytest.raises(ValueError, match=r"jobs of another config are at work in .* \(1, 2\)"):
        start(other)

    more = make_chain({"first": ["slow-a", "slow-b", "c"]}, environment={"RUN": "1"})
    placed = start(more)["first"]
    assert (placed.attached, placed.submitted) == (["slow-a", "slow-b"], ["c"])
    assert read_journal(chain.paths("first")).latest["slow-a"] == journal.latest["slow-a"]
    (chain.folder / "gate").touch()
    status = chains.settled(more)
    assert status.standing == "complete"
    assert {task: record.attempt for task, record in records(status.step("first")).items()} == {
        "slow-a": 1,
        "slow-b": 1,
        "c": 1,
    }
    names = slurm_cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%j").split()
    assert names.count(journal.submissions[0].name) == 2
    assert chains.tries(chain) == {"slow-a": 1, "slow-b": 1, "c": 1}


def test_a_job_of_somebody_else_with_a_number_of_ours_is_not_attached_to(
    make_chain: MakeChain, chains: Any, make_slurm_cluster: Any
) -> None:
    make_slurm_cluster()
    chain = make_chain({"first": ["a", "bad-b"]}, profile=ONCE)
    assert chains.finish(chain).standing == "failed"
    other = make_slurm_cluster()
    other.ask("sbatch", "--output=/dev/null", "--mem=100", "--array=0-1", "--wrap=sleep 600")
    (chain.folder / "mended").touch()
    status = chains.finish(chain)
    assert status.standing == "complete"
    assert chains.tries(chain) == {"a": 1, "bad-b": 2}


def test_a_requeued_task_is_waited_for(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, cluster_module: Any
) -> None:
    chain = make_chain({"first": ["slow-a"]})
    start(chain)
    cluster_module.wait_until(lambda: runs(chain, "slow-a"), "the task runs")
    slurm_cluster.ask("scontrol", "requeue", "1")
    cluster_module.wait_until(lambda: first(chain).tasks["slow-a"].record.state == "pending", "the job waits again")
    (chain.folder / "gate").touch()
    step = chains.settled(chain).step("first")
    record = records(step)["slow-a"]
    assert (record.state, record.attempt, record.job) == ("complete", 2, "1")
    assert len(read_journal(chain.paths("first")).submissions) == 1


def test_a_silent_controller_is_waited_for_while_records_come_and_given_up_in_the_end(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain({"first": ["slow-a"]})
    start(chain)
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    seen = []

    def fall_silent(status: StageStatus) -> None:
        """From now on squeue fails as it does when the controller is away, without the wait."""
        seen.append(status.complete)
        if status.progress.total and not squeue.exists():
            squeue.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
            squeue.chmod(0o755)
            (chain.folder / "gate").touch()

    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        chains.settled(chain, on_update=fall_silent, silence_seconds=2)
    assert seen[-1] == 1
    squeue.unlink()
    assert chains.settled(chain).standing == "complete"


def test_what_slurm_refuses_is_an_error(make_chain: MakeChain, slurm_cluster: Any) -> None:
    tasks = {"first": ["a", "b"]}
    refused = r"sbatch refused 2 jobs of stage first.*[Ii]nvalid partition"
    with pytest.raises(SlurmError, match=refused):
        start(make_chain(tasks, profile={"partition": "nowhere"}))
    with pytest.raises(SlurmError, match=r"sbatch refused 2 jobs of stage first.*unrecognized option '--colour"):
        start(make_chain(tasks, profile={"extra": {"colour": "red"}}))
    chain = make_chain(tasks)
    assert read_journal(chain.paths("first")).submissions == ()
    assert sorted(path.name for path in chain.paths("first").submitit.iterdir()) == []
    assert slurm_cluster.ask("squeue", "-h", "-t", "all") == ""
