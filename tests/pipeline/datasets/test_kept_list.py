"""Folders are listed by the command that begins work and by none of its tasks; subsets are kept in the run's folder."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import Tree, picture

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.data.kept_list import with_kept_list
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.labels.teach import prepare_store, teach_block
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.submit import Submission
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder, saved_config
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.student_run import run_student

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pets(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "pets", picture(tmp_path / "picture.jpg"))
    for name in ("cat", "St. Bernard"):
        for number in range(4):
            tree.image(f"{name}/{number}.jpg")
    return tree


def config_of(tmp_path: Path, folder: Path) -> RunConfig:
    values = {
        "folder": "run",
        "data": {"name": "pets", "folder": str(folder)},
        "teacher": {"model": "ViT-L-14", "pretrained": "openai"},
    }
    return parse_config(values, base=tmp_path, where="test")


def test_tasks_read_the_list_of_their_command(pets: Tree, tmp_path: Path) -> None:
    config = config_of(tmp_path, pets.folder)
    listed = load_data(config.data)
    first = Workflow(config, Ui(quiet=True), command="").config
    task = saved_config(RunFolder(config.folder).save(first))
    assert load_data(task.data) == listed
    assert (task.data.layout, task.data.images, task.data.template) == ("split_json", ".", "a photo of a {}.")

    pets.image("cat/9.jpg")
    shutil.rmtree(pets.folder / "St. Bernard")
    assert load_data(task.data) == listed, "a task that waits has its own list"
    later = with_kept_list(config)
    assert load_data(later.data).class_names == ("cat",)
    assert load_data(later.data) == load_data(config.data)
    assert later.data.split != task.data.split
    assert len(list((config.folder / "data").iterdir())) == 2
    assert with_kept_list(config) == later, "the same folders give the same list"
    assert len(list((config.folder / "data").iterdir())) == 2


def test_a_list_that_is_kept_is_not_listed_again(pets: Tree, tmp_path: Path) -> None:
    config = with_kept_list(config_of(tmp_path, pets.folder))
    shutil.rmtree(pets.folder)
    pets.folder.mkdir()
    assert with_kept_list(config) == config
    assert len(load_data(config.data).train) == 6


@pytest.mark.parametrize("name", ["imagenet", "imagenetv2"])
def test_imagenet_is_the_same_from_its_list(name: str, trees: Path, read_section: Callable[..., RunConfig]) -> None:
    config = read_section(f'name = "{name}"', f'folder = "{trees / name}"')
    kept = with_kept_list(config)
    assert load_data(kept.data) == load_data(config.data)
    assert Path(kept.data.split).parent == config.folder / "data"


def test_lists_of_files_are_left_alone(trees: Path, read_section: Callable[..., RunConfig]) -> None:
    for name in ("eurosat", "fgvc_aircraft"):
        config = read_section(f'name = "{name}"', f'folder = "{trees / name}"')
        assert with_kept_list(config) == config
    assert not config.folder.exists()


def test_a_run_on_class_folders_by_commands(tmp_path: Path, call: Run, write_config: Any) -> None:
    """`plan` lists, and what is taught is on its list."""
    path = write_config(data={"name": "shapes", "folder": "", "images": "images"}, crops={"seeds": 1}, student=[])
    planned = json.loads(call("plan", "run.toml", "--json").stdout)
    assert planned["steps"][0]["units"] == 128, "4 of the 6 images of each of 32 classes"
    (kept,) = (tmp_path / "run" / "data").iterdir()
    config = Submission.read(path).config
    assert (config.data.layout, config.data.split) == ("split_json", str(kept))
    store = prepare_store(config)
    blocks = store.missing_blocks("teacher")
    assert teach_block(config, blocks[0].id, lambda done, total: None) == 48
    data = load_data(config.data)
    assert store.images.paths == data.train.paths
    assert (len(data.class_names), data.class_names[0]) == (32, "black_heart")


def test_a_student_keeps_its_subset(make_config: MakeConfig, student_table: StudentTable) -> None:
    table = student_table(objective="cross_entropy", supervision="hard", features="live", epochs=1, seeds=[1, 2])
    config = make_config(student=[table], crops={"seeds": 1})
    first, second = student_plans(config)
    run_student(config, first)
    path = config.folder / "few_shot" / "shot_2-seed_1.json"
    entries = json.loads(path.read_text())["train"]
    assert len(entries) == 64
    assert entries[0] == ["red_circle/train_0001.jpg", 0, "red circle"]
    path.write_text("{}")
    run_student(config, first)
    assert path.read_text() == "{}", "a finished student writes nothing"
    run_student(config, second)
    assert len(json.loads((config.folder / "few_shot" / "shot_2-seed_2.json").read_text())["train"]) == 64
    again = config.model_copy(
        update={"data": config.data.model_copy(update={"few_shot": str(path).replace("_1.", "_{seed}.")})}
    )
    path.write_text(json.dumps({"train": entries}))
    run_student(again, student_plans(again)[0])
    assert json.loads(path.read_text())["train"] == entries


def test_a_test_set_cannot_be_trained_on(
    trees: Path, tmp_path: Path, call: Run, read_section: Callable[..., RunConfig]
) -> None:
    read_section('name = "imagenet_a"', f'folder = "{trees / "imagenet-adversarial"}"')
    for command in ("plan", "teach"):
        answer = call(command, "run.toml")
        assert answer.returncode == 2
        assert "imagenet_a: found no training image, expected some: it has 200 test images only" in answer.stderr


def test_shards_of_class_folders_bring_a_split_file(
    pets: Tree, tmp_path: Path, call: Run, read_section: Callable[..., RunConfig]
) -> None:
    before = load_data(read_section('name = "pets"', 'folder = "pets"').data)
    made = call("data", "shards", "run.toml", "shards", "--json")
    assert made.returncode == 0, made.stderr
    setting = json.loads(made.stdout)["setting"]
    assert 'layout = "split_json"' in setting
    after = load_data(read_section('name = "pets"', 'folder = "pets"', *setting.splitlines()).data)
    assert (after.train, after.val, after.test, after.class_names) == (
        *(before.train, before.val, before.test),
        before.class_names,
    )
    assert call("data", "check", "run.toml").returncode == 0
