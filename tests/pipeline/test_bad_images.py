"""The policy of bad images in a run: an error that names all, or excluded, listed, and told of wherever it counts."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import CONTENTS, write_bad

from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig, StudentConfig
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.data.load import training_set
from fdbpl.pipeline.datasets.data_set import DataSet, Split
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.labels.store_info import store_info
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.loading.decoder import UnreadableImages
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.errors import StageFailed
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.weights import model_key

MakeConfig = Callable[..., RunConfig]
Run = Callable[..., subprocess.CompletedProcess[str]]
StudentTable = Callable[..., dict[str, Any]]


class HeardUi(Ui):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def workflow(config: RunConfig) -> Workflow:
    return Workflow(config, HeardUi(), command="fdbpl train run.toml")


def said(flow: Workflow) -> str:
    assert isinstance(flow.ui, HeardUi)
    return "\n".join(flow.ui.lines)


class OwnWorld:
    """A test's own copy of the world, whose images go bad and whose training split is cut at will."""

    def __init__(self, folder: Path, shared: Path, make_config: MakeConfig) -> None:
        self.folder, self._make = folder, make_config
        shutil.copytree(shared / "world", folder)
        self._whole = json.loads((folder / "split_world.json").read_text())
        self.train = [path for path, _, _ in self._whole["train"]]
        self.test = [path for path, _, _ in self._whole["test"]]

    def break_image(self, path: str, kind: str) -> None:
        """Let an image become a bad file of a kind of `bad_files`."""
        (self.folder / "images" / kind).unlink(missing_ok=True)
        assert write_bad(self.folder / "images" / kind)
        (self.folder / "images" / kind).replace(self.folder / "images" / path)

    def config(self, policy: str, num_train: int = 128, **changes: Any) -> RunConfig:
        split = {**self._whole, "train": self._whole["train"][:num_train]}
        (self.folder / "split_world.json").write_text(json.dumps(split))
        config = self._make(**changes)
        data = config.data.model_copy(update={"folder": self.folder, "bad_images": policy})
        return config.model_copy(update={"data": data})


@pytest.fixture
def world(tmp_path: Path, shared: Path, make_config: MakeConfig) -> Iterator[OwnWorld]:
    yield OwnWorld(tmp_path / "world", shared, make_config)


def test_a_run_that_excludes_bad_images(world: OwnWorld, student_table: StudentTable, call: Run) -> None:
    train = {world.train[0]: "empty.jpg", world.train[50]: "cut at half of the scan.jpg", world.train[54]: "huge.png"}
    tests = {world.test[3]: "noise.jpg", world.test[40]: "flipped bit.png"}
    for path, kind in {**train, **tests}.items():
        world.break_image(path, kind)
    tables = [
        student_table(name="stored", shots=3),
        student_table(name="live", shots=3, objective="cross_entropy", supervision="hard", features="live"),
    ]
    config = world.config("exclude", student=tables)
    flow = workflow(config)
    taught = flow.teach()
    assert taught["views"] == taught["views_computed"] == 125 * 4 and taught["images_excluded"] == 3
    assert f"3 of 128 training images cannot be read and are excluded: `fdbpl cache info {config.store.path}" in said(
        flow
    )
    with open_reader(config.store.path, campaigns=["teacher"]) as reader:
        assert list(reader.images.paths) == [path for path in world.train if path not in train]
        assert [path for path, _ in reader.images.excluded] == list(train)
    told = store_info(config.store.path)["excluded"]
    assert [entry["path"] for entry in told] == list(train)
    assert told[0]["reason"] == "the file is empty" and "3,600,000,000 pixels" in told[2]["reason"]

    assert (
        "3 images cannot be read and are excluded: --json lists them"
        in call("cache", "info", str(config.store.path)).stdout
    )

    flow = workflow(config)
    assert flow.teach()["views_computed"] == 0, "what is excluded does not count as missing"
    assert "3 of 128 training images cannot be read" in said(flow)
    flow.features()
    flow.train()
    assert "train: 3 of 128 training images are excluded" in said(flow)
    data = run_data(config)
    assert (len(data.train), list(data.excluded.paths)) == (125, list(train))
    for student in ("stored-coop-kdpl-cached-seed1", "live-coop-cross_entropy-hard-seed1"):
        record = json.loads(RunFolder(config.folder).student(student).record_file.read_text())
        assert record["images_excluded"] == 3
        assert record["identity"]["images"] == data.train.digest

    results = flow.evaluate()
    assert results["test_images"] == len(world.test) - 2
    assert [entry["path"] for entry in results["test_images_excluded"]] == list(tests)
    assert results["train_images_excluded"] == 3
    report = RunFolder(config.folder).report_file.read_text()
    assert "2 of 64 test images cannot be read and are left out. 3 training images cannot be read" in report

    strict = world.config("error", student=tables)
    for refused in (workflow(strict).teach, lambda: workflow(strict).teach(grow=True), workflow(strict).train):
        with pytest.raises(ValueError) as caught:
            refused()
        assert 'data.bad_images = "error": found 3 of the training images excluded by the store at ' in str(
            caught.value
        )
        assert f"{world.train[0]}: the file is empty" in str(caught.value)
        assert 'set data.bad_images = "exclude" to go on without them, or mend them' in str(caught.value)
    with pytest.raises(UnreadableImages, match="2 of 64 images cannot be read"):
        write_test_features(strict, model_key(strict.teacher), lambda done, total: None)


