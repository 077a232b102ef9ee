"""The main job in small, on the local pool: complete, idempotent, and refusing what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image, ImageOps
from safetensors import safe_open

from fdbpl.cache_layout.errors import CacheError, ManifestMismatch, UnsealedStore
from fdbpl.cache_layout.reader import open_reader
from fdbpl.cache_layout.soft_labels import NoSuchLabels
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.evaluation.features import write_test_features
from fdbpl.pipeline.labels.feature_names import feature_array
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.loading.decoder import UnreadableImages
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.errors import StageFailed
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder, saved_config
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.weights import model_key

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def workflow(config: RunConfig) -> Workflow:
    return Workflow(config, Ui(quiet=True), command="fdbpl train run.toml")


def sharing_store(config: RunConfig, taught: RunConfig) -> RunConfig:
    return config.model_copy(update={"store": taught.store})


def own_world(make_config: MakeConfig, shared: Path, tmp_path: Path, image: int) -> tuple[RunConfig, Path]:
    """A config on the test's own copy of the world, and the file of a training image of it."""
    if not (tmp_path / "world").exists():
        shutil.copytree(shared / "world", tmp_path / "world")
    config = make_config()
    config = config.model_copy(update={"data": config.data.model_copy(update={"folder": tmp_path / "world"})})
    train = json.loads((tmp_path / "world" / "split_world.json").read_text())["train"]
    return config, tmp_path / "world" / "images" / train[image][0]


def test_the_whole_job_and_then_nothing_more_to_do(
    make_config: MakeConfig, student_table: StudentTable, shared: Path
) -> None:
    tables = [
        student_table(objective=["kdpl", "fdbpl"]),
        student_table(objective="cross_entropy", supervision="hard", features="live"),
    ]
    flow = workflow(make_config(student=tables))
    assert flow.teach()["views_computed"] == 128 * 4
    assert list(flow.features()["views_computed"].values()) == [128 * 4]
    assert len(flow.train()["trained"]) == 3
    results = flow.evaluate()
    assert [student["id"] for student in results["students"]] == [
        "coop-kdpl-cached-seed1",
        "coop-fdbpl-cached-seed1",
        "coop-cross_entropy-hard-seed1",
    ]
    assert results["unfinished"] == []
    assert set(results["zero_shot"]) == {"teacher", "teacher_labels", "student", "student_start"}
    teacher = results["zero_shot"]["teacher"]
    assert min(teacher["base"], teacher["new"]) > 90, "new images are told apart among the new names"
    report = Path(results["report"]).read_text()
    assert all(student["method"] in report for student in results["students"])

    assert flow.teach()["views_computed"] == 0
    assert list(flow.features()["views_computed"].values()) == [0]
    assert flow.train()["trained"] == []
    assert flow.evaluate()["students"] == results["students"]


def test_both_prompts_are_saved_with_fingerprint_and_config(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    config = sharing_store(make_config(student=[student_table(objective="fdbpl")]), taught)
    plan = student_plans(config)[0]
    run_student(config, plan)
    with safe_open(RunFolder(config.folder).student(plan.id).prompts_file, framework="np") as file:
        facts = json.loads(file.metadata()["fdbpl"])
        assert sorted(file.keys()) == ["negative", "positive"]
    with open_reader(taught.store.path) as reader:
        assert facts["fingerprint"] == reader.manifest.fingerprint
    assert facts["config"]["teacher"]["model"] == "fdbpl-tiny-teacher"


def test_plain_zarr_reads_what_the_reader_reads(taught: RunConfig) -> None:
    group = zarr.open_group(taught.store.path, mode="r")
    with open_reader(taught.store.path) as reader:
        assert sorted(reader.arrays) == [
            "crop/box",
            "crop/flip",
            feature_array(taught.student[0]),
            "teacher/embedding",
            "teacher/logits",
        ]
        images = np.repeat(np.arange(reader.num_images), reader.num_seeds)
        seeds = np.tile(np.arange(reader.num_seeds), reader.num_images)
        for name in reader.arrays:
            rows = reader.read(name, images, seeds)
            array = group[name]
            assert isinstance(array, zarr.Array)
            assert np.array_equal(rows.reshape(reader.shape(name)), array[...])


def test_a_changed_student_is_trained_anew_and_others_are_kept(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    config = sharing_store(make_config(student=[student_table(seeds=[1, 2])]), taught)
    assert len(workflow(config).train()["trained"]) == 2
    changed = sharing_store(make_config(student=[student_table(seeds=[1, 2, 3])]), taught)
    assert workflow(changed).train()["trained"] == ["coop-kdpl-cached-seed3"]
    longer = sharing_store(make_config(student=[student_table(seeds=[1, 2, 3], epochs=3)]), taught)
    assert len(workflow(longer).train()["trained"]) == 3


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"crops": {"seeds": 4, "scale": [0.5, 1.0]}}, ["crops.scale"]),
        (
            {"teacher": {"model": "fdbpl-tiny-student", "pretrained": "models/student.safetensors"}},
            ["teacher.model", "teacher.source", "classes.all.templates"],
        ),
    ],
)
def test_a_store_of_other_settings_is_refused_field_by_field(
    changes: dict[str, Any], fields: list[str], taught: RunConfig, make_config: MakeConfig
) -> None:
    config = sharing_store(make_config(**changes), taught)
    for refuse in (workflow(config).teach, workflow(config).train):
        with pytest.raises(ManifestMismatch) as caught:
            refuse()
        assert [difference.field for difference in caught.value.differences] == fields


