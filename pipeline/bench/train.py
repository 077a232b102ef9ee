"""`fdbpl bench train`: students' steps as the field publishes them, beside ours, each saving by itself.

Every way is the real loop on the same views: online asks teacher and image encoder in every step and runs the text
tower over all positions; then labels come from the store, then features, then text prompts are packed. That all learn
the same is checked by their first epoch's loss before anything is timed. Weights are random: speed does not depend on
them.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fdbpl.cache_layout.reader import Reader, open_reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.bench.class_words import class_words
from fdbpl.pipeline.bench.decode import make_images
from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.peak_memory import growth_bytes
from fdbpl.pipeline.bench.teacher import run_pass
from fdbpl.pipeline.bench.turns import Rates, take_turns
from fdbpl.pipeline.clip.backbone import random_checkpoint
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.labels.features import begin_features, feature_block
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.learners.catalog import learner_entry
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.gather import gather
from fdbpl.pipeline.training.train import Training
from fdbpl.pipeline.training.trainee import Trainee
from fdbpl.pipeline.versions import installed
from fdbpl.pipeline.whole_file import replace_json

ONLINE, LABELS, FEATURES, TEXTS = "online", "cached labels", "cached features", "packed text tower"
# Each way has what the one before it has, and one thing more.
WAYS: dict[str, dict[str, str]] = {
    ONLINE: {"supervision": "online", "features": "live", "text_tower": "plain"},
    LABELS: {"supervision": "cached", "features": "live", "text_tower": "plain"},
    FEATURES: {"supervision": "cached", "features": "stored", "text_tower": "plain"},
    TEXTS: {"supervision": "cached", "features": "stored", "text_tower": "packed"},
}
# Stored labels are of float16; the part by which a loss may differ for that.
_SAME = 2e-3
# For how many students the whole is told, teacher and feature passes included.
_STUDENTS = (1, 10, 100)


@dataclass(frozen=True, kw_only=True)
class TrainParameters:
    """What is measured.

    Attributes:
        student, teacher: open_clip models.
        learner, objectives: what is learned, and by which losses.
        num_classes, batch_size: of a step.
        num_steps: of an epoch.
        num_seeds: crops of each image.
        size: (width, height) of the images.
        device: auto, cpu or cuda.
        precision: arithmetic of both models.
        seconds: of a way in a round, at least one epoch.
        num_rounds: in each, every way has its turn.
    """

    student: str = "ViT-B-32"
    teacher: str = "ViT-L-14"
    learner: str = "coop"
    objectives: tuple[str, ...] = ("kdpl", "fdbpl")
    num_classes: int = 100
    batch_size: int = 32
    num_steps: int = 1
    num_seeds: int = 2
    size: tuple[int, int] = (500, 375)
    device: str = "auto"
    precision: str = "fp32"
    seconds: float = 5.0
    num_rounds: int = 2


def bench_train(parameters: TrainParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure every way in turns; everything is put into `folder`.

    Returns:
        machine, parameters, passes (seconds of the teacher and the feature pass over all views); results: a list of
        {name, objective, steps_per_s, views_per_s, ratio_to_online, peak_memory_bytes}; whole: of {objective, students,
        ratio_to_online}, where every student takes each stored view once, and the passes are paid for.

    Raises:
        ValueError: an unknown model or learner, or ways that do not learn the same.
    """
    config = _config(parameters, folder)
    with ui.bar("teacher and feature pass", "passes") as on_progress:
        passes = {"teacher": _seconds(lambda: _teach(config))}
        on_progress(1, 2)
        passes["features"] = _seconds(lambda: _features(config))
        on_progress(2, 2)
    results, whole = [], []
    for objective in parameters.objectives:
        with ExitStack() as stack:
            reader = stack.enter_context(open_reader(config.store.path))
            ways = _ways(config, objective, reader)
            for way in ways.values():
                stack.callback(way.close)
            memory = _check_and_warm_up(ways, parameters)
            with ui.bar(f"measure {objective}", "turns") as on_progress:
                rates = take_turns(
                    {name: way.epoch for name, way in ways.items()},
                    seconds=parameters.seconds,
                    num_rounds=parameters.num_rounds,
                    on_progress=on_progress,
                )
        results += [_row(rates, name, objective, parameters, memory[name]) for name in ways]
        whole += _whole(rates, objective, parameters, sum(passes.values()))
    device = choose_device(parameters.device)
    return {
        "machine": machine(installed(("torch", "open_clip_torch")), folder, device),
        "threads": torch.get_num_threads(),
        "parameters": asdict(parameters),
        "passes": {name: round(seconds, 3) for name, seconds in passes.items()},
        "results": results,
        "whole": whole,
    }


