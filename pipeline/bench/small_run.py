"""A run on test images that a bench makes: real models with random weights, whose speed is theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        num_seeds: crops of each image.
        precision: arithmetic of both models.
        tables: what more each of its tables of students says.
    """

    student: str
    teacher: str
    num_classes: int
    num_images: int
    batch_size: int
    size: tuple[int, int]
    device: str
    num_seeds: int = 1
    precision: str = "fp32"
    tables: Sequence[Mapping[str, Any]] = ({},)

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
            "teacher": _model(self.teacher, self.precision, folder),
            "crops": {"seeds": self.num_seeds},
            "store": {"images_per_block": len(paths), "seeds_per_block": self.num_seeds, "labels": ["embedding"]},
            "loading": {"device": self.device, "batch_size": self.batch_size},
            "student": [
                {
                    **_model(self.student, self.precision, folder),
                    "seeds": [1],
                    "shots": 0,
                    "classes": "all",
                    "epochs": 1,
                    "batch_size": self.batch_size,
                    **table,
                }
                for table in self.tables
            ],
            "evaluate": {"protocol": "few-shot"},
            "cluster": {"kind": "local"},
        }
        return parse_config(values, base=folder, where="bench")


def teacher_pass(config: RunConfig) -> None:
    """The teacher's labels, into a new store, sealed."""
    prepare_store(config)
    run_pass(config)


def feature_pass(config: RunConfig) -> None:
    """The students' features, into the same store, sealed."""
    begin_features(config)
    for campaign in feature_campaigns(config):
        for block in open_store(config.store.path).missing_blocks(campaign):
            feature_block(config, campaign, block.id, lambda done, total: None)
        seal(config.store.path, campaign)


def _model(model: str, precision: str, folder: Path) -> dict[str, str]:
    weights = random_checkpoint(model, folder / f"{model}.safetensors")
    return {"model": model, "pretrained": str(weights), "precision": precision}
