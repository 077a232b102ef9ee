"""A store that grows with its run: more images, more seeds, other class names; what is there is not computed again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdbpl.cache_layout.errors import CacheError, ManifestMismatch
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.soft_labels import NoSuchLabels
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.workflow import Workflow

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def workflow(config: RunConfig) -> Workflow:
    return Workflow(config, Ui(quiet=True), command="fdbpl train run.toml")


@pytest.fixture
def small_config(make_config: MakeConfig, shared: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Configs on the test's own copy of the world, whose train split is cut and whose classes are renamed at will."""
    shutil.copytree(shared / "world", tmp_path / "world")
    whole = json.loads((tmp_path / "world/split_world.json").read_text())

    def make(images: slice, rename: Callable[[str], str] = str, **changes: Any) -> RunConfig:
        split = {name: [[path, label, rename(word)] for path, label, word in rows] for name, rows in whole.items()}
        split["train"] = split["train"][images]
        (tmp_path / "world/split_world.json").write_text(json.dumps(split))
        config = make_config(**changes)
        return config.model_copy(update={"data": config.data.model_copy(update={"folder": tmp_path / "world"})})

    return make


def labels_by_path(config: RunConfig) -> dict[tuple[str, int], np.ndarray]:
    with open_reader(config.store.path, campaigns=["teacher"]) as reader:
        planes = [reader.read_plane("teacher/embedding", seed) for seed in range(reader.num_seeds)]
        return {
            (path, seed): plane[number]
            for seed, plane in enumerate(planes)
            for number, path in enumerate(reader.images.paths)
        }


def test_more_images_and_seeds(small_config: Callable[..., RunConfig], student_table: StudentTable) -> None:
    tables = [student_table(objective="kdpl", shots=1, classes="all", epochs=5)]
    first = small_config(slice(0, 128, 2), student=tables)
    assert workflow(first).teach()["views_computed"] == 64 * 4
    assert list(workflow(first).features()["views_computed"].values()) == [64 * 4]
    before = labels_by_path(first)
    assert len(workflow(first).train()["trained"]) == 1

    more = small_config(slice(None), student=tables, crops={"seeds": 6})
    with pytest.raises(ValueError) as caught:
        workflow(more).teach()
    said = str(caught.value)
    assert "training images: 64 are not in it (" in said and "crops.seeds: found 4 in it, expected 6" in said
    assert "class names" not in said and "`fdbpl teach CONFIG --grow`" in said
    with pytest.raises(ValueError, match="holds less than the config asks for"):
        workflow(more).features()
    assert workflow(more).teach(grow=True)["views_computed"] == 128 * 6 - 64 * 4
    assert workflow(more).teach(grow=True)["views_computed"] == workflow(more).teach()["views_computed"] == 0
    after = labels_by_path(more)
    assert len(after) == 128 * 6
    assert all(np.array_equal(after[view], row) for view, row in before.items())

    with pytest.raises(CacheError, match=r"has features of fdbpl-tiny-student for 64 images and 4 seeds, expected"):
        workflow(more).train()
    assert list(workflow(more).features()["views_computed"].values()) == [128 * 6 - 64 * 4]
    assert len(workflow(more).train()["trained"]) == 1, "another student: it sees other images"

    anew = small_config(slice(None), student=tables, crops={"seeds": 6}, store={"path": "anew.zarr"})
    workflow(anew).teach()
    made_at_once = labels_by_path(anew)
    assert made_at_once.keys() == after.keys()
    apart = max(float(np.abs(after[view].astype(np.float32) - made_at_once[view]).max()) for view in after)
    assert apart < 2e-3, "an image's labels do not depend on when it came"


def test_a_student_finds_its_images_by_their_paths(
    small_config: Callable[..., RunConfig], student_table: StudentTable
) -> None:
    """The same images in another order are other positions of the split, and the same rows of the store."""
    tables = [student_table(objective="kdpl", shots=0, classes="all", epochs=1, batch_size=128)]
    config = small_config(slice(None), student=tables)
    workflow(config).teach()
    workflow(config).features()
    losses = []
    for images, name in ((slice(None), "forwards"), (slice(None, None, -1), "backwards")):
        turned = small_config(images, student=[{**tables[0], "name": name}])
        assert workflow(turned).teach()["views_computed"] == 0
        workflow(turned).train()
        record = next((turned.folder / "students").glob(f"{name}*/record.json"))
        losses.append(json.loads(record.read_text())["final_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_other_class_names(small_config: Callable[..., RunConfig], student_table: StudentTable) -> None:
    tables = [student_table(objective="kdpl")]
    config = small_config(slice(None), student=tables)
    workflow(config).teach()
    workflow(config).features()
    renamed = small_config(slice(None), rename=lambda name: f"small {name}", student=tables)
    with pytest.raises(ValueError, match=r"class names: teacher/logits: class list 'all' lacks 32 of them: 'small "):
        workflow(renamed).teach()
    assert workflow(renamed).teach(grow=True)["views_computed"] == 0
    assert len(workflow(renamed).train()["trained"]) == 1
    with open_reader(renamed.store.path) as reader:
        assert len(reader.class_lists) == 2


def test_what_cannot_be_added(small_config: Callable[..., RunConfig], student_table: StudentTable) -> None:
    config = small_config(slice(None), student=[], store={"labels": ["logits"], "seeds_per_block": 4})
    workflow(config).teach()
    renamed = small_config(slice(None), rename=lambda name: f"small {name}", student=[], store={"labels": ["logits"]})
    with pytest.raises(NoSuchLabels, match="teacher/embedding: not in the store"):
        workflow(renamed).teach(grow=True)
    for seeds, message in ((6, "in blocks of 4, expected multiples"), (8, "")):
        more = small_config(slice(None), student=[], store={"labels": ["logits"]}, crops={"seeds": seeds})
        if message:
            with pytest.raises(ValueError, match=message):
                workflow(more).teach(grow=True)
        else:
            assert workflow(more).teach(grow=True)["views_computed"] == 128 * 4
    other = small_config(slice(None), student=[], teacher={**config.teacher.model_dump(), "templates": ["a {}."]})
    with pytest.raises(ManifestMismatch, match=r"classes.all.templates"):
        workflow(other).teach(grow=True)
