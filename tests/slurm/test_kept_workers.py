"""Workers that a pool keeps from one stage to the next."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage
from fdbpl.slurm.status import StageStatus

MakeStage = Callable[..., Stage]


def results(status: StageStatus) -> list[dict[str, Any]]:
    assert status.is_complete, status.sentence()
    return [record.result or {} for record in status.records.values()]


def pid(status: StageStatus) -> int:
    """Of the one worker that ran all tasks."""
    (found,) = {record.pid for record in status.records.values()}
    return found


@pytest.fixture
def lives(cluster_module: Any) -> Callable[[int], bool]:
    """Whether a process runs; one that is dead and not yet reaped does not."""

    def living(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    return living


def test_a_worker_is_kept_for_other_stages_folders_and_environments(
    make_stage: MakeStage, tmp_path: Path, lives: Callable[[int], bool]
) -> None:
    with LocalPool(1) as pool:
        first = pool.run(make_stage("environment", "A", "B", environment={"A": "1"}))
        second = pool.run(make_stage("environment", "A", "B", folder=tmp_path / "other", environment={"B": "2"}))
        assert [result["value"] for result in results(first)] == ["1", None]
        assert [result["value"] for result in results(second)] == [None, "2"]
        assert pid(first) == pid(second)
        assert lives(pid(first))
    assert not lives(pid(first))


def test_without_with_no_worker_outlives_its_stage(make_stage: MakeStage, lives: Callable[[int], bool]) -> None:
    pool = LocalPool(1)
    first = pool.run(make_stage("echo", "a"))
    assert not lives(pid(first))
    assert pid(pool.run(make_stage("echo", "a"))) != pid(first)


def test_a_worker_without_a_task_waits_for_the_next_stage_or_ends_before_this_one(
    make_stage: MakeStage, lives: Callable[[int], bool]
) -> None:
    pool = LocalPool(2)
    alive: list[bool] = []

    def look(status: StageStatus) -> None:
        first, slow = status.records["a"], status.records["slow"]
        if first.is_final and slow.state == "running":
            alive.append(lives(first.pid))

    with pool:
        pids = [
            {
                record.pid
                for record in pool.run(make_stage("slow_if_slow", "a", "slow"), on_update=look).records.values()
            }
            for _ in range(2)
        ]
    assert len(pids[0]) == 2 and pids[0] == pids[1]
    assert alive and all(alive)
    alive.clear()
    pool.run(make_stage("slow_if_slow", "a", "slow"), on_update=look, poll_seconds=0.02)
    assert alive[-1:] == [False]


def test_only_the_outermost_with_ends_the_workers(make_stage: MakeStage, lives: Callable[[int], bool]) -> None:
    with LocalPool(1) as pool:
        with pool:
            first = pool.run(make_stage("echo", "a"))
        assert lives(pid(first))
        pool.close()
        assert not lives(pid(first))
        second = pool.run(make_stage("echo", "b"))
        assert lives(pid(second))
    assert not lives(pid(second))


@pytest.mark.parametrize(
    "changes", [{"resources": Resources(cpus=2)}, {"environment": {"MALLOC_ARENA_MAX": "1"}}], ids=["cpus", "variable"]
)
def test_a_stage_with_other_needs_gets_other_workers(
    make_stage: MakeStage, lives: Callable[[int], bool], changes: dict[str, Any]
) -> None:
    tasks = ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX")
    with LocalPool(1) as pool:
        first = pool.run(make_stage("environment", *tasks))
        second = pool.run(make_stage("environment", *tasks, **changes))
        assert pid(second) != pid(first)
        assert not lives(pid(first))
    assert [result["value"] for result in results(first)] == ["1", None]
    assert [result["value"] for result in results(second)] == (["2", None] if "resources" in changes else ["1", "1"])


def test_the_limit_of_a_stage_holds_though_more_workers_are_kept(make_stage: MakeStage) -> None:
    with LocalPool(3) as pool:
        most = [result["most"] for result in results(pool.run(make_stage("count_neighbours", *"abcdef")))]
        assert max(most) == 3
        narrow = make_stage("count_neighbours", *"ghijkl", resources=Resources(max_parallel=2))
        assert max(result["most"] for result in results(pool.run(narrow))) == 2


def test_idle_workers_that_die_are_replaced(make_stage: MakeStage) -> None:
    with LocalPool(2) as pool:
        first = pool.run(make_stage("count_neighbours", "a", "b"))
        workers = {record.pid for record in first.records.values()}
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        status = pool.run(make_stage("echo", "c", "d"))
    assert status.is_complete
    assert {record.attempt for record in status.records.values()} == {1}
    assert not workers & {record.pid for record in status.records.values()}


def test_a_task_given_to_kept_workers_that_die_before_it_begins_is_given_to_another(make_stage: MakeStage) -> None:
    """However many of them: it is not the task's fault."""
    with LocalPool(3) as pool:
        first = pool.run(make_stage("count_neighbours", "a", "b", "c"))
        workers = {record.pid for record in first.records.values()}
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)

        def kill_next(status: StageStatus) -> None:
            # Only one task waits, so only one of them has been given it.
            if workers and status.pending:
                (busy,) = [one.pid for one in pool._workers if one.task_id is not None]
                if busy in workers:
                    workers.remove(busy)
                    os.kill(busy, signal.SIGKILL)

        status = pool.run(make_stage("echo", "d"), on_update=kill_next, poll_seconds=0.01)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
    assert not workers
    assert status.is_complete
    assert status.records["d"].attempt == 1


