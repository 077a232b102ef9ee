"""Handing out GPUs: told by CUDA_VISIBLE_DEVICES alone, so no GPU is needed here."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fdbpl.slurm.gpus import visible_gpus
from fdbpl.slurm.local_pool import LocalPool
from fdbpl.slurm.resources import Resources
from fdbpl.slurm.stage import Stage

MakeStage = Callable[..., Stage]
VARIABLE = "CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("environment", "listed", "found"),
    [
        ({}, 2, ("0", "1")),
        ({}, 0, ()),
        ({}, None, ()),
        ({VARIABLE: "3, 5"}, 8, ("3", "5")),
        ({VARIABLE: "GPU-8f2a,MIG-77"}, 8, ("GPU-8f2a", "MIG-77")),
        ({VARIABLE: ""}, 8, ()),
        ({VARIABLE: "-1"}, 8, ()),
        ({VARIABLE: "1,-1,2"}, 8, ("1",)),
        ({VARIABLE: "NoDevFiles"}, 8, ()),
    ],
)
def test_the_variable_says_which_or_the_driver_how_many(
    tmp_path: Path, environment: Mapping[str, str], listed: int | None, found: tuple[str, ...]
) -> None:
    driver = tmp_path / "gpus"
    for index in range(listed or 0):
        (driver / f"0000:{index}:00.0").mkdir(parents=True)
    if listed == 0:
        driver.mkdir()
    assert visible_gpus(environment, driver) == found


def test_tasks_at_a_time_are_as_many_as_gpus_and_each_has_its_own(make_stage: MakeStage) -> None:
    stage = make_stage("count_neighbours", *"abcd", resources=Resources(gpus=1))
    status = LocalPool(4, gpus=["4", "7"]).run(stage)
    assert status.is_complete
    records = status.records.values()
    assert max((record.result or {})["most"] for record in records) == 2
    assert {record.gpu for record in records} == {"4", "7"}
    # A worker keeps its GPU: no GPU had two of them.
    assert len({(record.pid, record.gpu) for record in records}) == len({record.pid for record in records}) == 2


def test_a_task_may_have_several_gpus_whatever_its_environment_says(make_stage: MakeStage) -> None:
    stage = make_stage(
        "environment", VARIABLE, resources=Resources(gpus=2), environment={VARIABLE: "0", "CUDA_DEVICE_ORDER": "PCI"}
    )
    record = LocalPool(gpus=["4", "5", "7"]).run(stage).records[VARIABLE]
    assert (record.result or {})["value"] == record.gpu == "4,5"


def test_tasks_that_ask_for_none_have_what_the_caller_has(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    record = LocalPool(1).run(make_stage("environment", VARIABLE)).records[VARIABLE]
    assert (record.result or {})["value"] == record.gpu == "3"
    monkeypatch.delenv(VARIABLE)
    record = LocalPool(1, gpus=["3"]).run(make_stage("environment", VARIABLE)).records[VARIABLE]
    assert (record.result, record.gpu) == ({"value": None, "pid": record.pid}, "")


def test_more_gpus_than_there_are_is_refused(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    with pytest.raises(ValueError, match=r"found 1 GPUs \(3\), expected at least the 2 that .* ask for fewer"):
        LocalPool(1).run(make_stage("echo", "a", resources=Resources(gpus=2)))
    with pytest.raises(ValueError, match="found 3, 3, expected each GPU once"):
        LocalPool(1, gpus=["3", "3"])


def test_the_gpu_of_a_dead_worker_is_handed_out_again(make_stage: MakeStage) -> None:
    stage = make_stage("die_if_bad", "a", "bad1", "bad2", "d", resources=Resources(gpus=1))
    records = LocalPool(gpus=["7"]).run(stage).records
    assert {task_id: (record.state, record.gpu) for task_id, record in records.items()} == {
        "a": ("complete", "7"),
        "bad1": ("failed", "7"),
        "bad2": ("failed", "7"),
        "d": ("complete", "7"),
    }


def test_kept_workers_serve_stages_with_as_many_gpus(make_stage: MakeStage) -> None:
    with LocalPool(1, gpus=["4", "7"]) as pool:
        needs = [1, 1, 0, 2, 2]
        records = [pool.run(make_stage("echo", "a", resources=Resources(gpus=gpus))).records["a"] for gpus in needs]
    assert [record.gpu for record in records] == ["4", "4", "", "4,7", "4,7"]
    pids = [record.pid for record in records]
    assert pids[0] == pids[1] and pids[3] == pids[4] and len(set(pids)) == 3
