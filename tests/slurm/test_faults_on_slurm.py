"""What goes wrong on clusters, on a real one: each time the chain finishes by itself."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.records import TaskRecord, read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.start import start

pytestmark = pytest.mark.slurm

MakeChain = Callable[..., Chain]
# A node that does not answer is given up after so long.
SHORT_SIGHTED = {"SlurmdTimeout": "5"}
MEMORY_WATCH = {"JobAcctGatherParams": "OverMemoryKill", "JobAcctGatherFrequency": "task=1"}
PREEMPTION = {"PreemptType": "preempt/partition_prio", "PreemptMode": "REQUEUE"}
PARTITIONS = (
    "low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE",
    "high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF",
)
SMALL = Resources(memory_gb=0.2)
HUNGRY = {"retry": {"memory_factor": 4}}


class Faults:
    """Harms that a test does to a cluster and to the tasks of a chain."""

    def __init__(self, cluster: Any, wait_until: Callable[..., None]) -> None:
        self.cluster, self.wait_until = cluster, wait_until

    def running(self, chain: Chain, *tasks: str, attempt: int = 1) -> list[TaskRecord]:
        """The records of tasks of the first step, once all of them are within their function."""

        def found() -> list[TaskRecord]:
            return [read_record(chain.paths("first"), task) for task in tasks]

        def run() -> bool:
            return all(
                one.state == "running" and one.attempt >= attempt and one.progress is not None for one in found()
            )

        self.wait_until(run, f"{', '.join(tasks)} run", 60)
        return found()

    def kill(self, *records: TaskRecord) -> None:
        for record in records:
            os.kill(record.pid, signal.SIGKILL)

    def requeue(self, record: TaskRecord) -> None:
        self.cluster.ask("scontrol", "requeue", record.job or "")

    def kill_node_of(self, record: TaskRecord) -> str:
        node: str = self.cluster.node_of(record.job)
        self.cluster.kill_node(node)
        return node

    def preempt(self) -> None:
        """All nodes are taken by a job of a partition that goes before."""
        script = "--wrap=sleep 1"
        size = ["--nodes", str(len(self.cluster.nodes)), "--exclusive", "--mem=100"]
        self.cluster.ask("sbatch", "--partition=high", "--output=/dev/null", *size, script)

    def restart_controller(self, while_away: Callable[[], None]) -> None:
        """The controller dies, once it has written down (every 5 s) the jobs that there are."""
        time.sleep(6)
        self.cluster.kill("slurmctld")
        while_away()
        self.cluster.start_controller()


@pytest.fixture
def faults_of(cluster_module: Any) -> Callable[[Any], Faults]:
    return lambda cluster: Faults(cluster, cluster_module.wait_until)


def rounds(chain: Chain, step: str = "first") -> list[int]:
    return [submission.round for submission in read_journal(chain.paths(step)).submissions]


def results(chain: Chain, step: str) -> set[str]:
    return {path.name for path in (chain.folder / "results" / step).iterdir()}


@pytest.mark.slow
def test_deaths_of_tasks_each_kind_in_a_chain_of_its_own(
    make_chain: MakeChain, chains: Any, make_slurm_cluster: Any, faults_of: Any, tmp_path: Path
) -> None:
    faults = faults_of(make_slurm_cluster(settings={**MEMORY_WATCH, "OverTimeLimit": "0"}))
    resources = {"limited": Resources(memory_gb=0.1, minutes=1)}
    plans = {
        "limited": ["spent-a", "over-b", "c"],
        "killed": ["slow-a", "slow-b", "slow-c"],
        "requeued": ["slow-a"],
        "hungry": ["hungry-a", "b"],
    }
    made = {}
    for name, tasks in plans.items():
        steps = {"first": {"resources": resources.get(name, SMALL)}}
        plan = {"first": tasks, "second": ["z"]}
        made[name] = make_chain(plan, folder=tmp_path / name, steps=steps, profile=HUNGRY)
        start(made[name])
    faults.kill(*faults.running(made["killed"], "slow-a", "slow-b"))
    faults.requeue(*faults.running(made["requeued"], "slow-a"))
    faults.running(made["requeued"], "slow-a", attempt=2)
    for chain in made.values():
        (chain.folder / "gate").touch()
    for name, chain in made.items():
        assert chains.settled(chain, timeout_seconds=240).standing == "complete"
        assert (results(chain, "first"), results(chain, "second")) == (set(plans[name]), {"z"})
    assert chains.tries(made["killed"]) == {"slow-a": 2, "slow-b": 2, "slow-c": 1, "z": 1}
    assert rounds(made["killed"]) == [1, 2]
    assert chains.tries(made["requeued"]) == {"slow-a": 2, "z": 1}
    assert rounds(made["requeued"]) == [1]
    assert chains.tries(made["hungry"]) == {"hungry-a": 2, "b": 1, "z": 1}
    again = read_journal(made["hungry"].paths("first")).submissions[1]
    assert (again.round, again.bundles, again.resources.memory_gb) == (2, (("hungry-a",),), 0.8)
    # At the time limit: the task that listened has put itself back into the queue.
    assert chains.tries(made["limited"]) == {"spent-a": 2, "over-b": 2, "c": 1, "z": 1}
    (late,) = read_journal(made["limited"].paths("first")).submissions[1:]
    assert (late.bundles, late.resources.minutes, late.reasons["over-b"][0]) == ((("over-b",),), 2, "TIMEOUT")


def test_a_node_dies(
    make_chain: MakeChain, chains: Any, make_slurm_cluster: Any, faults_of: Any, tmp_path: Path
) -> None:
    cluster = make_slurm_cluster(nodes=2, settings=SHORT_SIGHTED)
    faults = faults_of(cluster)
    plan = {"first": ["slow-a"], "second": ["b"]}
    requeued = make_chain(plan, folder=tmp_path / "requeued")
    given_back = make_chain(
        plan, folder=tmp_path / "given back", profile={"steps": {"first": {"extra": {"no-requeue": True}}}}
    )
    for chain in (requeued, given_back):
        start(chain)
    records = [faults.running(chain, "slow-a")[0] for chain in (requeued, given_back)]
    (node,) = {cluster.node_of(record.job) for record in records}
    cluster.kill_node(node)
    for chain in (requeued, given_back):
        (chain.folder / "gate").touch()
    for chain in (requeued, given_back):
        assert chains.settled(chain).standing == "complete"
        assert chains.tries(chain) == {"slow-a": 2, "b": 1}
    assert rounds(requeued) == [1]
    # Slurm's name of the node, whatever the machine calls itself.
    submissions = read_journal(given_back.paths("first")).submissions
    assert [(one.round, one.excluded) for one in submissions] == [(1, ()), (2, (node,))]
    assert "NODE_FAIL" in submissions[1].reasons["slow-a"]


def test_the_controller_is_away_while_a_check_wants_to_submit(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, faults_of: Any
) -> None:
    faults = faults_of(slurm_cluster)
    chain = make_chain({"first": ["a", "once-b"], "second": ["c"]})
    hold = chain.folder / "hold-check-first"
    start(chain)
    hold.touch()
    check = chain.paths("first.check").record("first@1")
    faults.wait_until(check.exists, "the check runs", 60)

    def let_it_try() -> None:
        hold.unlink()
        log = chain.paths("first.check").log("first@1", 1)
        faults.wait_until(lambda: "Slurm does not answer, trying again" in log.read_text(), "the check is refused", 60)

    faults.restart_controller(let_it_try)
    assert chains.settled(chain, silence_seconds=60).standing == "complete"
    assert chains.tries(chain) == {"a": 1, "once-b": 2, "c": 1}
    assert rounds(chain) == [1, 2]
    assert len(read_journal(chain.paths("first.check")).submissions) == 2


def test_a_job_that_goes_before_takes_the_nodes(
    make_chain: MakeChain, chains: Any, make_slurm_cluster: Any, faults_of: Any
) -> None:
    faults = faults_of(make_slurm_cluster(nodes=1, partitions=PARTITIONS, settings=PREEMPTION))
    chain = make_chain({"first": ["slow-a", "slow-b"], "second": ["c"]})
    start(chain)
    faults.running(chain, "slow-a", "slow-b")
    faults.preempt()
    faults.running(chain, "slow-a", "slow-b", attempt=2)
    (chain.folder / "gate").touch()
    assert chains.settled(chain).standing == "complete"
    assert chains.tries(chain) == {"slow-a": 2, "slow-b": 2, "c": 1}
    assert rounds(chain) == [1]


def test_all_faults_together(
    make_chain: MakeChain, chains: Any, make_slurm_cluster: Any, faults_of: Any, tell: Callable[[str], None]
) -> None:
    settings = {**SHORT_SIGHTED, **MEMORY_WATCH, **PREEMPTION}
    cluster = make_slurm_cluster(nodes=3, cpus=4, partitions=PARTITIONS, settings=settings)
    faults = faults_of(cluster)
    slow = [f"slow-{index}" for index in range(6)]
    tasks = {"first": [*slow, "once-a", "flaky-b", "hungry-c"], "second": ["once-d", "e"], "third": ["f"]}
    steps = {name: {"resources": SMALL} for name in tasks}
    chain = make_chain(tasks, steps=steps, profile=HUNGRY)
    began = time.monotonic()
    start(chain)

    def harm() -> None:
        records = faults.running(chain, *slow)
        faults.kill(*records[:2])
        faults.requeue(records[2])
        node = faults.kill_node_of(records[5])
        faults.running(chain, slow[2], attempt=2)
        faults.preempt()
        faults.restart_controller(lambda: time.sleep(2))
        cluster.start_node(node)
        (chain.folder / "gate").touch()

    harming = threading.Thread(target=harm)
    harming.start()
    status = chains.settled(chain, timeout_seconds=180, silence_seconds=60)
    harming.join()
    assert status.standing == "complete"
    assert {step: results(chain, step) for step in tasks} == {step: set(ids) for step, ids in tasks.items()}
    assert all(record.state == "complete" for step in status.steps for record in step.stage_status.records.values())
    assert min(chains.tries(chain)[task] for task in (*slow[:3], "once-a", "flaky-b", "hungry-c", "once-d")) >= 2
    tell(
        f"all faults together: {sum(chains.tries(chain).values())} starts of 12 tasks, {time.monotonic() - began:.0f} s"
    )


def test_a_chain_with_accounting(make_chain: MakeChain, chains: Any, make_slurm_cluster: Any) -> None:
    cluster = make_slurm_cluster(with_accounting=True)
    chain = make_chain({"first": ["a", "once-b"], "second": ["c"]})
    assert chains.finish(chain).standing == "complete"
    assert chains.tries(chain) == {"a": 1, "once-b": 2, "c": 1}
    states = cluster.ask("sacct", "-nPX", "-o", "State").split()
    assert states.count("FAILED") == 1
    assert states.count("COMPLETED") >= 4


def test_tasks_have_gpus_of_their_own(make_chain: MakeChain, chains: Any, make_slurm_cluster: Any) -> None:
    make_slurm_cluster(nodes=1, gpus=2)
    tasks = [f"near-{index}" for index in range(4)]
    resources = Resources(memory_gb=0.1, gpus=1)
    chain = make_chain({"first": tasks}, steps={"first": {"resources": resources}})
    (chain.folder / "company").write_text("2")
    step = chains.finish(chain).step("first")
    assert step.standing == "complete"
    found = [seen.record.result or {} for seen in step.tasks.values()]
    assert max(result["most"] for result in found) == 2
    assert {result["gpus"] for result in found} == {"0", "1"}
    assert {(chain.folder / "clash").exists()} == {False}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="plain-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as a plain user: all of them show that it works")
def test_a_chain_of_a_plain_user(
    make_chain: MakeChain, make_slurm_cluster: Any, open_folder: Path, samples: Path
) -> None:
    user = 65534
    for name in ("slurm", "run"):
        (open_folder / name).mkdir(mode=0o700)
    chain = make_chain({"first": ["a", "once-b"], "second": ["c"]}, folder=open_folder / "run")
    (chain.folder / "records").mkdir()
    chain.save()
    for path in (open_folder, *open_folder.rglob("*")):
        os.chown(path, user, user)
    cluster = make_slurm_cluster(folder=open_folder / "slurm", user=user)
    script = [*cluster.prefix, sys.executable, str(samples / "submit_chain.py"), str(chain.folder)]
    environment = {**cluster.environment, "PYTHONPATH": chain.environment["PYTHONPATH"], "HOME": str(open_folder)}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "complete\n"
    assert {path.stat().st_uid for path in chain.folder.rglob("*")} == {user}
    assert len(list((chain.folder / "tries").iterdir())) == 4