def test_a_worker_whose_task_failed_is_not_used_again(make_stage: MakeStage) -> None:
    """A broken CUDA context would fail all that come after it."""
    with LocalPool(1) as pool:
        status = pool.run(make_stage("fail_if_bad", "a", "bad", "c", "d"))
    pids = {task_id: record.pid for task_id, record in status.records.items()}
    assert pids["a"] == pids["bad"] != pids["c"] == pids["d"]


def test_what_a_task_does_to_the_environment_ends_with_it(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/here")
    found = results(LocalPool(1).run(make_stage("leave_variable", "a", "b")))
    assert [(result["left"], result["home"]) for result in found] == [(None, "/here"), (None, "/here")]
    assert found[0]["pid"] == found[1]["pid"]


def test_an_interrupt_between_stages_and_in_one_leaves_nothing(
    make_stage: MakeStage, lives: Callable[[int], bool]
) -> None:
    def interrupt(status: StageStatus) -> None:
        if status.progress.total:
            raise KeyboardInterrupt

    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt), LocalPool(2) as pool:
        seen += [record.pid for record in pool.run(make_stage("count_neighbours", "a", "b")).records.values()]
        with pytest.raises(KeyboardInterrupt):
            pool.run(make_stage("wait_for_gate", "c"), on_update=interrupt, poll_seconds=0.02)
        assert len([worker for worker in seen if lives(worker)]) == 1
        seen += [record.pid for record in pool.run(make_stage("count_neighbours", "a", "b")).records.values()]
        raise KeyboardInterrupt
    assert len(set(seen)) == 3
    assert not any(lives(worker) for worker in seen)


def test_killing_the_caller_kills_workers_that_wait(
    make_stage: MakeStage, cluster_module: Any, lives: Callable[[int], bool], tmp_path: Path
) -> None:
    stage = make_stage("echo", "a")
    script = tmp_path / "caller.py"
    script.write_text(
        "import sys, signal\nfrom pathlib import Path\n"
        "from fdbpl.slurm.local_pool import LocalPool\nfrom fdbpl.slurm.stage import Stage\n"
        "with LocalPool(1) as pool:\n"
        "    stage = Stage(name='sample', function='sample_tasks:echo', folder=Path(sys.argv[1]), task_ids=('a',))\n"
        "    print(pool.run(stage).records['a'].pid, flush=True)\n"
        "    signal.pause()\n"
    )
    environment = {**os.environ, **stage.environment}
    with subprocess.Popen([sys.executable, script, stage.folder], env=environment, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        worker = int(caller.stdout.readline())
        assert lives(worker)
        # One that cannot notice that its pipe is closed.
        os.kill(worker, signal.SIGSTOP)
        caller.kill()
    try:
        cluster_module.wait_until(lambda: not lives(worker), "the worker is gone", 5)
    except TimeoutError:
        os.kill(worker, signal.SIGKILL)
        raise