class _Way:
    """A student that trains on and on in one of the ways."""

    def __init__(self, trainees: Sequence[Trainee]) -> None:
        self._trainees, self._training = trainees, Training(trainees)

    def epoch(self) -> int:
        """One epoch; its steps, of all students."""
        self._training.epoch()
        return len(self._trainees) * self._training.steps_per_epoch

    @property
    def first_loss(self) -> float:
        """Of the first student."""
        return self._trainees[0].log.epochs[0]["loss"]

    def close(self) -> None:
        self._training.close()


def _ways(config: RunConfig, objective: str, reader: Reader) -> dict[str, _Way]:
    data = load_data(config.data)
    ways = {}
    for plan in student_plans(config):
        if plan.objective == objective:
            trainee = Trainee(ingredients=gather(config, plan, data, reader), config=plan.config)
            ways[plan.config.name.replace("_", " ")] = _Way([trainee])
    return ways


def _check_and_warm_up(ways: dict[str, _Way], parameters: TrainParameters) -> dict[str, int]:
    """Each way's first epoch: the memory that it took at most, in bytes. Raises ValueError where losses differ."""
    memory = {}
    for name, way in ways.items():
        if choose_device(parameters.device) == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            way.epoch()
            memory[name] = torch.cuda.max_memory_allocated() - before
        else:
            memory[name] = growth_bytes(way.epoch)
    expected = ways[ONLINE].first_loss
    for name, way in ways.items():
        if abs(way.first_loss - expected) > _SAME * max(1.0, abs(expected)):
            raise ValueError(
                f"{name}: found a loss of {way.first_loss} in the first epoch, expected {expected} (online)"
            )
    return memory


def _row(rates: Rates, name: str, objective: str, parameters: TrainParameters, memory: int) -> dict[str, Any]:
    return {
        "name": name,
        "objective": objective,
        "steps_per_s": round(rates.rate(name), 4),
        "views_per_s": round(rates.rate(name) * parameters.batch_size, 2),
        "ratio_to_online": round(rates.ratio(name, ONLINE), 2),
        "peak_memory_bytes": memory,
    }


def _whole(rates: Rates, objective: str, parameters: TrainParameters, passes: float) -> list[dict[str, Any]]:
    steps = parameters.num_steps * parameters.num_seeds
    ours, online = (steps / rates.rate(name) for name in (TEXTS, ONLINE))
    return [
        {
            "objective": objective,
            "students": students,
            "ratio_to_online": round(students * online / (passes + students * ours), 2),
        }
        for students in _STUDENTS
    ]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _teach(config: RunConfig) -> None:
    prepare_store(config)
    run_pass(config)


def _features(config: RunConfig) -> None:
    begin_features(config)
    for campaign in feature_campaigns(config):
        for block in open_store(config.store.path).missing_blocks(campaign):
            feature_block(config, campaign, block.id, lambda done, total: None)
        seal(config.store.path, campaign)


def _config(parameters: TrainParameters, folder: Path) -> RunConfig:
    """A run on test images with one table for each way; a test list names the classes that no image is of."""
    names = class_words(parameters.num_classes)
    paths = make_images(folder / "data" / "images", parameters.size, parameters.batch_size * parameters.num_steps)
    entries = [[path.name, number % len(names), names[number % len(names)]] for number, path in enumerate(paths)]
    others = [[paths[0].name, label, name] for label, name in enumerate(names)]
    replace_json(folder / "data" / "split.json", {"train": entries, "val": [], "test": others})
    needs_features = "features" in learner_entry(parameters.learner).needs
    student = {
        "model": parameters.student,
        "pretrained": str(random_checkpoint(parameters.student, folder / "student.safetensors")),
        "precision": parameters.precision,
        "learner": parameters.learner,
        "objective": list(parameters.objectives),
        "seeds": [1],
        "shots": 0,
        "classes": "all",
        "epochs": 1_000_000,
        "batch_size": parameters.batch_size,
    }
    ways = {name: way for name, way in WAYS.items() if needs_features or name != FEATURES}
    values = {
        "folder": "run",
        "data": {"name": "bench", "folder": "data", "split": "split.json"},
        "teacher": {
            "model": parameters.teacher,
            "pretrained": str(random_checkpoint(parameters.teacher, folder / "teacher.safetensors")),
            "precision": parameters.precision,
        },
        "crops": {"seeds": parameters.num_seeds},
        "store": {"images_per_block": len(paths), "seeds_per_block": parameters.num_seeds, "labels": ["embedding"]},
        "loading": {"device": parameters.device, "batch_size": parameters.batch_size},
        "student": [student | way | {"name": name.replace(" ", "_")} for name, way in ways.items()],
        "evaluate": {"protocol": "few-shot"},
        "cluster": {"kind": "local"},
    }
    return parse_config(values, base=folder, where="bench train")
