"""Where the training loop and the teacher's loop make the host wait for the device: nowhere, but at an epoch's end."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.bench.small_run import feature_pass, teacher_pass
from fdbpl.pipeline.bench.syncs import find_syncs
from fdbpl.pipeline.bench.train_ways import TEXTS, TOGETHER, TrainParameters, make_ways, ways_config
from fdbpl.pipeline.clip.backbone import load_backbone
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.labels.teach import TeacherLabels


def training_waits(model: str, device: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Of one student's steps and of several students', on stored labels and features: a title, and each wait's
    place."""
    for objective in ("kdpl", "fdbpl"):
        for way in (TEXTS, TOGETHER):
            parameters = TrainParameters(
                student=model,
                teacher=model,
                objectives=(objective,),
                num_classes=20,
                num_steps=2,
                num_students=2,
                device=device,
            )
            config = ways_config(parameters, folder / f"{objective}-{way}", only=way)
            teacher_pass(config)
            feature_pass(config)
            yield f"{objective}, {way}: waits in training steps", _of_steps(config, objective, device)


def _of_steps(config: RunConfig, objective: str, device: str) -> list[str]:
    with open_reader(config.store.path) as reader:
        (way,) = make_ways(config, objective, reader).values()
        try:
            for _ in range(3):
                way.epoch()
            return find_syncs(way.steps, device)
        finally:
            way.close()


def teacher_waits(model: str, device: str, folder: Path) -> list[str]:
    """Of beginning a batch of the teacher's pass."""
    config = ways_config(TrainParameters(student=model, teacher=model, device=device), folder, only=TEXTS)
    teacher = load_backbone(config.teacher, device)
    encode = TeacherLabels(teacher, np.zeros((4, teacher.embedding_width), np.float32), ("embedding", "logits"), 0)
    shape = (32, 3, teacher.image_size, teacher.image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    encode(pixels)()
    return find_syncs(lambda: encode(pixels), device)
