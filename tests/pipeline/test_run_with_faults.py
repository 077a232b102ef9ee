"""A whole run on a real cluster that misbehaves: it finishes by itself, and its store is as if nothing had happened."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config_file import read_config
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import TaskRecord, read_record

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
PARTITIONS = (
    "low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE",
    "high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF",
)
SETTINGS = {
    "SlurmdTimeout": "5",
    "OverTimeLimit": "0",
    "PreemptType": "preempt/partition_prio",
    "PreemptMode": "REQUEUE",
}


class Teacher:
    """The teacher tasks of a run, as they run."""

    def __init__(self, folder: Path, num_blocks: int) -> None:
        self._paths = StagePaths(folder=folder, stage="teach")
        self._tasks = [f"{image}.{seed}" for image in range(num_blocks // 2) for seed in range(2)]
        self._taken: set[str] = set()

    def take(self, count: int, timeout_seconds: float = 90.0) -> list[TaskRecord]:
        """Tasks that run now and were not taken before, held still so that they cannot end meanwhile."""
        taken: list[TaskRecord] = []
        deadline = time.monotonic() + timeout_seconds
        while len(taken) < count:
            assert time.monotonic() < deadline, f"only {len(taken)} of {count} tasks began"
            for record in (read_record(self._paths, task) for task in self._tasks):
                if record.state == "running" and record.task_id not in self._taken and len(taken) < count:
                    os.kill(record.pid, signal.SIGSTOP)
                    self._taken.add(record.task_id)
                    taken.append(record)
            time.sleep(0.01)
        return taken


def test_faults_leave_the_same_store(
    make_slurm_cluster: Callable[..., Any],
    cluster_module: Any,
    run: Any,
    write_config: Any,
    two_stages: Any,
    on_slurm: Any,
    finished: Any,
    digests: Any,
    tmp_path: Path,
    tell: Callable[[str], None],
) -> None:
    cluster = make_slurm_cluster(nodes=3, partitions=PARTITIONS, settings=SETTINGS)
    path = write_config(student=two_stages, **on_slurm(minutes=1, max_workers=6))
    assert run("submit", path.name, "--cluster", "slurm").returncode == 0
    teacher = Teacher(tmp_path / "run", num_blocks=12)

    killed = teacher.take(2)
    for record in killed:
        os.kill(record.pid, signal.SIGKILL)
    (over_time,) = teacher.take(1)  # held until its time is over
    (requeued,) = teacher.take(1)
    cluster.ask("scontrol", "requeue", requeued.job)
    os.kill(requeued.pid, signal.SIGCONT)
    (orphan,) = teacher.take(1)
    cluster.kill_node(cluster.node_of(orphan.job))
    time.sleep(6)  # a controller that has not saved its state for so long gives job numbers twice, and drains nodes
    cluster.kill("slurmctld")
    time.sleep(2)
    cluster.start_controller()
    goes_before = ["--partition=high", "--nodes=2", "--exclusive", "--mem=100", "--job-name=other"]
    cluster.ask("sbatch", "--output=/dev/null", *goes_before, "--wrap=sleep 1")

    status = finished()
    assert status["standing"] == "complete", run("logs", path.name, "--failed").stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (len(results["students"]), results["unfinished"]) == (6, [])
    attempts = json.loads((tmp_path / "run" / "provenance.json").read_text())["steps"]["teach"]["attempts"]
    assert attempts >= 12 + len(killed) + len([over_time, requeued, orphan])
    ours = "nothing of the run is left in the queue"
    cluster_module.wait_until(lambda: set(cluster.ask("squeue", "-h", "-o", "%j").split()) <= {"other"}, ours)

    calm = read_config(path, (f"folder={tmp_path}/calm", "cluster.kind=local", "cluster.max_workers=2"))
    with Workflow(calm, Ui(quiet=True), command="fdbpl teach") as workflow:
        workflow.teach()
        workflow.features()
    assert digests(tmp_path / "run" / "store.zarr") == digests(tmp_path / "calm" / "store.zarr")
    tell(
        f"faults in one run: 2 kills, 1 time limit, 1 requeue, 1 node, 1 controller, 1 preemption; {attempts} attempts"
    )
