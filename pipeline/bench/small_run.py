"""A run on test images that a bench makes, with one student: real models with random weights, whose speed is theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import open_store
from fdbpl.pipeline.bench.class_words import class_words
from fdbpl.pipeline.bench.decode import make_images
from fdbpl.pipeline.bench.teacher import run_pass
from fdbpl.pipeline.clip.backbone import random_checkpoint
from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.config_file import parse_config
from fdbpl.pipeline.labels.feature_names import feature_campaigns
from fdbpl.pipeline.labels.features import begin_features, feature_block
from fdbpl.pipeline.labels.teach import prepare_store
from fdbpl.pipeline.whole_file import replace_json


@dataclass(frozen=True, kw_only=True)
class SmallRun:
    """What the run is of.

    Attributes:
        student, teacher: open_clip models.
        num_classes: class names; every image is of one of them, in turns.
        num_images: of the training list and of the test list, which are the same.
        batch_size: of the student's steps, and of the encoders' forward passes.
        size: (width, height) of the images.
        device: auto, cpu or cuda.
        table: what more its table of students says.
    """

    student: str
    teacher: str
    num_classes: int
    num_images: int
    batch_size: int
    size: tuple[int, int]
    device: str
    table: Mapping[str, Any] = field(default_factory=dict)

    def config(self, folder: Path) -> RunConfig:
        """Its config; images and checkpoints are put into `folder` where they are not there. Raises ValueError."""
        names = class_words(self.num_classes)
        paths = make_images(folder / "data" / "images", self.size, self.num_images)
        entries = [[path.name, number % len(names), names[number % len(names)]] for number, path in enumerate(paths)]
        # Lists name every class, whether an image is of it or not.
        named = entries + [[paths[0].name, label, names[label]] for label in range(len(paths), len(names))]
        replace_json(folder / "data" / "split.json", {"train": entries, "val": [], "test": named})
        values = {
            "folder": "run",
            "data": {"name": "bench", "folder": "data", "split": "split.json"},
            "teacher": {"model": self.teacher, "pretrained": _weights(self.teacher, folder)},
            "crops": {"seeds": 1},
            "store": {"images_per_block": len(paths), "seeds_per_block": 1, "labels": ["embedding"]},
            "loading": {"device": self.device, "batch_size": self.batch_size},
            "student": [
                {
                    "model": self.student,
                    "pretrained": _weights(self.student, folder),
                    "seeds": [1],
                    "shots": 0,
                    "classes": "all",
                    "epochs": 1,
                    "batch_size": self.batch_size,
                    **self.table,
                }
            ],
            "evaluate": {"protocol": "few-shot"},
            "cluster": {"kind": "local"},
        }
        return parse_config(values, base=folder, where="bench")


def run_passes(config: RunConfig) -> None:
    """The teacher's pass and the student's, into a sealed store."""
    prepare_store(config)
    run_pass(config)
    begin_features(config)
    for campaign in feature_campaigns(config):
        for block in open_store(config.store.path).missing_blocks(campaign):
            feature_block(config, campaign, block.id, lambda done, total: None)
        seal(config.store.path, campaign)


def _weights(model: str, folder: Path) -> str:
    return str(random_checkpoint(model, folder / f"{model}.safetensors"))
