"""Chains by the local pool: the same outcomes as on Slurm, and nothing left behind however the driver ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.chain import Chain
from fdbpl.slurm.chain_status import ChainStatus, chain_status
from fdbpl.slurm.journal import read_journal
from fdbpl.slurm.local_chain import run_here
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.records import read_record
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.start import cancel_run
from fdbpl.slurm.status import StageStatus

MakeChain = Callable[..., Chain]
THREE = {"first": ["a", "b"], "second": ["c", "slow-d", "slow-e", "f"], "third": ["g"]}


def counts(status: ChainStatus) -> dict[str, dict[str, int]]:
    return {step.step.name: {state: n for state, n in step.counts.items() if n} for step in status.steps}


def tries(chain: Chain) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in (chain.folder / "tries").iterdir():
        task = path.name.rpartition("+")[0]
        found[task] = found.get(task, 0) + 1
    return found


class Drivers:
    """Processes that run a chain, and the workers that they start: found by a variable which all inherit."""

    def __init__(self, mark: str, samples: Path, cluster_module: Any) -> None:
        self._mark = mark
        self._samples = samples
        self._wait_until = cluster_module.wait_until
        self._started: list[subprocess.Popen[str]] = []

    def start(self, chain: Chain) -> subprocess.Popen[str]:
        (chain.folder / "records").mkdir(exist_ok=True)
        chain.save()
        command = [sys.executable, self._samples / "run_chain.py", chain.folder]
        environment = {**os.environ, **chain.environment, "FDBPL_TEST_MARK": self._mark}
        self._started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return self._started[-1]

    def start_and_wait_for_slow_tasks(self, chain: Chain) -> subprocess.Popen[str]:
        driver = self.start(chain)
        paths = chain.paths("second")
        slow = ("slow-d", "slow-e")
        self._wait_until(lambda: all(read_record(paths, task).progress for task in slow), "both slow tasks run")
        return driver

    def processes(self) -> list[int]:
        """All that live: zombies have no environment."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0") if folder.name.isdecimal() else []
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if f"FDBPL_TEST_MARK={self._mark}".encode() in variables:
                found.append(int(folder.name))
        return found

    def stop(self) -> None:
        for driver in self._started:
            driver.kill()
            driver.wait()
            if driver.stderr is not None:
                driver.stderr.close()


@pytest.fixture
def drivers(tmp_path: Path, samples: Path, cluster_module: Any) -> Iterator[Drivers]:
    made = Drivers(str(tmp_path), samples, cluster_module)
    yield made
    made.stop()


