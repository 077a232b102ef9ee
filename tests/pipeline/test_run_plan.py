"""Plans: work, bytes, time and jobs as they will be, told from what is known, and never guessed."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.store_info import store_info
from fdbpl.pipeline.run import plan as run_plan
from fdbpl.pipeline.run.measure_rate import measured_rates
from fdbpl.pipeline.run.plan import START_SECONDS, plan_run
from fdbpl.pipeline.run.plan_table import show_plan
from fdbpl.pipeline.run.sizing import Sizes
from fdbpl.pipeline.run.state import CONFIG_VARIABLE
from fdbpl.pipeline.run.steps import resources, run_chain
from fdbpl.pipeline.run.submit import Submission
from fdbpl.pipeline.run.units import label_bytes
from fdbpl.pipeline.students import checked
from fdbpl.pipeline.students.plan import list_plans
from fdbpl.slurm.journal import Journal, write_journal
from fdbpl.slurm.paths import StagePaths
from fdbpl.slurm.records import Progress, TaskRecord, write_record

MakeConfig = Callable[..., RunConfig]
STEPS = ["prepare", "teach", "features", "test-features", "train-1", "report"]


def by_step(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in plan["steps"]}


@pytest.fixture
def plan(write_config: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The plan of a small run that is not there yet, with rates and changes of the config."""

    def plan(*rates: str, measure: bool = False, **changes: Any) -> dict[str, Any]:
        return Submission.read(write_config(**changes)).plan(list(rates), measure=measure)

    return plan


def test_units_and_bytes_are_those_that_a_finished_run_has(
    plan: Callable[..., dict[str, Any]], taught: RunConfig, tmp_path: Path
) -> None:
    planned = plan()
    steps = by_step(planned)
    assert list(steps) == STEPS
    assert {name: (step["tasks"], step["missing"]) for name, step in steps.items()} == {
        "prepare": (1, 1),
        "teach": (6, 6),
        "features": (6, 6),
        "test-features": (2, 2),
        "train-1": (1, 1),
        "report": (1, 1),
    }
    assert {name: (step["units"], step["unit"]) for name, step in steps.items()} == {
        "prepare": (128, "images"),
        "teach": (512, "views"),
        "features": (512, "views"),
        "test-features": (2 * 64, "images"),
        "train-1": (2 * 2, "steps"),  # 16 base classes, two images of each: two batches of 16, two epochs
        "report": (0, "tasks"),
    }
    info = store_info(taught.store.path)
    assert steps["teach"]["bytes"] + steps["features"]["bytes"] == planned["bytes"] == 512 * info["bytes_per_view"]
    of_labels = sum(array["bytes_per_view"] for array in info["arrays"] if not array["name"].startswith("student"))
    assert label_bytes(taught, 32) == of_labels
    assert steps["teach"]["bytes"] == 512 * of_labels
    assert not (tmp_path / "run").exists(), "a plan writes nothing"


@pytest.mark.parametrize("labels", [["topk"], ["logits", "topk"]])
def test_bytes_follow_the_encodings(make_config: MakeConfig, labels: list[str]) -> None:
    """Of 32 classes, 5 are kept, a class and a logit of two bytes each; and the sum over all of them, of four."""
    config = make_config(store={"labels": labels, "top_k": 5})
    assert label_bytes(config, 32) == 17 + ("logits" in labels) * 64 + 5 * 4 + 4


def test_time_is_not_guessed(plan: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    planned = plan()
    assert planned["unknown"] == ["prepare", "teach", "features", "test-features", "train-1"]
    assert by_step(planned)["teach"]["seconds"] is by_step(planned)["teach"]["rate"] is None
    assert by_step(planned)["report"]["seconds"] == planned["seconds"] == START_SECONDS
    show_plan(planned, scripts=True, arguments="'my run.toml'")
    shown = capsys.readouterr().out
    row = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["teach"])
    assert row[:4] + row[-5:-3] == ["teach", "6", "of", "6", "?", "?"]
    assert "not known: prepare, teach, features, test-features, train-1" in shown
    assert "fdbpl plan 'my run.toml' --measure" in shown
    assert "next: fdbpl submit 'my run.toml'" in shown


