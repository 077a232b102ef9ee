"""What the report computes of what it has read: shares of passes, published numbers, what is missing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.report.cost import pass_seconds, shares
from fdbpl.pipeline.report.gathered import Gathered, gather
from fdbpl.pipeline.report.missing import missing
from fdbpl.pipeline.report.published_table import published_numbers
from fdbpl.pipeline.report.timeline import StageTime, TaskTime

MakeConfig = Callable[..., RunConfig]


def stage(name: str, *seconds: float) -> StageTime:
    tasks = [
        TaskTime(
            task=str(number),
            state="complete",
            host="node",
            attempt=1,
            submitted=0.0,
            began=1.0,
            started=1.0,
            first=1.0,
            ended=1.0 + one,
            tells_start=True,
            device="cpu",
        )
        for number, one in enumerate(seconds)
    ]
    return StageTime(name=name, tasks=tuple(tasks))


@pytest.fixture
def run(make_config: MakeConfig, student_table: Callable[..., dict[str, Any]]) -> Gathered:
    """Nothing is there yet of two students by labels of the store, and one by hard labels on stored features."""
    tables = [student_table(seeds=[1, 2]), student_table(objective="cross_entropy", supervision="hard")]
    return gather(make_config(student=tables))


def test_a_pass_is_shared_by_those_that_read_what_it_made(run: Gathered) -> None:
    timed = replace(run, stages=(stage("teach", 20.0, 10.0), stage("features", 6.0), stage("train-1", 99.0)))
    assert pass_seconds(timed) == {"teach": 30.0, "features": 6.0}
    assert shares(timed) == {
        "coop-kdpl-cached-seed1": 17.0,
        "coop-kdpl-cached-seed2": 17.0,
        "coop-cross_entropy-hard-seed1": 2.0,
    }


def test_what_is_missing_is_told_step_by_step(run: Gathered) -> None:
    assert missing(run) == [
        "There is no store yet, which its students read.",
        f"3 of 3 students have no result: {', '.join(run.plans)}.",
        "Nothing was evaluated yet.",
    ]
    begun = {"campaigns": {"teacher": {"blocks_present": 1, "blocks": 6, "sealed": False}}}
    trained = replace(run, store=begun, trained=frozenset(["coop-kdpl-cached-seed1"]))
    assert missing(trained)[0] == "teacher: 1 of 6 blocks are in the store."
    assert "(1 of them trained and are not evaluated)" in missing(trained)[1]
    students = [{"id": name} for name in run.plans]
    assert missing(replace(run, results={"students": students})) == []


def test_published_numbers_stand_beside_the_same_set_up_alone(tmp_path: Any) -> None:
    targets = [{"name": name, "folder": name} for name in ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")]
    values = {
        "folder": "run",
        "data": {"name": "imagenet", "folder": "imagenet"},
        "teacher": {"model": "ViT-H-14-quickgelu", "pretrained": "dfn5b"},
        "student": [{"model": "ViT-B-32-quickgelu", "pretrained": "openai", "classes": "all", "objective": "kdpl"}],
        "evaluate": {"protocol": "domain-generalisation", "targets": targets},
    }
    method = "coop-kdpl-cached"
    results = {
        "columns": ["imagenet", "mean"],
        "zero_shot": {},
        "methods": [{"method": method, "num_seeds": 3, "imagenet": 66.0, "mean": 50.0}],
    }
    run = replace(gather(parse_config(values, base=tmp_path, where="test")), results=results)
    # KDPL's paper has CoOp taught by that teacher at 65.97 on ImageNet and 49.90 on the variants.
    assert [(one["column"], one["published"], one["difference"]) for one in published_numbers(run)] == [
        ("imagenet", 65.97, 0.03),
        ("mean", 49.9, 0.1),
    ]
    values["teacher"] = {"model": "ViT-L-14", "pretrained": "openai"}
    other = replace(gather(parse_config(values, base=tmp_path, where="test")), results=results)
    assert published_numbers(other) == []
