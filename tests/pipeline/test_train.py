"""Training by itself: it learns, it can be stopped at any epoch, and it tells of a loss that is not finite."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data, training_set
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training import train as train_module
from fdbpl.pipeline.training.checkpoint import load_state, save_state
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.training.train import train
from fdbpl.pipeline.training.trainee import Trainee, TrainingLog

MakeConfig = Callable[..., RunConfig]
StudentTable = Callable[..., dict[str, Any]]


class Stopped(Exception):
    """Stands for a death between two epochs."""


@pytest.fixture
def run_training(taught: RunConfig, make_config: MakeConfig, student_table: StudentTable, tmp_path: Path) -> Any:
    """Trains an fdbpl student; `stop_at` ends it after that many steps. Returns its log and prompts."""
    config = make_config(student=[student_table(objective="fdbpl", epochs=6)])
    config = config.model_copy(update={"store": taught.store})
    plan = student_plans(config)[0]

    def run(stop_at: int | None = None) -> tuple[TrainingLog, dict[str, torch.Tensor]]:
        def watch(done: int, total: int) -> None:
            if done == stop_at:
                raise Stopped

        with open_reader(taught.store.path) as reader:
            ingredients = gather(config, plan, load_data(config.data), reader)
            trainee = Trainee(ingredients=ingredients, config=plan.config, state_file=tmp_path / "state.pt")
            train([trainee], watch)
        return trainee.log, {name: value.detach().clone() for name, value in ingredients.learner.prompts().items()}

    return run


def test_the_loss_falls(run_training: Any) -> None:
    log, _ = run_training()
    assert log.steps == 12
    assert set(log.epochs[0]) == {"agreement", "rejection", "separation", "ranking", "loss"}
    assert log.epochs[-1]["agreement"] < log.epochs[0]["agreement"]


@pytest.mark.parametrize("stop_at", [2, 6, 10])
def test_a_stopped_training_ends_bit_identical(
    stop_at: int, run_training: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(train_module, "SECONDS_BETWEEN_STATES", -1.0)  # a state after every epoch
    whole, prompts = run_training()
    (tmp_path / "state.pt").unlink()
    with pytest.raises(Stopped):
        run_training(stop_at)
    resumed, resumed_prompts = run_training()
    assert resumed.epochs == whole.epochs
    assert resumed.steps == whole.steps
    assert {name: torch.equal(value, resumed_prompts[name]) for name, value in prompts.items()} == {
        "positive": True,
        "negative": True,
    }


def test_a_loss_that_is_not_finite_stops_the_student(
    taught: RunConfig, make_config: MakeConfig, student_table: StudentTable
) -> None:
    table = student_table(epochs=3, optim={"optimizer": "sgd", "learning_rate": 1e30, "warmup_epochs": 0})
    config = make_config(student=[table]).model_copy(update={"store": taught.store})
    plan = student_plans(config)[0]
    with open_reader(taught.store.path) as reader:
        trainee = Trainee(ingredients=gather(config, plan, load_data(config.data), reader), config=plan.config)
        train([trainee])
    assert "expected finite ones: lower optim.learning_rate (now 1e+30)" in trainee.failure
    with pytest.raises(FloatingPointError, match=f"student {plan.id}: found a loss of nan"):
        run_student(config, plan)


def test_training_sets_are_few_shot_of_the_base_half(taught: RunConfig, student_table: StudentTable) -> None:
    data = load_data(taught.data)
    section = taught.student[0]
    plan = replace(student_plans(taught)[0], seed=3)
    training = training_set(data, plan)
    assert len(training) == 16 * 2
    assert sorted(set(training.labels_M.tolist())) == list(range(16))
    assert [data.train.labels[i] for i in training.image_ids_M] == training.labels_M.tolist()
    everything = training_set(data, replace(plan, config=section.model_copy(update={"classes": "all"}), shots=0))
    assert len(everything) == 128
    assert len(everything.class_names) == 32


def test_a_state_of_another_config_or_a_broken_one_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path, {"seed": 1}) is None
    save_state(path, {"identity": json.dumps({"seed": 1}), "log": "{}"})
    assert load_state(path, {"seed": 1}) is not None
    assert load_state(path, {"seed": 2}) is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_state(path, {"seed": 1}) is None
    assert "the student begins anew" in caplog.text