def test_a_seed_beyond_the_store_is_refused(taught: RunConfig, make_config: MakeConfig) -> None:
    config = sharing_store(make_config(crops={"seeds": 5}), taught)
    with pytest.raises(ValueError, match=r"crops.seeds: found 4 in it, expected 5"):
        workflow(config).teach()
    with pytest.raises(ValueError, match="found 5, expected at most 4"):
        workflow(config).train()


def test_a_store_of_other_class_names_is_refused_by_name(
    taught: RunConfig, make_config: MakeConfig, shared: Path, tmp_path: Path
) -> None:
    """The same images under another name of one class: every label would be silently wrong."""
    shutil.copytree(shared / "world", tmp_path / "world", copy_function=shutil.copy)
    split = tmp_path / "world" / "split_world.json"
    split.write_text(split.read_text().replace("red circle", "scarlet circle"))
    config = sharing_store(make_config(), taught)
    config = config.model_copy(update={"data": config.data.model_copy(update={"folder": tmp_path / "world"})})
    for refuse in (workflow(config).teach, workflow(config).features, workflow(config).train):
        with pytest.raises((ValueError, NoSuchLabels), match="lacks 1 of them: 'scarlet circle'"):
            refuse()
    assert not config.folder.exists(), "no task was started"


def test_a_student_refuses_a_store_that_is_not_sealed(make_config: MakeConfig) -> None:
    config = make_config()
    prepare_store(config)
    with pytest.raises(UnsealedStore, match="missing blocks"):
        run_student(config, student_plans(config)[0])
    for refuse in (workflow(config).features, workflow(config).train):
        with pytest.raises(UnsealedStore):
            refuse()
    assert not (config.folder / "students").exists()
    assert list(open_store(config.store.path).campaigns) == ["teacher"]


def test_a_student_before_any_store_says_what_to_run(make_config: MakeConfig) -> None:
    with pytest.raises(CacheError, match="fdbpl teach"):
        workflow(make_config()).train()


def test_an_image_that_breaks_after_the_scan_is_named_and_the_others_are_unharmed(
    make_config: MakeConfig, shared: Path, tmp_path: Path
) -> None:
    """Cut short between scan and pass: path and index, the blocks of others complete; restored, it goes on."""
    config, bad = own_world(make_config, shared, tmp_path, 100)
    prepare_store(config)
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    with pytest.raises(StageFailed) as caught:
        workflow(config).teach()
    assert f"image 100 ({bad})" in str(caught.value)
    assert caught.value.exit_code == 2
    assert {record.task_id for record in caught.value.unfinished} == {"2.0", "2.1"}
    bad.write_bytes(content)
    assert workflow(config).teach()["views_computed"] == 32 * 4  # the last block of images alone


def test_unreadable_images_are_all_named_and_nothing_is_written(
    make_config: MakeConfig, shared: Path, tmp_path: Path
) -> None:
    config, noise = own_world(make_config, shared, tmp_path, 3)
    _, short = own_world(make_config, shared, tmp_path, 70)
    noise.write_bytes(b"no image")
    short.write_bytes(short.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"image 3 \(") as caught:
        workflow(config).teach()
    assert f"image 70 ({short}) cannot be read: image file is truncated" in str(caught.value)
    assert {path.name for path in config.folder.iterdir()} == {"scan", "bad-images.tsv"}


def test_an_image_replaced_since_the_labels_were_made_is_noticed(
    make_config: MakeConfig, shared: Path, tmp_path: Path
) -> None:
    """Another image of the same size under its name: its features would belong to other labels."""
    config, replaced = own_world(make_config, shared, tmp_path, 50)
    workflow(config).teach()
    with Image.open(replaced) as image:
        ImageOps.invert(image).save(replaced, quality=90)
    with pytest.raises(StageFailed, match=r"image 50 \(.*its content is not what it was"):
        workflow(config).features()


def test_an_unreadable_test_image_is_named_by_its_place_in_the_split(
    make_config: MakeConfig, shared: Path, tmp_path: Path
) -> None:
    shutil.copytree(shared / "world", tmp_path / "world")
    config = make_config(loading={"device": "cpu", "batch_size": 16})
    config = config.model_copy(update={"data": config.data.model_copy(update={"folder": tmp_path / "world"})})
    images = json.loads((tmp_path / "world" / "split_world.json").read_text())["test"]
    (tmp_path / "world" / "images" / images[20][0]).write_bytes(b"no image")
    with pytest.raises(UnreadableImages) as caught:
        write_test_features(config, model_key(config.student[0]), lambda done, total: None)
    assert [bad.index for bad in caught.value.images] == [20]


def test_two_precisions_of_one_model_are_two_models(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    tables = [student_table(), student_table(name="half", precision="bf16", features="live")]
    config = sharing_store(make_config(student=tables), taught)
    flow = workflow(config)
    flow.train()
    results = flow.evaluate()
    assert [student["id"] for student in results["students"]] == [
        "coop-kdpl-cached-seed1",
        "half-coop-kdpl-cached-seed1",
    ]
    keys = [model_key(table) for table in config.student]
    assert [f"student {key}" in results["zero_shot"] for key in keys] == [True, True]


def test_tasks_keep_the_config_that_they_were_submitted_with(taught: RunConfig, make_config: MakeConfig) -> None:
    """A stage that waits in a queue must not be changed by the next command."""
    config = sharing_store(make_config(), taught)
    folder = RunFolder(config.folder)
    first = folder.save(config)
    second = folder.save(config.model_copy(update={"crops": config.crops.model_copy(update={"seeds": 2})}))
    assert saved_config(first) == config
    assert saved_config(second).crops.seeds == 2
    assert folder.save(config) == first