def test_a_store_that_grows_excludes_more(world: OwnWorld) -> None:
    world.break_image(world.train[10], "empty.jpg")
    world.break_image(world.train[100], "noise.jpg")
    world.break_image(world.train[127], "text.jpg")
    workflow(world.config("exclude", 96)).teach()
    for num_train, excluded, views in ((127, [10, 100], 30 * 4), (128, [10, 100, 127], 0)):
        config = world.config("exclude", num_train)
        with pytest.raises(ValueError, match=f"training images: {32 - 1 if views else 1} are not in it"):
            workflow(config).teach()
        flow = workflow(config)
        assert flow.teach(grow=True)["views_computed"] == views
        assert f"{len(excluded)} of {num_train} training images cannot be read and are excluded" in said(flow)
        store = open_store(config.store.path)
        assert store.is_sealed
        assert [path for path, _ in store.images.excluded] == [world.train[image] for image in excluded]
        for again in (False, True):
            assert workflow(config).teach(grow=again)["views_computed"] == 0
    assert store.grid.image_counts == (95, 30, 0)


def test_an_error_names_every_bad_image_and_makes_nothing(world: OwnWorld) -> None:
    broken = dict(zip(range(0, 128, 4), CONTENTS, strict=False))
    for image, kind in broken.items():
        world.break_image(world.train[image], kind)
    config = world.config("error")
    with pytest.raises(UnreadableImages) as caught:
        workflow(config).teach()
    assert [bad.index for bad in caught.value.images] == list(broken)
    message = str(caught.value)
    assert 'mend or remove them, or set data.bad_images = "exclude"' in message
    assert all(world.train[image] in message for image in broken)
    assert not config.store.path.exists()
    listed = RunFolder(config.folder).bad_images_file.read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == [
        str(world.folder / "images" / world.train[image]) for image in broken
    ]


@pytest.mark.parametrize("policy", ["error", "exclude"])
def test_images_that_go_bad_after_the_scan_stop_their_task(world: OwnWorld, policy: str) -> None:
    """Whatever the policy: the store promises these images. The other blocks are kept."""
    config = world.config(policy, store={"images_per_block": 32, "seeds_per_block": 4}, loading={"batch_size": 64})
    flow = workflow(config)
    prepare_store(config)
    for image, kind in ((70, "empty.jpg"), (72, "cut at last byte.jpg"), (75, "noise.jpg")):
        world.break_image(world.train[image], kind)
    with pytest.raises(StageFailed) as caught:
        flow.teach()
    assert {record.task_id for record in caught.value.unfinished} == {"2.0"}
    assert all(f"image {image} (" in str(caught.value) for image in (70, 72, 75))
    assert "3 of 16 images cannot be read" in str(caught.value)
    assert [block.id for block in open_store(config.store.path).missing_blocks("teacher")] == ["2.0"]


@pytest.mark.parametrize("policy", ["error", "exclude"])
def test_a_run_without_a_readable_image_is_an_error(world: OwnWorld, policy: str) -> None:
    for path in world.train[:4]:
        (world.folder / "images" / path).write_bytes(b"")
    config = world.config(policy, 4, store={"images_per_block": 2})
    with pytest.raises(UnreadableImages, match="4 of 4 images cannot be read"):
        workflow(config).teach()
    assert not config.store.path.exists()


def test_students_without_a_store_name_bad_images(world: OwnWorld, student_table: StudentTable) -> None:
    """Which images are left out is told by a store; without one nothing is."""
    tables = [student_table(objective="cross_entropy", supervision="hard", features="live", shots=0, classes="all")]
    world.break_image(world.train[9], "empty.jpg")
    with pytest.raises(StageFailed) as caught:
        workflow(world.config("exclude", student=tables)).train()
    assert f"image 9 ({world.folder / 'images' / world.train[9]}) cannot be read: the file is empty" in str(
        caught.value
    )
    assert "let `fdbpl teach CONFIG` make the store, which excludes them" in str(caught.value)


SIX = DataSet(
    name="six",
    root=Path(),
    class_names=("ox", "ant"),
    train=Split(paths=tuple("abcdef"), labels=(0, 0, 0, 1, 1, 1)),
    val=Split(paths=(), labels=()),
    test=Split(paths=(), labels=()),
)


def student(shots: int, seed: int = 1) -> StudentPlan:
    table = StudentConfig(model="m", pretrained="p", classes="all", shots=(shots,))
    choices = {"learner": "coop", "objective": "kdpl", "supervision": "cached"}
    return StudentPlan(config=table, shots=shots, seed=seed, **choices)


def test_few_shot_images_are_drawn_from_what_is_left() -> None:
    left = SIX.without({"b", "f", "unknown"})
    assert left.train == Split(paths=("a", "c", "d", "e"), labels=(0, 0, 1, 1))
    assert left.excluded == Split(paths=("b", "f"), labels=(0, 1))
    assert SIX.without({"unknown"}) is SIX
    by_hand = DataSet(**{**vars(SIX), "train": left.train})
    for seed in range(5):
        drawn = training_set(left, student(shots=2, seed=seed))
        assert np.array_equal(drawn.image_ids_M, training_set(by_hand, student(shots=2, seed=seed)).image_ids_M)
        assert sorted(drawn.image_ids_M.tolist()) == [0, 1, 2, 3]


def test_a_class_with_too_few_images_left_is_told_of() -> None:
    with pytest.raises(
        ValueError,
        match=r"class 1 has 1; set shots to 1 at most, .* \(2 images that cannot be read are exclud",
    ):
        training_set(SIX.without({"d", "e"}), student(shots=2, seed=1))
    for shots in (0, 2):
        with pytest.raises(
            ValueError, match=r"1 classes without a training image: class 0 has 0 \(3 images that cannot"
        ):
            training_set(SIX.without({"a", "b", "c"}), student(shots=shots, seed=1))
    with pytest.raises(ValueError, match=r"class 1 has 3; set shots to 3 at most, or to 0 for all images$"):
        training_set(SIX, student(shots=4, seed=1))
