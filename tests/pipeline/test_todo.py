"""What is missing of each step, asked of the results, at every state of a run."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.evaluation.record import has_test_features
from fdbpl.pipeline.evaluation.record import test_passes as evaluated_models
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.labels.features import feature_block
from fdbpl.pipeline.labels.teach import prepare_store, teach_block
from fdbpl.pipeline.run import todo
from fdbpl.pipeline.run.results import is_current, read_results, write_results
from fdbpl.pipeline.run.state import CONFIG_VARIABLE, GROW_VARIABLE
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import plan_by_id
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.slurm.chain import Todo

MakeConfig = Callable[..., RunConfig]
BLOCKS = ("0.0", "0.1", "1.0", "1.1", "2.0", "2.1")


def ask(step: str, config: RunConfig, *, grow: bool = False, name: str = "") -> Todo:
    """What is missing of a step, as a chain asks; `name` is the step's own, where that says more."""
    found: Todo = getattr(todo, step)(config.folder, environment(config, grow=grow), name or step)
    return found


def environment(config: RunConfig, *, grow: bool = False) -> dict[str, str]:
    saved = {CONFIG_VARIABLE: str(RunFolder(config.folder).save(config))}
    return {**saved, GROW_VARIABLE: "1"} if grow else saved


def finish(step: str, config: RunConfig, *, grow: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = getattr(todo, f"finish_{step}")(config.folder, environment(config, grow=grow), step)
    return found


def quietly(done: int, total: int) -> None:
    """Progress that nobody watches."""


def file_of_block(config: RunConfig, array: str, block: str) -> Path:
    return config.store.path / array / f"c.{block}.0"


@pytest.fixture
def begun(make_config: MakeConfig) -> RunConfig:
    """A run whose store is made, with no block in it."""
    config = make_config()
    prepare_store(config)
    return config


@pytest.fixture
def sealed(make_config: MakeConfig, taught: RunConfig) -> RunConfig:
    """A run with its own copy of a store that is finished, student features too."""
    config = make_config()
    shutil.copytree(taught.store.path, config.store.path)
    return config


def test_where_nothing_is_there_everything_is_missing(make_config: MakeConfig) -> None:
    config = make_config()
    (campaign,) = feature_campaigns(config)
    assert ask("prepare", config) == Todo(total=1, missing=("store",), is_finished=False)
    for step in ("teach", "teach_for_features"):
        assert ask(step, config) == Todo(total=6, missing=BLOCKS, is_finished=False)
    missing = tuple(f"{campaign}@{block}" for block in BLOCKS)
    assert ask("features", config) == Todo(total=6, missing=missing, is_finished=False)
    assert ask("test_features", config) == Todo(total=2, missing=tuple(evaluated_models(config)), is_finished=False)
    assert ask("train", config, name="train-1").missing == ("coop-kdpl-cached-seed1",)
    assert ask("report", config) == Todo(total=1, missing=("report",), is_finished=False)
    assert not config.store.path.exists(), "asking makes nothing"


def test_stages_of_students_are_told_apart(make_config: MakeConfig, student_table: Any) -> None:
    tables = [student_table(name="a", seeds=[1, 2]), student_table(name="b", starts_from="a", seeds=[1, 2])]
    config = make_config(student=tables)
    for stage, name in ((1, "a"), (2, "b")):
        found = ask("train", config, name=f"train-{stage}")
        assert found.missing == tuple(f"{name}-coop-kdpl-cached-seed{seed}" for seed in (1, 2))


def test_a_store_with_some_blocks(begun: RunConfig) -> None:
    assert ask("prepare", begun) == Todo(total=1, missing=(), is_finished=True)
    assert ask("teach", begun).missing == BLOCKS
    for block in BLOCKS[:2]:
        teach_block(begun, block, quietly)
    for step in ("teach", "teach_for_features"):
        assert ask(step, begun) == Todo(total=6, missing=BLOCKS[2:], is_finished=False)


def test_a_step_is_finished_once_it_is_closed(begun: RunConfig) -> None:
    (campaign,) = feature_campaigns(begun)
    for block in BLOCKS:
        teach_block(begun, block, quietly)
    assert ask("teach", begun) == Todo(total=6, missing=(), is_finished=False)
    assert finish("teach", begun) == {"damaged": []}
    assert ask("teach", begun) == Todo(total=6, missing=(), is_finished=True)
    assert not ask("teach_for_features", begun).is_finished, "the students' features are not begun"
    assert finish("teach_for_features", begun) == {"damaged": [], "begun": [campaign]}
    assert ask("teach_for_features", begun).is_finished
    assert ask("features", begun).missing == tuple(f"{campaign}@{block}" for block in BLOCKS)
    for block in BLOCKS:
        feature_block(begun, campaign, block, quietly)
    assert ask("features", begun) == Todo(total=6, missing=(), is_finished=False)
    assert finish("features", begun) == {"damaged": []}
    assert ask("features", begun) == Todo(total=6, missing=(), is_finished=True)


def test_a_damaged_block_is_withdrawn_and_missing_again(begun: RunConfig) -> None:
    for block in BLOCKS:
        teach_block(begun, block, quietly)
    path = file_of_block(begun, "teacher/logits", "1.1")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    assert ask("teach", begun) == Todo(total=6, missing=(), is_finished=False), "its size is right"
    told = finish("teach_for_features", begun)
    assert "begun" not in told
    assert len(told["damaged"]) == 1
    assert "c.1.1" in told["damaged"][0]
    assert ask("teach", begun) == Todo(total=6, missing=("1.1",), is_finished=False)
    teach_block(begun, "1.1", quietly)
    assert finish("teach", begun) == {"damaged": []}
    assert ask("teach", begun).is_finished


def test_a_file_that_is_lost_after_the_seal_is_missing_again(sealed: RunConfig) -> None:
    (campaign,) = feature_campaigns(sealed)
    for step in ("teach", "teach_for_features", "features"):
        assert ask(step, sealed).is_finished
    file_of_block(sealed, "teacher/logits", "2.0").unlink()
    for step in ("teach", "teach_for_features"):
        assert ask(step, sealed) == Todo(total=6, missing=("2.0",), is_finished=False)
    assert ask("features", sealed).is_finished
    teach_block(sealed, "2.0", quietly)
    assert finish("teach", sealed) == {"damaged": []}
    assert ask("teach", sealed).is_finished
    next((sealed.store.path / campaign).rglob("c.0.1.0")).unlink()
    assert ask("features", sealed).missing == (f"{campaign}@0.1",)


def test_a_run_that_grows_lacks_only_what_is_new(make_config: MakeConfig, shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "world", tmp_path / "world")
    split_file = tmp_path / "world" / "split_world.json"
    split = json.loads(split_file.read_text())

    def world(step: int, seeds: int) -> RunConfig:
        """A run on every so many of the images: 32 or 64 of them, in blocks of 32."""
        split_file.write_text(json.dumps({**split, "train": split["train"][::step]}))
        pieces = {"images_per_block": 32, "seeds_per_block": 2}
        config = make_config(crops={"seeds": seeds}, store=pieces)
        return config.model_copy(update={"data": config.data.model_copy(update={"folder": tmp_path / "world"})})

    first = world(4, 4)
    prepare_store(first)
    for block in ask("teach", first).missing:
        teach_block(first, block, quietly)
    finish("teach_for_features", first)
    (campaign,) = feature_campaigns(first)
    old = ("0.0", "0.1")

    def features(*blocks: str) -> set[str]:
        return {f"{campaign}@{block}" for block in blocks}

    assert ask("prepare", first, grow=True).is_finished
    for step, seeds, blocks in ((2, 4, ("1.0", "1.1")), (4, 6, ("0.2",)), (2, 6, ("0.2", "1.0", "1.1", "1.2"))):
        more = world(step, seeds)
        assert ask("prepare", more).is_finished, "that the store lacks something is refused elsewhere"
        assert ask("prepare", more, grow=True).missing == ("store",)
        assert ask("teach", more, grow=True) == Todo(total=2 + len(blocks), missing=blocks, is_finished=False)
        assert set(ask("features", more, grow=True).missing) == features(*old, *blocks)

    prepare_store(more, grow=True)
    assert ask("prepare", more, grow=True).is_finished
    assert ask("teach", more, grow=True) == ask("teach", more) == Todo(total=6, missing=blocks, is_finished=False)
    for block in blocks:
        teach_block(more, block, quietly)
    assert finish("teach_for_features", more, grow=True)["begun"] == [campaign]
    assert ask("teach_for_features", more, grow=True) == Todo(total=6, missing=(), is_finished=True)
    assert set(ask("features", more).missing) == features(*old, *blocks)


def test_test_features_are_made_anew_for_other_images_or_weights(make_config: MakeConfig, taught: RunConfig) -> None:
    config = make_config().model_copy(update={"store": taught.store})
    teacher, student = evaluated_models(config)
    write_test_features(config, teacher, quietly)
    assert ask("test_features", config) == Todo(total=2, missing=(student,), is_finished=False)
    write_test_features(config, student, quietly)
    assert ask("test_features", config) == Todo(total=2, missing=(), is_finished=True)
    bf16 = config.model_copy(update={"teacher": config.teacher.model_copy(update={"precision": "bf16"})})
    assert len(ask("test_features", bf16).missing) == 1
    own = evaluated_models(config)[teacher]
    data = own.load_data()
    assert has_test_features(own, data)
    assert not has_test_features(own, replace(data, test=data.train)), "they are of other images"


def test_a_report_is_stale_once_a_student_is_trained_anew(make_config: MakeConfig, taught: RunConfig) -> None:
    config = make_config().model_copy(update={"store": taught.store})
    (student,) = ask("train", config, name="train-1").missing
    assert read_results(config) == {}
    for model in evaluated_models(config):
        write_test_features(config, model, quietly)
    write_results(config)
    assert ask("report", config).is_finished
    assert read_results(config)["unfinished"] == [student]

    run_student(config, plan_by_id(config, student), quietly)
    assert ask("train", config, name="train-1") == Todo(total=1, missing=(), is_finished=True)
    assert ask("report", config).missing == ("report",)
    write_results(config)
    assert read_results(config)["unfinished"] == []
    assert ask("report", config).is_finished
    elsewhere = config.cluster.model_copy(update={"max_workers": 7})
    assert is_current(config.model_copy(update={"cluster": elsewhere})), "where tasks ran changes no result"

    record = RunFolder(config.folder).student(student).record_file
    record.write_text(record.read_text().replace('"final_loss"', '"first_loss"'))
    assert not is_current(config)
    write_results(config)
    os.utime(next((config.folder / "features").iterdir()), (1, 1))
    assert not is_current(config)
    write_results(config)
    (config.folder / "report.md").unlink()
    assert not is_current(config)


def test_a_store_is_asked_for_its_blocks_and_not_the_config(sealed: RunConfig, make_config: MakeConfig) -> None:
    """A config with other pieces goes on with the store's own."""
    other = make_config(store={"images_per_block": 7, "seeds_per_block": 1})
    assert ask("teach", other) == Todo(total=6, missing=(), is_finished=True)
    assert open_store(sealed.store.path).campaign("teacher").is_sealed
