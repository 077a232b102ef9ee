"""A store of those images alone that the run's students learn from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data, training_set
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.run.submit import Submission
from fdbpl.pipeline.run.workflow import Workflow
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.plan import list_plans

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


def workflow(config: RunConfig) -> Workflow:
    return Workflow(config, Ui(quiet=True), command="fdbpl train run.toml")


def drawn(config: RunConfig) -> set[str]:
    data = load_data(config.data)
    plans = list_plans(config)
    return {data.train.paths[image] for plan in plans for image in training_set(data, plan).image_ids_M}


def learned(config: RunConfig) -> list[dict[str, Any]]:
    files = [RunFolder(config.folder).student(plan.id).prompts_file for plan in list_plans(config)]
    return [{name: value.tolist() for name, value in load_file(file).items()} for file in files]


def test_students_learn_the_same_from_their_images_alone(
    make_config: MakeConfig, student_table: StudentTable, taught: RunConfig, tmp_path: Path
) -> None:
    tables = [student_table(objective="fdbpl", shots=1, seeds=[1, 2])]
    part = make_config(student=tables, store={"images": "students", "images_per_block": 9})
    whole = part.model_copy(update={"folder": tmp_path / "whole", "store": taught.store})
    images = drawn(part)
    assert 16 < len(images) < 32, "two subsets of one image of each of 16 classes"
    assert workflow(part).teach()["views_computed"] == len(images) * 4
    workflow(part).features()
    for config in (part, whole):
        workflow(config).train()
    with open_reader(part.store.path) as reader:
        assert set(reader.images.paths) == images
    assert learned(part) == learned(whole)


def test_other_students_let_it_grow(make_config: MakeConfig, student_table: StudentTable) -> None:
    store = {"images": "students", "images_per_block": 8}
    few = make_config(student=[student_table(shots=1)], store=store)
    more = make_config(student=[student_table(shots=1), student_table(name="two", shots=2)], store=store)
    assert workflow(few).teach()["views_computed"] == 16 * 4
    new = len(drawn(more)) - 16
    with pytest.raises(ValueError, match=f"training images: {new} are not in it"):
        workflow(more).teach()
    assert workflow(more).teach(grow=True)["views_computed"] == new * 4
    assert workflow(few).teach()["views_computed"] == 0, "whoever asks for fewer finds them"


def test_the_plan_counts_those_images(write_config: Callable[..., Path], student_table: StudentTable) -> None:
    path = write_config(student=[student_table(shots=1)], store={"images": "students"})
    units = {step["step"]: step["units"] for step in Submission.read(path).plan([], measure=False)["steps"]}
    assert (units["prepare"], units["teach"], units["features"]) == (16, 64, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": []}, "found no \\[\\[student\\]\\] table"),
        ({"bad_images": "exclude"}, 'found data.bad_images = "exclude"'),
    ],
)
def test_what_makes_no_sense_is_refused(make_config: MakeConfig, changes: dict[str, Any], message: str) -> None:
    data = {"name": "world", "folder": "world", "split": "split_world.json"}
    bad = {"bad_images": changes.pop("bad_images")} if "bad_images" in changes else {}
    with pytest.raises(ValueError, match=message):
        make_config(store={"images": "students"}, data=data | bad, **changes)
