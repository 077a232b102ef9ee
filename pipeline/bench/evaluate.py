"""`fdbpl bench evaluate`: a prompt tested on features of the test images that are kept, beside the images themselves.

Both ways run the text tower over the class names and compare every image with every name. From images each file is
read, decoded and encoded as well; kept features are read from the run's folder, once more in each turn. That both
answer the same is checked before anything is timed, and after each turn. Weights are random: speed does not depend on
them.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdbpl.pipeline.bench.machine import machine
from fdbpl.pipeline.bench.small_run import SmallRun
from fdbpl.pipeline.bench.turns import take_turns
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.data.load import load_data
from fdbpl.pipeline.device import choose_device
from fdbpl.pipeline.evaluation.features import test_pixels, write_test_features
from fdbpl.pipeline.evaluation.protocol import tests_of
from fdbpl.pipeline.evaluation.record import pass_of
from fdbpl.pipeline.evaluation.student_tests import logits_of
from fdbpl.pipeline.evaluation.test_sets import TestSets
from fdbpl.pipeline.labels.class_lists import Names
from fdbpl.pipeline.learners.base import Learner
from fdbpl.pipeline.progress import Ui
from fdbpl.pipeline.students.checked import student_plans
from fdbpl.pipeline.training.gather import build_learner
from fdbpl.pipeline.values import Views
from fdbpl.pipeline.versions import installed

IMAGES, FEATURES = "images", "cached features"
# Logits are cosines times a hundred, and sums of float32 in another order.
_SAME = 1e-3


@dataclass(frozen=True, kw_only=True)
class EvaluateParameters:
    """What is measured.

    Attributes:
        model: an open_clip model.
        num_classes, num_images: of the test set; those of the field have 10 to 810 images a class.
        size: (width, height) of the images.
        batch_size: images of a forward pass.
        device: auto, cpu or cuda.
        seconds: of a way in a round, at least one evaluation.
        num_rounds: in each, both ways have their turn.
    """

    model: str = "ViT-B-32"
    num_classes: int = 20
    num_images: int = 400
    size: tuple[int, int] = (500, 375)
    batch_size: int = 64
    device: str = "auto"
    seconds: float = 1.0
    num_rounds: int = 3


@dataclass(frozen=True, eq=False)
class _Answer:
    logits_NC: Tensor
    accuracy: float


def bench_evaluate(parameters: EvaluateParameters, folder: Path, ui: Ui) -> dict[str, Any]:
    """Measure both ways in turns; everything is put into `folder`.

    Returns:
        machine, threads, parameters, accuracy; pass_seconds: of encoding the test images, once for all prompts;
        results: a list of {name, images_per_s, seconds, ratio_to_images}, seconds of one evaluation.

    Raises:
        ValueError: an unknown model or device, or ways that do not answer the same.
    """
    if parameters.num_images < parameters.num_classes:
        raise ValueError(
            f"found {parameters.num_images} images of {parameters.num_classes} classes, expected one of each at least: "
            "raise --images or lower --classes"
        )
    config = _run(parameters).config(folder)
    learner = _learner(config)
    (test,) = tests_of(config)
    one = pass_of(config, test, config.student[0])
    with ui.bar("features of the test images", "images") as on_progress:
        started = time.perf_counter()
        write_test_features(config, one.key, on_progress)
        pass_seconds = time.perf_counter() - started
    answers: dict[str, _Answer] = {}

    def images() -> int:
        answers[IMAGES] = _from_images(config, learner)
        return parameters.num_images

    def features() -> int:
        answers[FEATURES] = _from_features(config, learner)
        return parameters.num_images

    with ui.bar("measure", "turns") as on_progress, torch.no_grad():
        rates = take_turns(
            {IMAGES: images, FEATURES: features},
            seconds=parameters.seconds,
            num_rounds=parameters.num_rounds,
            on_progress=on_progress,
            after={FEATURES: lambda: _compare(answers[FEATURES], answers[IMAGES])},
        )
    device = choose_device(parameters.device)
    return {
        "machine": machine(installed(("torch", "torchvision", "open_clip_torch")), folder, device),
        "threads": torch.get_num_threads(),
        "parameters": asdict(parameters),
        "accuracy": round(answers[FEATURES].accuracy, 2),
        "pass_seconds": round(pass_seconds, 3),
        "results": [
            {
                "name": name,
                "images_per_s": round(rates.rate(name), 2),
                "seconds": round(parameters.num_images / rates.rate(name), 5),
                "ratio_to_images": round(rates.ratio(name, IMAGES), 2),
            }
            for name in (IMAGES, FEATURES)
        ],
    }


def _run(parameters: EvaluateParameters) -> SmallRun:
    return SmallRun(
        student=parameters.model,
        teacher=parameters.model,
        num_classes=parameters.num_classes,
        num_images=parameters.num_images,
        batch_size=parameters.batch_size,
        size=parameters.size,
        device=parameters.device,
        tables=[{"objective": "cross_entropy", "supervision": "hard"}],
    )


def _learner(config: RunConfig) -> Learner:
    """A prompt as it begins: what it has learned takes no time."""
    (plan,) = student_plans(config)
    names = Names(class_names=load_data(config.data).class_names, templates=config.teacher.templates)
    backbone = load_backbone(plan.config, choose_device(config.loading.device))
    return build_learner(config, plan, backbone, names, None).eval()


def _from_features(config: RunConfig, learner: Learner) -> _Answer:
    """As a run evaluates its students."""
    (one,) = TestSets(config, config.student[0]).sets
    logits_NC, _ = logits_of(learner, one, one.labels_N >= 0, lambda num_images: None)
    return _Answer(logits_NC, one.accuracy(logits_NC.argmax(dim=-1)))


def _from_images(config: RunConfig, learner: Learner) -> _Answer:
    """As it would be without anything kept."""
    data, backbone = load_data(config.data), learner.backbone
    texts = learner.texts(data.class_names)
    logits: list[Tensor] = []
    for pixels_BCHW in test_pixels(config, data, range(len(data.test)), backbone.image_size):
        ids_B = torch.arange(len(pixels_BCHW))
        features_BD = backbone.encode_pixels(pixels_BCHW)
        views = Views(image_ids_B=ids_B, seeds_B=ids_B, labels_B=ids_B, pixels_BCHW=None, features_BD=features_BD)
        logits.append(learner.predict(views, texts).logits_BC.float().cpu())
    logits_NC = torch.cat(logits)
    right_N = logits_NC.argmax(dim=-1) == torch.tensor(data.test.labels)
    return _Answer(logits_NC, 100.0 * float(right_N.to(torch.float64).mean()))


def _compare(found: _Answer, expected: _Answer) -> None:
    """Raises ValueError where they differ."""
    apart = float((found.logits_NC - expected.logits_NC).abs().max())
    if not apart <= _SAME or found.accuracy != expected.accuracy:
        raise ValueError(
            f"{FEATURES}: found logits {apart:g} from those of the images at most, and an accuracy of "
            f"{found.accuracy:g} %, expected {_SAME:g} at most, and {expected.accuracy:g} %"
        )