def test_a_rate_that_is_given(plan: Callable[..., dict[str, Any]], student_table: Any) -> None:
    tables = [student_table(name="a", seeds=[1, 2, 3]), student_table(name="b", starts_from="a")]
    steps = {"teach": {"gpus": 2}}
    changes = {"student": tables, "cluster": {"kind": "local", "max_workers": 4, "per_job": 1, "steps": steps}}
    found = plan("teach=16", "train=1", "train-2=2", **changes)
    teach = by_step(found)["teach"]
    assert (teach["rate"], teach["rate_from"], teach["jobs"], teach["parallel"]) == (16, "given", 6, 4)
    assert teach["seconds"] == pytest.approx(2 * (START_SECONDS + 512 / 6 / 16)), "two waves of jobs"
    assert teach["gpu_hours"] == pytest.approx(2 * (6 * START_SECONDS + 512 / 16) / 3600)
    assert by_step(found)["train-1"]["rate"] == 1
    assert by_step(found)["train-2"]["rate"] == 2
    assert by_step(found)["train-1"]["seconds"] == pytest.approx(START_SECONDS + 4)
    assert by_step(found)["features"]["gpu_hours"] == 0
    bundled = plan("teach=16", cluster={"kind": "local", "max_workers": 4, "per_job": 3})
    assert [by_step(bundled)["teach"][key] for key in ("jobs", "per_job", "parallel")] == [2, 3, 2]


@pytest.mark.parametrize("rate", ["tech=3", "teach", "teach=", "teach=fast", "teach=0", "teach=-1", "teach=nan", "=3"])
def test_a_rate_that_makes_no_sense_is_refused(plan: Callable[..., dict[str, Any]], rate: str) -> None:
    with pytest.raises(ValueError, match=f"found --rate '{rate}', expected STEP=NUMBER such as teach=800, with one of"):
        plan(rate)


def test_a_rate_is_measured_here(make_config: MakeConfig) -> None:
    config = make_config()
    (rate, how) = measured_rates(config, seconds=0.01)["teach"]
    assert rate > 0
    assert how == "measured here on 64 views, cpu"
    assert not config.folder.exists()


def test_a_finished_run_has_nothing_left(make_config: MakeConfig, taught: RunConfig) -> None:
    config = make_config().model_copy(update={"store": taught.store})
    planned = plan_run(config, _saved(config), {})
    teach = by_step(planned)["teach"]
    assert [teach[key] for key in ("missing", "jobs", "units", "bytes", "seconds")] == [0, 0, 0, 0, 0]
    assert planned["bytes"] == 0
    assert planned["unknown"] == ["test-features", "train-1"]
    assert not planned["is_private"], "the store lies elsewhere"


def _saved(config: RunConfig) -> Any:
    from fdbpl.pipeline.run_folder import RunFolder

    RunFolder(config.folder).save(config)
    return run_chain(config)


