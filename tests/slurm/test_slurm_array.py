import json
import os
import pickletools
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.errors import SlurmError
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.records import read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.slurm_array import SlurmArray
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus
from fdbpl.slurm.submission import read_jobs

pytestmark = pytest.mark.slurm

MakeStage = Callable[..., Stage]
SMALL = Resources(memory_gb=0.1)


def array(**options: Any) -> SlurmArray:
    return SlurmArray(**{"squeue_seconds": 0.1, "settle_seconds": 0.2, **options})


def states(status: StageStatus) -> dict[str, str]:
    return {task_id: record.state for task_id, record in status.records.items()}


def run(stage: Stage, on_update: Callable[[StageStatus], None] | None = None, **options: Any) -> StageStatus:
    return array(**options).run(stage, on_update=on_update, poll_seconds=0.05)


def test_an_array_leaves_the_same_records_as_the_local_pool(
    make_stage: MakeStage, tmp_path: Path, slurm_cluster: Any
) -> None:
    task_ids = ("a", "-b", "c d/ü", "bad")
    local = LocalPool(2).run(make_stage("fail_if_bad", *task_ids, folder=tmp_path / "local"))
    stage = make_stage("fail_if_bad", *task_ids, folder=tmp_path / "-a 'run' \"ü\" $HOME", resources=SMALL)
    status = run(stage)
    assert states(status) == {"a": "complete", "-b": "complete", "c d/ü": "complete", "bad": "failed"}
    for task_id in task_ids:
        ours, theirs = status.records[task_id], local.records[task_id]
        same = ("state", "attempt", "result", "error", "progress", "log", "exit_status")
        assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
        assert ours == read_record(stage.paths, task_id)
    assert status.records["c d/ü"].job == "1_2"
    assert "no luck with bad" in (stage.folder / status.records["bad"].log).read_text()

    # What is submitted is names and texts, in folders that are closed to others; nothing is ever answered in pickles.
    assert stage.folder.stat().st_mode & 0o777 == 0o700
    assert stage.paths.submitit.stat().st_mode & 0o777 == 0o700
    pickles = sorted(stage.paths.submitit.glob("*.pkl"))
    assert [path.name for path in pickles] == [f"1_{index}_submitted.pkl" for index in range(4)]
    assert all(path.stat().st_size < 1000 for path in pickles)
    imported = {argument for _, argument in globals_of(pickles[0])}
    assert imported == {"submitit.core.utils DelayedSubmission", "fdbpl.slurm.worker run_in_slurm"}


def globals_of(path: Path) -> list[tuple[str, str]]:
    """The classes and functions that unpickling would import."""
    texts: list[str] = []
    found = []
    for opcode, argument, _ in pickletools.genops(path.read_bytes()):
        if isinstance(argument, str):
            texts.append(argument)
        if opcode.name in ("STACK_GLOBAL", "GLOBAL"):
            found.append((opcode.name, " ".join(texts[-2:])))
    return found


