"""Packs that run: stopped, failing in part, finished in part; no student is harmed by another."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from alone import compare

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.learners.coop import CoOp
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import plan_by_id, student_plans
from fdbpl.pipeline.training import train as train_module
from fdbpl.pipeline.training.gather import gather_all
from fdbpl.pipeline.training.student_run import run_student, run_students
from fdbpl.pipeline.training.train import Training
from fdbpl.pipeline.training.trainee import Trainee

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def config_of(taught: RunConfig, make_config: MakeConfig) -> MakeConfig:
    """Makes a config of these tables over the finished store."""

    def make(*tables: dict[str, Any], **changes: Any) -> RunConfig:
        return make_config(student=tables, **changes).model_copy(update={"store": taught.store})

    return make


def test_given_subsets_of_other_sizes_have_their_own_steps(
    config_of: MakeConfig, student_table: Callable[..., dict[str, Any]], shared: Path, tmp_path: Path
) -> None:
    """32 images of the base half, and 27: two steps an epoch, and one."""
    config = config_of(student_table(epochs=3, seeds=[1, 2, 3]))
    by_class: dict[int, list[Any]] = {}
    for entry in json.loads((shared / "world" / "split_world.json").read_text())["train"]:
        by_class.setdefault(entry[1], []).append(entry)
    for seed, num_single in ((1, 0), (2, 5), (3, 0)):
        chosen = [entry for label, own in by_class.items() for entry in own[: 1 if label < num_single else 2]]
        (tmp_path / f"given-2-{seed}.json").write_text(json.dumps({"train": chosen, "val": []}))
    data = config.data.model_copy(update={"few_shot": str(tmp_path / "given-{shots}-{seed}.json")})
    config = config.model_copy(update={"data": data})
    told: list[tuple[int, int]] = []
    records = run_students(config, student_plans(config), lambda done, total: told.append((done, total)))
    assert [record["steps"] for record in records] == [6, 3, 6]
    assert told == [(4, 15), (8, 15), (12, 15), (13, 15), (14, 15), (15, 15)]


def test_a_loss_that_is_not_finite_harms_no_other_student(
    config_of: MakeConfig, student_table: Callable[..., dict[str, Any]], tmp_path: Any
) -> None:
    wild = {"optimizer": "sgd", "learning_rate": 1e30, "warmup_epochs": 0}
    config = config_of(student_table(name="wild", epochs=3, optim=wild), student_table(name="good", epochs=3))
    bad, good = student_plans(config)
    with pytest.raises(FloatingPointError, match="student wild-coop-kdpl-cached-seed1: found a loss of nan in epoch 0"):
        run_students(config, [bad, good])
    assert not RunFolder(config.folder).student(bad.id).record_file.exists()
    alone = config.model_copy(update={"folder": tmp_path / "alone"})
    record, expected = run_student(config, good), run_student(alone, good)
    assert record["final_loss"] == pytest.approx(expected["final_loss"], rel=1e-5)


def test_prompts_that_the_last_step_has_broken_are_no_result(
    config_of: MakeConfig, student_table: Callable[..., dict[str, Any]]
) -> None:
    """One step, whose loss is finite: it is the step itself that goes too far."""
    wild = {"optimizer": "sgd", "learning_rate": 1e300, "warmup_epochs": 0}
    once = {"epochs": 1, "batch_size": 32}
    config = config_of(student_table(name="wild", optim=wild, **once), student_table(name="good", **once))
    bad, good = student_plans(config)
    told = f"student {bad.id}: found values that are not finite in positive, .* lower optim.learning_rate"
    with pytest.raises(FloatingPointError, match=told):
        run_students(config, [bad, good])
    folder = RunFolder(config.folder)
    assert not folder.student(bad.id).record_file.exists() and not folder.student(bad.id).prompts_file.exists()
    assert folder.student(good.id).record_file.exists()


def test_a_student_that_cannot_begin_keeps_no_other_from_it(
    config_of: MakeConfig, student_table: Callable[..., dict[str, Any]]
) -> None:
    """Of a second stage, where the source of one has failed."""
    tables = student_table(name="first", seeds=[1, 2]), student_table(name="second", starts_from="first", seeds=[1, 2])
    config = config_of(*tables)
    lacking, other = (plan_by_id(config, f"second-coop-kdpl-cached-seed{seed}") for seed in (1, 2))
    assert other.source is not None
    run_student(config, other.source)
    with pytest.raises(ValueError, match=f"^student {lacking.id} starts from .* found that one not finished"):
        run_students(config, [lacking, other])
    folder = RunFolder(config.folder)
    assert not folder.student(lacking.id).record_file.exists()
    assert folder.student(other.id).record_file.exists()


def test_the_pool_trains_a_pack_and_then_only_what_is_missing_of_it(
    config_of: MakeConfig, student_table: Callable[..., dict[str, Any]]
) -> None:
    cluster = {"kind": "local", "max_workers": 2, "students_per_task": 16}
    config = config_of(student_table(seeds=[1, 2, 3]), cluster=cluster)
    folder, ids = RunFolder(config.folder), [plan.id for plan in student_plans(config)]

    def train() -> list[str]:
        with Workflow(config, Ui(quiet=True), command="fdbpl train") as flow:
            trained: list[str] = flow.train()["trained"]
        return trained

    assert train() == ids
    records = (config.folder / "records" / "train-1").glob("coop*.json")
    assert [unquote(path.stem) for path in records] == [f"{ids[0]}+2"]
    assert train() == []
    before = {student: folder.student(student).record_file.stat().st_mtime_ns for student in ids}
    prompts = folder.student(ids[1]).prompts_file.read_bytes()
    folder.student(ids[1]).record_file.unlink()
    assert train() == [ids[1]]
    after = {student: folder.student(student).record_file.stat().st_mtime_ns for student in ids}
    assert [student for student in ids if after[student] != before[student]] == [ids[1]]
    assert len(folder.student(ids[1]).prompts_file.read_bytes()) == len(prompts)


def test_stopped_students_go_on_whatever_each_has_done(
    config_of: MakeConfig,
    student_table: Callable[..., dict[str, Any]],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between two students' states: some are an epoch behind, one has none."""
    monkeypatch.setattr(train_module, "SECONDS_BETWEEN_STATES", -1.0)
    config = config_of(student_table(seeds=[1, 2, 3, 4], epochs=5, objective="fdbpl"))
    plans, save = student_plans(config), Trainee.save
    saved = 0

    def killed(self: Trainee) -> None:
        nonlocal saved
        if saved == 6:
            raise KeyboardInterrupt
        saved += 1
        save(self)

    monkeypatch.setattr(Trainee, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run_students(config, plans)
    monkeypatch.setattr(Trainee, "save", save)
    RunFolder(config.folder).student(plans[3].id).checkpoint_file.unlink()
    data = load_data(config.data)
    with open_reader(config.store.path) as reader:
        assert len(gather_all(config, plans, data, reader)) == 4
    groups: list[tuple[int, range]] = []
    init = Training.__init__

    def noted(self: Training, trainees: Sequence[Trainee], **given: Any) -> None:
        init(self, trainees, **given)
        groups.append((len(trainees), self.epochs))

    monkeypatch.setattr(Training, "__init__", noted)
    compare(config, config.model_copy(update={"folder": tmp_path / "alone"}))
    caught_up = [(1, range(1)), (2, range(1, 2)), (4, range(2, 5))]
    assert groups == [*caught_up, *[(1, range(5))] * 4], "those behind catch up, then all go on together"


def test_a_device_without_memory_for_all_trains_as_many_as_it_can(
    config_of: MakeConfig,
    student_table: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A device that has memory for two, and finds that out in the third step."""
    config = config_of(student_table(epochs=3, seeds=[1, 2, 3, 4, 5]))
    together, tried = CoOp.texts_together, list[int]()

    def limited(learners: Sequence[CoOp]) -> Any:
        tried.append(len(learners))
        if len(learners) > 2 and tried.count(len(learners)) == 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return together(learners)

    with monkeypatch.context() as patch:
        patch.setattr(CoOp, "texts_together", staticmethod(limited))
        records = run_students(config, student_plans(config))
    assert [record["student"] for record in records] == [plan.id for plan in student_plans(config)]
    # Five, then three and two; of the three again two, and one by itself, which is no pack.
    assert list(dict.fromkeys(tried)) == [5, 3, 2]
    assert "no memory for 5 students together" in caplog.text
    compare(config, config.model_copy(update={"folder": tmp_path / "alone"}))
