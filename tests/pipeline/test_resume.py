"""A student that is stopped at any epoch, or killed at any moment, ends with the prompts that it would have had."""

import json
import os
import random
import resource
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from learner_cases import SMALL, WITH_PIXELS
from vit_files import vit_files

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.run_folder import RunFolder, StudentFolder
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training import train as train_module
from fdbpl.pipeline.training.checkpoint import read_prompts
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.student_run import run_student
from fdbpl.pipeline.training.train import train
from fdbpl.pipeline.training.trainee import Trainee, TrainingLog

MakeConfig = Callable[..., RunConfig]
EPOCHS = 4
KILLS = 10


class Stopped(Exception):
    """Stands for a death between two epochs."""


@pytest.fixture(autouse=True)
def a_state_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "SECONDS_BETWEEN_STATES", -1.0)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return vit_files(tmp_path_factory.mktemp("resume"), "resume-vit", image_size=32)


@pytest.fixture
def config_of(
    taught: RunConfig,
    make_config: MakeConfig,
    student_table: Callable[..., dict[str, Any]],
    vit: dict[str, str],
) -> MakeConfig:
    """Makes a config with one student of a learner, with changes to its table."""

    def make(learner: str, **changes: Any) -> RunConfig:
        model = {**vit, "features": "live"} if learner in WITH_PIXELS else {}
        options = SMALL[learner] | changes.pop("options", {})
        table = student_table(learner=learner, learner_options={learner: options}, **model, **changes)
        return make_config(student=[table]).model_copy(update={"store": taught.store})

    return make


def trained(config: RunConfig, state_file: Path, stop_at: int | None = None) -> tuple[TrainingLog, dict[str, Any]]:
    """What a training ends with; it is stopped when that many steps are done."""
    (plan,) = student_plans(config)

    def watch(done: int, total: int) -> None:
        if done == stop_at:
            raise Stopped

    with open_reader(config.store.path) as reader:
        ingredients = gather(config, plan, load_data(config.data), reader)
        trainee = Trainee(ingredients=ingredients, config=plan.config, state_file=state_file)
        train([trainee], watch)
    return trainee.log, {name: value.clone() for name, value in ingredients.learner.state_dict().items()}


@pytest.mark.parametrize(
    ("learner", "changes"),
    [
        ("promptsrc", {"options": {"average_mean": 2.0, "average_sd": 2.0}}),
        ("promptkd", {"objective": "promptkd"}),
        ("cocoop", {"objective": "fdbpl"}),
        ("coop", {"objective": "fdbpl", "views": "curriculum"}),
        ("coop", {"views": "informative", "importance": True}),
    ],
)
def test_stopped_after_any_epoch_it_ends_bit_identical(
    learner: str, changes: dict[str, Any], config_of: MakeConfig, tmp_path: Path
) -> None:
    config = config_of(learner, epochs=EPOCHS, **changes)
    whole, expected = trained(config, tmp_path / "whole.pt")
    for epoch in range(1, EPOCHS + 1):
        state_file = tmp_path / f"stopped-{epoch}.pt"
        with pytest.raises(Stopped):
            trained(config, state_file, stop_at=2 * epoch)
        # The stop came before that epoch's state was written; there is one from the second epoch on.
        assert state_file.exists() == (epoch > 1)
        resumed, found = trained(config, state_file)
        assert (resumed.epochs, resumed.steps) == (whole.epochs, 2 * EPOCHS)
        assert {name: torch.equal(value, expected[name]) for name, value in found.items()} == dict.fromkeys(found, True)


def student_of(config: RunConfig) -> None:
    """The whole of a student, as a task runs it."""
    torch.set_num_threads(1)
    (plan,) = student_plans(config)
    run_student(config, plan)


def started(config: RunConfig) -> BaseProcess:
    """A process with that student. It is forked and shares the loaded model, so that kills do not fall into imports."""
    child = get_context("fork").Process(target=student_of, args=(config,))
    child.start()
    return child


def cpu_seconds(child: BaseProcess) -> float:
    """What a process has computed so far: whatever else the machine does, a moment in it is the same one."""
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def folder_of(config: RunConfig) -> StudentFolder:
    return RunFolder(config.folder).student(student_plans(config)[0].id)


def epochs_done(folder: StudentFolder) -> int:
    """Of the state that a student has left."""
    if not folder.checkpoint_file.exists():
        return 0
    return len(json.loads(torch.load(folder.checkpoint_file, weights_only=True)["log"])["epochs"])


@pytest.mark.slow
def test_ten_kills_leave_the_same_prompts(config_of: MakeConfig, tmp_path: Path, tell: Callable[[str], None]) -> None:
    config = config_of("promptkd", objective="promptkd", views="curriculum", epochs=100)
    undisturbed, killed = (config.model_copy(update={"folder": tmp_path / name}) for name in ("undisturbed", "killed"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    started(undisturbed).join()
    lasted = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    moments = random.Random(2)
    folder = folder_of(killed)
    during, done = 0, [0]
    for _ in range(KILLS):
        assert not folder.record_file.exists(), "the student was finished before all kills were made"
        # Ten of these are less than the whole, of which each attempt's start is a twentieth.
        moment = moments.uniform(0, lasted / 7)
        child = started(killed)
        while child.exitcode is None and cpu_seconds(child) < moment:
            child.join(0.001)
        child.kill()
        child.join()
        during += child.exitcode == -signal.SIGKILL
        done.append(epochs_done(folder))
    last = started(killed)
    last.join()
    tell(f"\n{KILLS} kills of a student, {during} while it ran; epochs kept after each: {done[1:]} of 100")
    assert (last.exitcode, during) == (0, KILLS)
    assert len(set(done)) > 2 and done[-1] < 100, "kills fell into the training, and it went on from its states"
    expected, found = (read_prompts(folder_of(one).prompts_file)[0] for one in (undisturbed, killed))
    assert {name: torch.equal(value, expected[name]) for name, value in found.items()} == dict.fromkeys(expected, True)
    assert folder.metrics_file.read_bytes() == folder_of(undisturbed).metrics_file.read_bytes()