def test_a_task_alone_the_environment_and_the_cores(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("environment", "A", resources=Resources(cpus=3, memory_gb=0.1), environment={"A": "x y'\"$"})
    status = run(stage)
    assert (status.records["A"].result or {})["value"] == "x y'\"$"
    assert status.records["A"].job == "1"
    script = (stage.paths.submitit / "1_submission.sh").read_text()
    assert "export OMP_NUM_THREADS=3" in script
    assert "export SRUN_CPUS_PER_TASK=3" in script


def test_a_killed_task_and_a_cancelled_one_do_not_disturb_the_others(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("wait_for_gate", "a", "cancelled", "killed", resources=SMALL)
    done: set[str] = set()

    def harm(status: StageStatus) -> None:
        if status.progress.total == 12 and not done:
            done.add("harm")
            os.kill(status.records["killed"].pid, signal.SIGKILL)
            slurm_cluster.ask("scancel", status.records["cancelled"].job or "")
        if status.failed and status.stopped:
            (stage.folder / "gate").touch()

    status = run(stage, harm)
    assert states(status) == {"a": "complete", "cancelled": "stopped", "killed": "failed"}
    stopped, killed = status.records["cancelled"], status.records["killed"]
    assert stopped.error is not None and stopped.error.type == "Stopped"
    assert killed.error is not None and killed.error.type == "FAILED"
    assert killed.error.message.startswith("Slurm says FAILED (NonZeroExitCode) of job 1_2")
    assert "Killed" in killed.error.traceback
    assert killed == read_record(stage.paths, "killed")
    assert killed.host and killed.started is not None

    status = run(make_stage("wait_for_gate", "cancelled", "killed", resources=SMALL))
    assert states(status) == {"cancelled": "complete", "killed": "complete"}
    assert {record.attempt for record in status.records.values()} == {2}


def test_a_task_cancelled_in_the_queue_ends(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("wait_for_gate", "a", "b", resources=Resources(memory_gb=0.1, max_parallel=1))
    done: set[str] = set()

    def cancel_b(status: StageStatus) -> None:
        if status.records["a"].progress is not None and status.waiting and not done:
            assert status.waiting == "JobArrayTaskLimit"
            done.add("b")
            slurm_cluster.ask("scancel", "1_1")
        if status.stopped:
            (stage.folder / "gate").touch()

    status = run(stage, cancel_b)
    assert states(status) == {"a": "complete", "b": "stopped"}
    error = status.records["b"].error
    assert error is not None and error.type == "CANCELLED"


def test_a_task_that_died_while_slurm_lost_its_memory_ends(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("wait_for_gate", "a", resources=SMALL)
    done: set[str] = set()

    def forget(status: StageStatus) -> None:
        if status.progress.total and not done:
            done.add("forgotten")
            slurm_cluster.kill("slurmctld")
            os.kill(status.records["a"].pid, signal.SIGKILL)
            shutil.rmtree(slurm_cluster.folder / "state")
            (slurm_cluster.folder / "state").mkdir()
            slurm_cluster.start_controller()

    status = run(stage, forget)
    assert states(status) == {"a": "failed"}
    error = status.records["a"].error
    assert error is not None and error.type == "VANISHED"
    assert error.message.startswith("Slurm no longer knows job 1, and the task left no final record; see records/")


def test_a_second_run_attaches(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("wait_for_gate", "a", "b", resources=SMALL)
    with pytest.raises(KeyboardInterrupt):
        run(stage, interrupt_when_begun)
    first = read_jobs(stage.paths)
    assert json.loads(stage.paths.jobs.read_text())["tasks"]["a"]["job"] == "1_0"

    other = make_stage("echo", "a", resources=SMALL)
    with pytest.raises(ValueError, match=r"sample_tasks:wait_for_gate are still queued or running.*scancel 1$"):
        run(other)

    def open_gate(status: StageStatus) -> None:
        assert read_jobs(stage.paths)["a"] == first["a"]
        (stage.folder / "gate").touch()

    more = make_stage("wait_for_gate", "a", "b", "c", resources=SMALL)
    status = run(more, open_gate)
    assert {task_id: (record.state, record.attempt) for task_id, record in status.records.items()} == {
        "a": ("complete", 1),
        "b": ("complete", 1),
        "c": ("complete", 1),
    }
    assert [record.job for record in status.records.values()][:2] == ["1_0", "1_1"]
    assert slurm_cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%j").split().count(first["a"].name) == 2


def test_a_job_of_somebody_else_with_a_number_of_ours_is_not_attached_to(
    make_stage: MakeStage, slurm_cluster: Any
) -> None:
    slurm_cluster.ask("sbatch", "--output=/dev/null", "--mem=100", "--wrap=sleep 600")
    stage = make_stage("echo", "a", resources=SMALL)
    stage.paths.records.mkdir(parents=True)
    job = {"job": "1", "name": "sample-of-old", "function": stage.function, "attempts_before": 0}
    stage.paths.jobs.write_text(json.dumps({"format": 1, "tasks": {"a": job}}))
    status = run(stage)
    assert (states(status), status.records["a"].job) == ({"a": "complete"}, "2")


def interrupt_when_begun(status: StageStatus) -> None:
    if status.progress.total == 8:
        raise KeyboardInterrupt


def test_a_requeued_task_is_waited_for(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("wait_for_gate", "a", resources=SMALL)
    done: set[str] = set()

    def requeue(status: StageStatus) -> None:
        record = status.records["a"]
        if record.progress is not None and record.attempt == 1 and not done:
            done.add("requeue")
            slurm_cluster.ask("scontrol", "requeue", record.job or "")
            (stage.folder / "gate").unlink(missing_ok=True)
        if record.attempt == 2:
            (stage.folder / "gate").touch()

    status = run(stage, requeue)
    assert (states(status), status.records["a"].attempt) == ({"a": "complete"}, 2)


def test_arrays_longer_than_the_cluster_takes_are_split(make_stage: MakeStage, make_slurm_cluster: Any) -> None:
    make_slurm_cluster(settings={"MaxArraySize": "5"})
    resources = Resources(memory_gb=0.1, max_parallel=2)
    stage = make_stage("count_neighbours", *(f"t{index:02}" for index in range(12)), resources=resources)
    status = run(stage)
    assert status.is_complete
    arrays, indices = zip(*((record.job or "").split("_") for record in status.records.values()), strict=True)
    assert indices == ("0", "1", "2", "3") * 3
    assert len(set(arrays)) == 3
    assert arrays == tuple(array for array in arrays[::4] for _ in range(4))
    assert max((record.result or {})["most"] for record in status.records.values()) == 2


@pytest.fixture
def silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, squeue fails as it does when the controller is away, without the wait."""
    (tmp_path / "bin").mkdir()
    squeue = tmp_path / "bin" / "squeue"
    squeue.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    squeue.chmod(0o755)
    return lambda: monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")


def test_a_silent_controller_is_waited_for_while_records_come(
    make_stage: MakeStage, slurm_cluster: Any, silence: Callable[[], None]
) -> None:
    stage = make_stage("wait_for_gate", "a", resources=SMALL)

    def fall_silent(status: StageStatus) -> None:
        if status.progress.total:
            silence()
            (stage.folder / "gate").touch()

    assert run(stage, fall_silent).is_complete


def test_a_controller_that_stays_silent_is_given_up(
    make_stage: MakeStage, slurm_cluster: Any, silence: Callable[[], None]
) -> None:
    stage = make_stage("wait_for_gate", "a", resources=SMALL)

    def fall_silent(status: StageStatus) -> None:
        if status.progress.total:
            silence()

    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        run(stage, fall_silent, silence_seconds=0.2)


def test_what_slurm_refuses_is_an_error(make_stage: MakeStage, slurm_cluster: Any) -> None:
    stage = make_stage("echo", "a", "b", resources=SMALL)
    with pytest.raises(SlurmError, match=r"sbatch refused 2 tasks of stage sample.*[Ii]nvalid partition"):
        run(stage, parameters={"slurm_partition": "nowhere"})
    with pytest.raises(ValueError, match="Unknown argument 'colour'"):
        run(stage, parameters={"slurm_colour": "red"})
    assert read_jobs(stage.paths) == {}
    listed = subprocess.run(["squeue", "-h", "-t", "all"], capture_output=True, text=True, check=True)
    assert listed.stdout == ""
