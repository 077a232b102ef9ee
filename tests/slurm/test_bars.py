"""Sizes and speeds that hold for runs of thousands of tasks. Where no cluster is needed, small programs stand in."""

import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from submitit.core.utils import DelayedSubmission

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import chain_status
from fdbpl.slurm.journal import Journal, Submission, read_journal, write_journal
from fdbpl.slurm.json_files import write_json
from fdbpl.slurm.records import Progress, State, TaskError, TaskRecord
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.start import cancel_run, start
from fdbpl.slurm.submission import prepare_folders

MakeChain = Callable[..., Chain]


class StandIns:
    """Programs on PATH that stand for Slurm's: they note their calls, and answer what they were told to.

    Attributes:
        calls: a line for each call, the program's name first.
        scripts: what sbatch was given, NUMBER.sh; the job's id is NUMBER.
        answer: a file with what squeue says.
    """

    def __init__(self, folder: Path, longest_array: int) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.calls, self.scripts, self.answer = folder / "calls", folder / "scripts", folder / "squeue.txt"
        self.scripts.mkdir()
        self.answer.touch()
        count = f"n=$(($(ls {self.scripts} | wc -l) + 1))"
        self._make("sbatch", f'{count}; cp "$1" {self.scripts}/$n.sh; echo "Submitted batch job $n"')
        self._make(
            "scontrol", f'echo "Configuration data as of today"; echo "MaxArraySize            = {longest_array}"'
        )
        self._make("squeue", f"cat {self.answer}")
        for name in ("scancel", "srun", "sacct", "sacctmgr"):
            self._make(name, "exit 1")

    def _make(self, name: str, text: str) -> None:
        program = self.programs / name
        program.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "{name} $*" >> {self.calls}\n{text}\n')
        program.chmod(0o755)

    @property
    def called(self) -> Counter[str]:
        return Counter(line.split()[0] for line in self.calls.read_text().splitlines())


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    made = StandIns(tmp_path, 1001)
    monkeypatch.setenv("PATH", str(made.programs))
    return made


@pytest.mark.slurm
def test_an_array_longer_than_the_cluster_takes_runs_whole(
    make_chain: MakeChain, chains: Any, make_slurm_cluster: Any
) -> None:
    make_slurm_cluster(settings={"MaxArraySize": "25"})
    tasks = [f"near-{index:02}" for index in range(60)]
    resources = Resources(memory_gb=0.1, max_parallel=4)
    chain = make_chain({"first": tasks}, steps={"first": {"resources": resources}})
    (chain.folder / "company").write_text("4")
    step = chains.finish(chain).step("first")
    assert (step.standing, step.counts["complete"]) == ("complete", 60)
    assert chains.tries(chain) == dict.fromkeys(tasks, 1)
    indices = [int((seen.record.job or "").partition("_")[2]) for seen in step.tasks.values()]
    assert sorted(indices) == sorted([*range(20)] * 3)
    assert max((seen.record.result or {})["most"] for seen in step.tasks.values()) == 4


def test_2500_tasks_become_three_arrays(make_chain: MakeChain, stand_ins: StandIns) -> None:
    tasks = [f"t{index}" for index in range(2500)]
    resources = Resources(memory_gb=0.1, max_parallel=100)
    chain = make_chain({"first": tasks}, steps={"first": {"resources": resources}})
    assert start(chain)["first"].submitted == tasks
    scripts = [path.read_text() for path in sorted(stand_ins.scripts.iterdir())]
    arrays = [re.search(r"^#SBATCH --array=0-(\d+)%(\d+)$", script, re.MULTILINE) for script in scripts]
    found = [(int(array[1]), int(array[2])) for array in arrays if array is not None]
    assert len(found) == 3
    assert sum(last + 1 for last, _ in found) == 2500
    assert max(last for last, _ in found) < 1001
    assert sum(parallel for _, parallel in found) == 100
    assert len(scripts) == 4 and "--dependency=afterany:1:2:3" in scripts[3]

    # Which task a job runs is in the pickle of its number.
    ran = []
    for job, (last, _) in enumerate(found, 1):
        for index in range(last + 1):
            pickle = chain.paths("first").submitit / f"{job}_{index}_submitted.pkl"
            _, _, _, bundle, _ = DelayedSubmission.load(pickle).args
            ran += bundle
    assert ran == tasks
    journal = read_journal(chain.paths("first"))
    assert [one.jobs[bundle[0]] for one in journal.submissions for bundle in one.bundles[:1]] == ["1_0", "2_0", "3_0"]

    # As the queue is then told, all of them wait: nothing is submitted again.
    lines = [
        f"{job}|PENDING|JobArrayTaskLimit||{submission.name}\n"
        for stage in ("first", "first.check")
        for submission in read_journal(chain.paths(stage)).submissions
        for job in submission.jobs.values()
    ]
    stand_ins.answer.write_text("".join(lines))
    assert len(lines) == 2501
    placed = start(chain)["first"]
    assert (placed.attached, placed.submitted) == (tasks, [])
    assert stand_ins.called["sbatch"] == 4