def test_a_chain_finishes_and_a_second_run_computes_nothing(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a", "b", "c"], "second": ["d"], "third": ["e", "f"]})
    status = run_here(chain, LocalPool(2))
    assert status.standing == "complete"
    assert counts(status) == {"first": {"complete": 3}, "second": {"complete": 1}, "third": {"complete": 2}}
    assert len(list(chain.folder.glob("closed-*"))) == 3
    pids = {record.pid for step in status.steps for record in step.stage_status.records.values()}
    assert len(pids) <= 2, "the workers are kept from step to step"

    assert run_here(chain, LocalPool(2)).standing == "complete"
    assert set(tries(chain).values()) == {1}
    assert [len(read_journal(chain.paths(step.name)).submissions) for step in chain.steps] == [1, 1, 1]


def test_deaths_and_flaky_errors_are_made_good(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a", "once-b", "flaky-c", "once-d"], "second": ["once-e"], "third": ["f"]})
    assert run_here(chain, LocalPool(2)).standing == "complete"
    assert tries(chain) == {"a": 1, "once-b": 2, "flaky-c": 2, "once-d": 2, "once-e": 2, "f": 1}
    submissions = read_journal(chain.paths("first")).submissions
    again = {task: submission for submission in submissions[1:] for (task,) in submission.bundles}
    assert {submission.round for submission in again.values()} == {2}
    assert "no luck at" in again["flaky-c"].reasons["flaky-c"][1]
    # What may have died for want of memory runs alone.
    alone = {task: submission.resources.max_parallel for task, submission in again.items()}
    assert alone == {"once-b": 1, "once-d": 1, "flaky-c": None}


def test_a_task_over_its_time_gets_more(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a", "slow-b"]}, steps={"first": {"resources": Resources(minutes=1.5 / 60)}})

    def open_gate_in_the_second_round(status: StageStatus) -> None:
        if len(read_journal(chain.paths("first")).submissions) == 2:
            (chain.folder / "gate").touch()

    assert run_here(chain, LocalPool(2), on_update=open_gate_in_the_second_round).standing == "complete"
    first, second = read_journal(chain.paths("first")).submissions
    assert second.reasons["slow-b"][0] == "TIMEOUT"
    assert second.resources.minutes == 2 * first.resources.minutes


@pytest.mark.parametrize(
    ("task", "expected_tries", "cause"), [("bad-x", 2, "error"), ("wrong-x", 1, "input"), ("die-x", 3, "memory")]
)
def test_a_task_that_always_fails_ends_the_chain_and_the_next_run_completes_it(
    make_chain: MakeChain, task: str, expected_tries: int, cause: str
) -> None:
    chain = make_chain({"first": ["a", task], "second": ["b"], "third": ["c"]})
    status = run_here(chain, LocalPool(2))
    assert status.standing == "failed"
    causes = {found: [record.task_id for record in records] for found, records in status.step("first").causes.items()}
    assert causes == {cause: [task]}
    assert tries(chain) == {"a": 1, task: expected_tries}
    assert not list(chain.folder.glob("closed-*"))

    (chain.folder / "mended").touch()
    assert run_here(chain, LocalPool(2)).standing == "complete"
    assert tries(chain) == {"a": 1, task: expected_tries + 1, "b": 1, "c": 1}


def test_where_not_all_are_needed_the_followers_run(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a", "bad-x"], "second": ["b"]}, steps={"first": {"needs_all": False}})
    (chain.folder / "careless").touch()
    assert run_here(chain, LocalPool(2)).standing == "failed"
    assert tries(chain) == {"a": 1, "bad-x": 2, "b": 1}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_the_driver_leaves_no_process_and_a_later_run_completes_the_chain(
    make_chain: MakeChain, drivers: Drivers, cluster_module: Any, signum: signal.Signals
) -> None:
    chain = make_chain(THREE)
    driver = drivers.start_and_wait_for_slow_tasks(chain)
    assert len(drivers.processes()) == 3
    assert chain_status(chain).standing == "running"
    assert chain_status(chain).step("second").standing == "running"
    driver.send_signal(signum)
    if signum == signal.SIGKILL:
        # Not waited for: the driver is a zombie for now.
        cluster_module.wait_until(lambda: not drivers.processes(), "the driver and its workers are gone", 5)
        assert driver.returncode is None
    else:
        driver.communicate(timeout=5)
        assert not drivers.processes()
    status = chain_status(chain)
    assert status.standing == "stopped"
    assert counts(status)["second"] == {"complete": 1, "stopped": 2, "pending": 1}

    (chain.folder / "gate").touch()
    assert run_here(chain, LocalPool(2)).standing == "complete"
    assert tries(chain) == {"a": 1, "b": 1, "c": 1, "slow-d": 2, "slow-e": 2, "f": 1, "g": 1}


def test_a_second_driver_is_refused_and_does_no_harm(make_chain: MakeChain, drivers: Drivers) -> None:
    chain = make_chain(THREE)
    driver = drivers.start_and_wait_for_slow_tasks(chain)
    with pytest.raises(ValueError, match=rf"found process {driver.pid} on \S+ at work in .*, expected nobody: wait"):
        run_here(chain, LocalPool(2))
    assert chain_status(chain).standing == "running"
    (chain.folder / "gate").touch()
    assert driver.communicate(timeout=20) == (None, "")
    assert chain_status(chain).standing == "complete"
    assert set(tries(chain).values()) == {1}


def test_cancelling_ends_a_local_run_within_five_seconds(make_chain: MakeChain, drivers: Drivers) -> None:
    chain = make_chain(THREE)
    driver = drivers.start_and_wait_for_slow_tasks(chain)
    began = time.monotonic()
    assert cancel_run(chain.folder) == [f"process {driver.pid}"]
    assert time.monotonic() - began < 5
    driver.communicate(timeout=5)
    assert not drivers.processes()
    assert chain_status(chain).standing == "stopped"
    assert read_record(chain.paths("second"), "slow-d").state == "stopped"


def test_a_run_folder_is_free_again_after_an_error(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a"]})
    (chain.folder / "refuse-first").touch()
    with pytest.raises(ValueError, match="first cannot be closed"):
        run_here(chain, LocalPool(1))
    (chain.folder / "refuse-first").unlink()
    assert run_here(chain, LocalPool(1)).standing == "complete"
    assert tries(chain) == {"a": 1}


def test_what_closing_finds_amiss_is_made_again(make_chain: MakeChain) -> None:
    chain = make_chain({"first": ["a", "b"], "second": ["c"]})
    (chain.folder / "spoils-first").write_text("first/b")
    assert run_here(chain, LocalPool(2)).standing == "complete"
    assert tries(chain) == {"a": 1, "b": 2, "c": 1}
