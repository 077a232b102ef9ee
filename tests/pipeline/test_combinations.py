"""Online and cached supervision agree for every learner with every objective that follows a teacher.

Each combination takes the same few steps three times: with targets from a store, with the teacher run on the same
views, and with the teacher run one pixel beside them. In every term the first two agree to what float16 labels leave;
the third does not, so a crop that is not the teacher's would be seen.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learner_cases import SMALL, WITH_PIXELS, WITH_TEXT
from shifted import with_shifted_teacher
from vit_files import vit_files

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.pipeline.config import OptimConfig, RunConfig, StudentConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.learners.catalog import LEARNERS
from fdbpl.pipeline.objectives.catalog import OBJECTIVES
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.ingredients import Ingredients
from fdbpl.pipeline.training.optim import make_optimizer
from fdbpl.pipeline.training.steps import step

StudentTable = Callable[..., dict[str, Any]]
STEPS, BATCH = 3, 16
# Of the combinations the farthest are 5e-4 apart, and 5e-3 where the crops are one pixel off.
FARTHEST = 1e-3
# Terms below this are compared as if they were this large: FDBPL's published cascade is rounding noise around zero.
SMALLEST = 1e-3
# Not Adam, whose steps are as large where a gradient is all but zero, so that its rounding would show.
OPTIM = OptimConfig(optimizer="sgd", learning_rate=0.02)

# What is tried of each objective, as options by a name for the test.
FORMS: dict[str, dict[str, dict[str, Any]]] = {
    "pseudo_labels": {"": {}},
    "kdpl": {
        "": {},
        "-forward": {"direction": "forward", "temperature": 2.0, "weights": "informative"},
        "-reverse": {"direction": "reverse", "weights": "shuffled"},
    },
    "kdpl_ca": {"": {"most_classes": 8}},
    "promptkd": {"": {}},
    "fdbpl": {"": {}, "-as_published": {"form": "as_published"}, "-presence": {"form": "presence"}},
}
COMBINATIONS = [
    pytest.param(learner, objective, options, id=f"{learner}-{objective}{form}")
    for objective, forms in FORMS.items()
    for learner in SMALL
    for form, options in forms.items()
    if objective != "fdbpl" or learner in WITH_TEXT
]
Terms = list[dict[str, float]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps as small as these are quickest on one thread, and wait for no other process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the file of a vocabulary."""
    folder = tmp_path_factory.mktemp("combinations")
    (folder / "vocabulary.txt").write_text("".join(f"{color} {shape}\n" for color in COLORS for shape in SHAPES))
    return folder


@pytest.fixture(scope="module")
def vit(folder: Path) -> dict[str, str]:
    """A student with other pixels than the teacher's 48, which are then cut for the teacher alone."""
    return vit_files(folder, "combination-vit", image_size=32)


@pytest.fixture(scope="module")
def reader(taught: RunConfig, student_table: StudentTable, folder: Path) -> Iterator[Reader]:
    """Of one store for all, with labels over the vocabulary too."""
    path = folder / "store.zarr"
    shutil.copytree(taught.store.path, path)
    table = student_table(objective="kdpl_ca", vocabulary=str(folder / "vocabulary.txt"))
    prepare_store(with_students(taught, path, table), grow=True)
    with open_reader(path) as reader:
        yield reader


def with_students(taught: RunConfig, store: Path, table: dict[str, Any]) -> RunConfig:
    """The small run with another store and this table of students."""
    students = (StudentConfig.model_validate(table),)
    return taught.model_copy(update={"store": taught.store.model_copy(update={"path": store}), "student": students})


def terms_of_steps(ingredients: Ingredients, start: dict[str, torch.Tensor]) -> Terms:
    """Each term's mean and the loss, of every step from this start."""
    learner = ingredients.learner
    learner.load_state_dict(start)
    learner.train()
    optimizer = make_optimizer(OPTIM, learner.prompts().values())
    training = ingredients.training
    order = np.random.Generator(np.random.Philox(7))
    found = []
    for number in range(STEPS):
        positions = order.choice(len(training), BATCH, replace=False)
        seeds = np.full(BATCH, number % ingredients.sampler.num_seeds)
        views = ingredients.views(training.image_ids_M[positions], seeds, training.labels_M[positions])
        found.append({name: value.item() for name, value in step(ingredients, optimizer, views).items()})
    return found


def differences(one: Terms, other: Terms) -> dict[str, float]:
    """The largest relative difference of each term."""
    return {
        name: max(abs(a[name] - b[name]) / max(abs(b[name]), SMALLEST) for a, b in zip(one, other, strict=True))
        for name in other[0]
    }


def test_every_combination_is_here() -> None:
    assert set(SMALL) == set(LEARNERS)
    assert set(FORMS) == {name for name, objective in OBJECTIVES.items() if objective.needs == "teacher"}


@pytest.mark.parametrize(("learner", "objective", "options"), COMBINATIONS)
def test_online_and_cached_agree(
    learner: str,
    objective: str,
    options: dict[str, Any],
    taught: RunConfig,
    reader: Reader,
    folder: Path,
    vit: dict[str, str],
    student_table: StudentTable,
) -> None:
    table = student_table(
        learner=learner,
        objective=objective,
        learner_options={learner: SMALL[learner]},
        objective_options={objective: options},
        vocabulary=str(folder / "vocabulary.txt") if objective == "kdpl_ca" else "",
        **({**vit, "features": "live"} if learner in WITH_PIXELS else {"pretrained": taught.student[0].pretrained}),
    )
    config = with_students(taught, reader.path, table)
    (plan,) = student_plans(config)
    data = load_data(config.data)
    cached = gather(config, plan, data, reader)
    online = replace(gather(config, replace(plan, supervision="online"), data, reader), learner=cached.learner)
    start = {name: value.clone() for name, value in cached.learner.state_dict().items()}
    expected = terms_of_steps(online, start)
    apart = differences(terms_of_steps(cached, start), expected)
    assert max(apart.values()) < FARTHEST, apart
    shifted = with_shifted_teacher(online, config, reader)
    apart = differences(terms_of_steps(shifted, start), expected)
    assert apart["loss"] > FARTHEST, apart