def test_submitting_500_tasks_of_a_large_config_writes_little(
    make_chain: MakeChain, stand_ins: StandIns, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("#" * 100_000)
    chain = make_chain({"first": [f"t{index}" for index in range(500)]}, environment={"CONFIG": str(config)})
    start(chain)
    files = [path.stat() for path in chain.folder.rglob("*") if path.is_file()]
    assert len(files) > 500
    assert sum(file.st_size for file in files) < 1_000_000
    assert sum(512 * file.st_blocks for file in files) < 5_000_000


@pytest.mark.slurm
def test_a_run_is_ended_within_seconds(
    make_chain: MakeChain, make_slurm_cluster: Any, cluster_module: Any, tell: Callable[[str], None]
) -> None:
    # Slurm itself would give tasks that do not listen half a minute.
    cluster = make_slurm_cluster(settings={"KillWait": "30"})
    tasks = {"first": ["slow-a", "deaf-b", "slow-c", "slow-d"], "second": ["e"], "third": ["f"]}
    resources = Resources(memory_gb=0.1, max_parallel=3)
    chain = make_chain(tasks, steps={"first": {"resources": resources}})
    start(chain)
    cluster_module.wait_until(lambda: chain_status(chain).step("first").stage_status.running == 3, "three tasks run")
    cluster_module.wait_until(lambda: (chain.folder / "child").exists(), "the child of the task that does not listen")
    began = time.monotonic()
    assert set(cancel_run(chain.folder)) == {"1", "2", "3", "4", "5", "6"}
    took = time.monotonic() - began
    tell(f"cancel_run: {took:.1f} s with a task that ignores TERM")
    assert took < 12  # 5 s where the machine has nothing else to do
    assert cluster.ask("squeue", "-h") == ""
    child = (chain.folder / "child").read_text()
    cluster_module.wait_until(lambda: has_ended(child) and cluster.processes() == [], "no process of a job is left", 5)
    step = chain_status(chain).step("first")
    assert (step.standing, {seen.record.state for seen in step.tasks.values()}) == ("stopped", {"stopped"})
    assert [*step.causes] == ["cancelled"]
    left = [path.name for path in chain.folder.rglob("*") if path.name.startswith(".") or "tmp" in path.suffix]
    assert left == []
    assert all(path.name.endswith("_submitted.pkl") for path in chain.folder.rglob("*.pkl"))


@pytest.mark.slurm
def test_a_run_is_ended_while_a_check_decides(
    make_chain: MakeChain, chains: Any, slurm_cluster: Any, cluster_module: Any
) -> None:
    chain = make_chain({"first": ["bad-a"], "second": ["b"]})
    start(chain)
    hold = chain.folder / "hold-check-first"
    hold.touch()
    cluster_module.wait_until((chain.folder / "held-first").exists, "the check runs, and has the lock")
    assert set(cancel_run(chain.folder)) == {"2", "3", "4"}
    hold.unlink()
    assert slurm_cluster.ask("squeue", "-h") == ""
    assert chain_status(chain).standing == "failed"
    assert chains.tries(chain) == {"bad-a": 1}
    (chain.folder / "mended").touch()
    assert chains.finish(chain).standing == "complete"


def has_ended(pid: str) -> bool:
    """Whether a process is gone, or a zombie that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_status_of_5000_tasks_is_quick_and_asks_no_accounting(
    make_chain: MakeChain, stand_ins: StandIns, tell: Callable[[str], None]
) -> None:
    tasks = [f"t{index:04}" for index in range(5000)]
    chain = make_chain({"first": tasks, "second": ["a"]})
    prepare_folders(chain.paths("first"))
    chain.save()
    write_run(chain, tasks)
    lines = []
    for submission in read_journal(chain.paths("first")).submissions:
        for index, (task,) in enumerate(submission.bundles):
            state = expected_state(task)
            said = {"complete": "COMPLETED|None|n1", "failed": "OUT_OF_MEMORY|OutOfMemory|n1"}.get(
                state, "RUNNING|None|n1" if state == "running" else "PENDING|Resources|"
            )
            lines.append(f"{submission.array}_{index}|{said}|{submission.name}\n")
    stand_ins.answer.write_text("".join(lines))
    best = float("inf")
    for _ in range(3):
        began = time.monotonic()
        status = chain_status(chain)
        best = min(best, time.monotonic() - began)
    tell(f"chain_status of 5,000 tasks: {best:.2f} s")
    step = status.step("first")
    assert {state: step.counts[state] for state in ("complete", "failed", "running", "pending")} == {
        "complete": 2500,
        "failed": 250,
        "running": 250,
        "pending": 2000,
    }
    assert (step.standing, step.waiting, {cause: len(found) for cause, found in step.causes.items()}) == (
        "running",
        "Resources",
        {"memory": 250},
    )
    assert step.rate == pytest.approx(250 * 5 / 10, rel=0.01)
    assert best < 3
    assert stand_ins.called == {"squeue": 3}

    for name in ("sacct", "sacctmgr"):
        (stand_ins.programs / name).unlink()
    assert chain_status(chain).standing == "running"


def expected_state(task: str) -> State:
    kind = int(task[1:]) % 20
    return "complete" if kind < 10 else "failed" if kind == 10 else "running" if kind == 11 else "pending"


def write_run(chain: Chain, tasks: list[str]) -> None:
    """Journal and records as they are in the midst of a run; a failed task has left no word of its end."""
    paths = chain.paths("first")
    journal = Journal(total=len(tasks))
    for array, (start_, stop) in enumerate(pairwise(range(0, 5001, 1000)), 1):
        journal = journal.with_submission(
            Submission(
                name=f"first-{array}",
                array=str(array),
                bundles=tuple((task,) for task in tasks[start_:stop]),
                round=1,
                attempts_before=dict.fromkeys(tasks[start_:stop], 0),
                resources=Resources(),
            )
        )
    write_journal(paths, journal)
    for task in tasks:
        state = expected_state(task)
        if state == "pending":
            continue
        record = TaskRecord(
            task_id=task,
            state="complete" if state == "complete" else "running",
            attempt=1,
            started=100.0,
            updated=110.0,
            error=None if state != "failed" else TaskError(type="x", message=""),
            progress=Progress(done=5, total=10),
            log=f"records/first/logs/{task}.1.log",
        )
        write_json(paths.record(task), record.to_json(), durable=False)
