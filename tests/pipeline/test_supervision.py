"""Online and cached supervision must agree: the same student, seed and views, one with the teacher in every step."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data import load_data
from fdbpl.pipeline.labels_manifest import CLASS_LIST, class_columns
from fdbpl.pipeline.loading.decoder import make_decoder
from fdbpl.pipeline.optim import make_optimizer
from fdbpl.pipeline.student_run import gather
from fdbpl.pipeline.students import StudentPlan, student_plans
from fdbpl.pipeline.supervision import OnlineTeacher, StoredTeacher
from fdbpl.pipeline.teach import image_root
from fdbpl.pipeline.train import Ingredients, step
from fdbpl.pipeline.windows import ComputedWindows, Pixels, StoredWindows, Windows

StudentTable = Callable[..., dict[str, Any]]
STEPS, BATCH = 20, 16


class Shifted:
    """Windows one pixel to the left, where there is room."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def __call__(self, images_B: np.ndarray, seeds_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes_B4, flips_B = self._windows(images_B, seeds_B)
        boxes_B4 = boxes_B4.copy()
        boxes_B4[:, 1] -= np.where(boxes_B4[:, 1] > 0, 1, 0)
        return boxes_B4, flips_B


def losses(ingredients: Ingredients, plan: StudentPlan) -> list[float]:
    """The loss of each of 20 steps over all crop seeds."""
    ingredients = replace(ingredients, learner=copy.deepcopy(ingredients.learner))
    optimizer = make_optimizer(plan.config.optim, ingredients.learner.prompts().values())
    order = np.random.Generator(np.random.Philox(7))
    values = []
    for number in range(STEPS):
        positions = order.choice(len(ingredients.training), BATCH, replace=False)
        seeds = np.full(BATCH, number % ingredients.num_seeds)
        values.append(step(ingredients, optimizer, positions, seeds)["loss"].item())
    return values


@pytest.fixture
def reader(taught: RunConfig) -> Any:
    with open_reader(taught.store.path) as reader:
        yield reader


def plan_of(taught: RunConfig, table: dict[str, Any], base: Any) -> tuple[RunConfig, StudentPlan]:
    config = base(student=[table])
    config = config.model_copy(update={"store": taught.store})
    return config, student_plans(config)[0]


def relative_difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("objective", "features"), [("kdpl", "stored"), ("kdpl", "live"), ("fdbpl", "stored")])
def test_online_and_cached_agree_over_twenty_steps(
    objective: str, features: str, taught: RunConfig, reader: Reader, make_config: Any, student_table: StudentTable
) -> None:
    table = student_table(objective=objective, features=features)
    config, cached = plan_of(taught, table, make_config)
    data = load_data(config.data)
    ingredients = gather(config, cached, data, reader)
    online = gather(config, replace(cached, supervision="online"), data, reader)
    assert isinstance(ingredients.supervision, StoredTeacher)
    assert isinstance(online.supervision, OnlineTeacher)
    assert relative_difference(losses(ingredients, cached), losses(online, cached)) < 1e-3


def test_a_window_shifted_by_one_pixel_is_noticed(
    taught: RunConfig, reader: Reader, make_config: Any, student_table: StudentTable
) -> None:
    """The same comparison with the online teacher's windows one pixel off: it must not pass."""
    config, plan = plan_of(taught, student_table(objective="kdpl"), make_config)
    data = load_data(config.data)
    cached = gather(config, plan, data, reader)
    online = gather(config, replace(plan, supervision="online"), data, reader)
    assert isinstance(online.supervision, OnlineTeacher)
    shifted = Pixels(make_decoder("torchvision"), image_root(config), reader.images, Shifted(StoredWindows(reader)))
    online.supervision._pixels = shifted
    assert relative_difference(losses(cached, plan), losses(online, plan)) > 1e-3


def test_stored_windows_are_the_policys_own(taught: RunConfig, reader: Reader) -> None:
    images = np.repeat(np.arange(reader.num_images), reader.num_seeds)
    seeds = np.tile(np.arange(reader.num_seeds), reader.num_images)
    stored_boxes, stored_flips = StoredWindows(reader)(images, seeds)
    boxes, flips = ComputedWindows(taught.crops.policy(48), reader.images)(images, seeds)
    assert np.array_equal(stored_boxes, boxes)
    assert np.array_equal(stored_flips, flips)


def test_columns_are_found_by_name_in_any_order(taught: RunConfig, reader: Reader) -> None:
    names = load_data(taught.data).class_names
    stored = reader.class_list(CLASS_LIST)
    assert class_columns(stored, [names[5], names[0]], "here").tolist() == [5, 0]
    with pytest.raises(ValueError, match=r"1 of 2 classes .*'polka dot'"):
        class_columns(stored, [names[0], "polka dot"], "here")


def test_a_subset_out_of_order_reads_its_own_columns(taught: RunConfig, reader: Reader) -> None:
    names = load_data(taught.data).class_names
    teacher = StoredTeacher(reader, [names[3], names[1]], torch.device("cpu"))
    from fdbpl.pipeline.values import Views

    ids = torch.tensor([2, 9])
    logits = teacher.targets(Views(image_ids_B=ids, seeds_B=torch.tensor([0, 3]), labels_B=ids)).teacher()
    expected = reader.read("teacher/logits", [2, 9], [0, 3])[:, [3, 1]]
    assert np.array_equal(logits.numpy(), expected.astype(np.float32))
