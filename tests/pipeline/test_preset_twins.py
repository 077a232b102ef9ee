"""Every table of every preset really trains: its twin has the same learners, objectives, optimisers, batch sizes and
depths, on a small world, with tiny models of as many layers, few images and two epochs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vit_files import vit_files

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.data.exclusions import run_data
from fdbpl.pipeline.data.load import load_data, training_set
from fdbpl.pipeline.presets.preset import PRESETS, preset_values
from fdbpl.pipeline.run_folder import RunFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.students.plan import StudentPlan
from fdbpl.pipeline.training.checkpoint import read_prompts
from fdbpl.pipeline.training.dry_build import check_learners
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.sampling import steps_per_epoch
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.training.student_store import open_store_for

EPOCHS = 2
# The world has four training images a class.
SHOTS = {1: 1, 2: 2, 4: 4, 8: 3, 16: 1}
MODELS = ("ViT-B-16-quickgelu", "ViT-B-32-quickgelu")
# How many students of one seed a preset has.
STUDENTS = {
    "base-to-new": 3,
    "few-shot": 15,
    "cross-dataset": 14,
    "domain-generalisation": 14,
    "methods": 17,
    "tiny": 3,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps as small as these are quickest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """As many layers as ViT-B has, and a hundredth of its size."""
    return vit_files(tmp_path_factory.mktemp("twins"), "twin-vit", image_size=32, layers=12, width=16)


def twin(preset: str, taught: RunConfig, folder: Path, vit: dict[str, str]) -> RunConfig:
    """The preset on the finished small store."""
    values = preset_values(preset)
    tiny = {name: getattr(taught.student[0], name) for name in ("model", "pretrained")}
    for table in values["student"]:
        table |= {**vit, "features": "live"} if table["model"] in MODELS else tiny
        table |= {"epochs": EPOCHS, "seeds": [1]}
        shots = table.get("shots", [16])
        table["shots"] = [SHOTS[number] for number in (shots if isinstance(shots, list) else [shots])]
    values = {key: value for key, value in values.items() if key in ("student", "evaluate")}
    plain = taught.model_dump(mode="json")
    same = {key: plain[key] for key in ("data", "teacher", "crops", "store", "loading")}
    return parse_config({**same, **values, "folder": str(folder)}, base=folder, where=preset)


def assert_it_trains(config: RunConfig, plan: StudentPlan) -> None:
    data = run_data(config)
    with open_store_for(config, [plan], data) as reader:
        learner = gather(config, plan, data, reader if plan.needs_store else None).learner
    start = {name: value.clone() for name, value in learner.state_dict().items()}
    record = run_student(config, plan)
    assert record["steps"] == EPOCHS * steps_per_epoch(len(training_set(data, plan)), plan.config.batch_size)
    learned, _ = read_prompts(RunFolder(config.folder).student(plan.id).prompts_file)
    assert set(learned) == set(start)
    for name, value in learned.items():
        assert value.isfinite().all() and not torch.equal(value, start[name]), (plan.id, name)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "students"), STUDENTS.items())
def test_every_table_trains(preset: str, students: int, taught: RunConfig, tmp_path: Path, vit: dict[str, str]) -> None:
    config = twin(preset, taught, tmp_path / "run", vit)
    plans = student_plans(config)
    assert len(plans) == students
    for plan in plans:
        assert_it_trains(config, plan)


@pytest.mark.parametrize("preset", STUDENTS)
def test_its_own_models_have_a_place_for_its_prompts(preset: str, taught: RunConfig, tmp_path: Path) -> None:
    """Built without weights: the published depths and words suit the published models."""
    own = parse_config(preset_values(preset), base=tmp_path, where=preset)
    plans = [replace(plan, shots=1) for plan in student_plans(own)]
    check_learners(own.model_copy(update={"data": taught.data}), load_data(taught.data), plans)


def test_every_preset_has_a_twin() -> None:
    assert set(STUDENTS) == set(PRESETS)
