"""Live pixels are cut ahead of the step that needs them, and change nothing but the time."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.loading.windows import Pixels
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.train import train
from fdbpl.pipeline.training.trainee import Trainee, TrainingLog
from fdbpl.pipeline.training.views import ViewSource


@pytest.fixture
def train_live(
    taught: RunConfig, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> Callable[[str], TrainingLog]:
    def run(supervision: str) -> TrainingLog:
        config = make_config(student=[student_table(features="live", supervision=supervision, epochs=2)])
        config = config.model_copy(update={"store": taught.store})
        (plan,) = student_plans(config)
        with open_reader(taught.store.path) as reader:
            trainee = Trainee(ingredients=gather(config, plan, load_data(config.data), reader), config=plan.config)
            train([trainee])
        return trainee.log

    return run


@pytest.mark.parametrize("supervision", ["cached", "online"])
def test_cutting_ahead_trains_the_same_student(
    supervision: str, train_live: Callable[[str], TrainingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    bring = ViewSource.bring

    def told(self: ViewSource, *batch: np.ndarray) -> Any:
        threads.append(threading.current_thread().name)
        return bring(self, *batch)

    monkeypatch.setattr(ViewSource, "bring", told)
    ahead = train_live(supervision)
    assert len(threads) == ahead.steps and all(name.startswith("fdbpl-ahead") for name in threads)
    monkeypatch.setattr(ViewSource, "ahead", 0)
    assert train_live(supervision).epochs == ahead.epochs
    assert len(threads) == 2 * ahead.steps


def test_an_unreadable_image_ends_the_training_where_it_is_met(
    train_live: Callable[[str], TrainingLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Pixels, *views: Any) -> torch.Tensor:
        raise ValueError("1 of 2 images cannot be read")

    monkeypatch.setattr(Pixels, "__call__", broken)
    with pytest.raises(ValueError, match="cannot be read"):
        train_live("cached")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fdbpl-ahead")]


def test_both_halves_give_features_of_the_pixels(
    taught: RunConfig, make_config: Callable[..., RunConfig], student_table: Callable[..., dict[str, Any]]
) -> None:
    config = make_config(student=[student_table(features="live")]).model_copy(update={"store": taught.store})
    (plan,) = student_plans(config)
    with open_reader(taught.store.path) as reader:
        source = gather(config, plan, load_data(config.data), reader).source
        ids = np.arange(4)
        brought = source.bring(ids, ids % 2, ids)
        assert brought.features_BD is None and brought.pixels_BCHW is not None
        views = source.complete(brought)
    assert views.features_BD is not None and views.pixels_BCHW is not None
    assert torch.equal(views.pixels_BCHW, brought.pixels_BCHW)
    torch.testing.assert_close(views.features_BD.norm(dim=1), torch.ones(4))