def test_a_store_that_does_not_fit(
    plan: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = namedtuple("usage", "free")
    needed = plan()["bytes"]
    for free, fits in ((needed, False), (needed + 1, True)):
        monkeypatch.setattr(run_plan.shutil, "disk_usage", lambda path, free=free: usage(free))
        planned = plan()
        assert (planned["fits"], planned["bytes_free"]) == (fits, free)
        show_plan(planned, scripts=False, arguments="run.toml")
        assert ("THAT DOES NOT FIT" in capsys.readouterr().out) is not fits


def record(config: RunConfig, step: str, task: str, seconds: float, units: float = 0) -> None:
    """What a task of an earlier submission left."""
    done = TaskRecord(
        task_id=task,
        state="complete",
        attempt=1,
        started=1000.0,
        ended=1000.0 + seconds,
        progress=Progress(done=units, total=units),
    )
    write_record(StagePaths(folder=config.folder, stage=step), done)


def journal(config: RunConfig, step: str, total: int) -> None:
    write_journal(StagePaths(folder=config.folder, stage=step), Journal(total=total))


def test_rates_of_a_run_are_those_of_its_complete_tasks(make_config: MakeConfig) -> None:
    config = make_config()
    record(config, "teach", "0.0", 4, units=96)
    record(config, "teach", "0.1", 2, units=96)
    failed = TaskRecord(task_id="1.0", state="failed", attempt=1, started=0, ended=900, progress=Progress(done=9))
    write_record(StagePaths(folder=config.folder, stage="teach"), failed)
    journal(config, "teach", 6)
    (config.folder / "records" / "teach" / "2.0.json").write_text("")  # as a crash of the machine leaves it
    assert Sizes(config).rate("teach") == (32, "2 complete tasks")
    assert Sizes(config).rate("train-1") == (None, "")
    teach = by_step(plan_run(config, _saved(config), {}))["teach"]
    assert (teach["rate"], teach["rate_from"]) == (32, "2 complete tasks")
    assert by_step(plan_run(config, _saved(config), {"teach": (5, "given")}))["teach"]["rate"] == 5


@pytest.mark.parametrize(
    ("seconds", "total", "minutes", "workers", "per_job"),
    [
        (6, 10_000, 60, 2, 100),  # ten minutes
        (6, 10_000, 10, 2, 50),  # half of the time limit
        (6, 120, 60, 4, 30),  # work for all jobs that may run at a time
        (6, 3, 60, 4, 1),
        (900, 10_000, 60, 2, 1),
        (0, 10_000, 60, 2, 5_000),
    ],
)
def test_tasks_of_a_job_are_chosen_by_how_long_they_took(
    make_config: MakeConfig, seconds: float, total: int, minutes: float, workers: int, per_job: int
) -> None:
    config = make_config(cluster={"kind": "local", "max_workers": workers, "minutes": minutes})
    assert run_chain(config).step("teach").per_job == 1, "where nothing is known"
    for number, factor in enumerate((1, 1, 40)):
        record(config, "teach", f"{number}.0", seconds * factor)
    journal(config, "teach", total)
    assert run_chain(config).step("teach").per_job == per_job
    assert Sizes(config).per_job("teach", "teach", replace(resources(config, "teach"), max_parallel=None)) >= per_job


def test_a_plan_of_what_a_run_would_add(plan: Any, write_config: Any, taught: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copytree(taught.store.path, tmp_path / "run" / "store.zarr")
    path = write_config(crops={"seeds": 6})
    with pytest.raises(ValueError, match="holds less than the config asks for"):
        Submission.read(path).plan([], measure=False)
    steps = by_step(Submission.read(path, grow=True).plan([], measure=False))
    assert (steps["prepare"]["missing"], steps["teach"]["missing"], steps["teach"]["units"]) == (1, 3, 128 * 2)
    assert (steps["features"]["missing"], steps["features"]["units"]) == (3, 128 * 2)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["store.zarr"]
    assert CONFIG_VARIABLE not in json.dumps(plan(crops={"seeds": 4}))


def test_packs_are_listed_once_however_many_are_missing(
    plan: Callable[..., dict[str, Any]], student_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[int] = []

    def counted(config: RunConfig) -> Any:
        plans = list_plans(config)
        listed.append(len(plans))
        return plans

    monkeypatch.setattr(checked, "list_plans", counted)
    cluster = {"kind": "local", "students_per_task": 2}
    step = by_step(plan(student=[student_table(seeds=list(range(1, 8)))], cluster=cluster))["train-1"]
    assert (step["tasks"], step["missing"], step["units"]) == (4, 4, 7 * 2 * 2)
    assert len(listed) <= 2, "to refuse what makes no sense, and to count"
