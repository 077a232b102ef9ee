"""Crops as they are told: which window of which image, and what the teacher says of it.

Letters: B views, K likeliest classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.stream import read_batch

Likeliest = tuple[tuple[str, float], ...]
"""Class names with their probabilities, likeliest first."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A crop and the teacher's answer.

    Attributes:
        image: its number in the store.
        seed: of the crop.
        path: of the image.
        class_name: of the image; None where the run's data set does not have it.
        size: height and width of the image, in pixels.
        box: top, left, height and width of the window, in pixels.
        flip: whether the teacher saw it mirrored.
        weight: 1 - H/log C, in [0, 1].
        entropy: H, in nats.
        teacher: its likeliest classes.
    """

    image: int
    seed: int
    path: str
    class_name: str | None
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    flip: bool
    weight: float
    entropy: float
    teacher: Likeliest

    @property
    def area(self) -> float:
        """The window's part of the image's area."""
        return self.box[2] * self.box[3] / (self.size[0] * self.size[1])

    def to_json(self) -> dict[str, Any]:
        return {
            "image": self.path,
            "seed": self.seed,
            "class": self.class_name,
            "size": list(self.size),
            "box": list(self.box),
            "flip": self.flip,
            "area": round(self.area, 4),
            "weight": round(self.weight, 4),
            "entropy": round(self.entropy, 4),
            "teacher": classes_json(self.teacher),
        }


def read_crops(opened: Opened, images_B: NDArray[np.int64], seeds_B: NDArray[np.int64], *, top: int) -> list[Crop]:
    """These views in the order given, each with its `top` likeliest classes."""
    if not len(images_B):
        return []
    reader, index = opened.reader, opened.reader.images
    batch = read_batch(opened, images_B, seeds_B)
    boxes_B4, flips_B = reader.read("crop/box", images_B, seeds_B), reader.read("crop/flip", images_B, seeds_B)
    likeliest_B = likeliest(batch.teacher_BC, opened.class_names, top)
    return [
        Crop(
            image=image,
            seed=int(seeds_B[row]),
            path=index.paths[image],
            class_name=opened.class_of(image),
            size=(int(index.sizes_N2[image, 0]), int(index.sizes_N2[image, 1])),
            box=(int(boxes_B4[row, 0]), int(boxes_B4[row, 1]), int(boxes_B4[row, 2]), int(boxes_B4[row, 3])),
            flip=bool(flips_B[row]),
            weight=float(batch.weight_B[row]),
            entropy=float(batch.entropy_B[row]),
            teacher=likeliest_B[row],
        )
        for row, image in enumerate(images_B.tolist())
    ]


def likeliest(logits_BC: Tensor, class_names: tuple[str, ...], top: int) -> list[Likeliest]:
    """The likeliest classes of each row."""
    best_BK = logits_BC.float().softmax(dim=-1).topk(min(top, len(class_names)), dim=-1)
    return [
        tuple((class_names[place], prob) for place, prob in zip(places_K, probs_K, strict=True))
        for places_K, probs_K in zip(best_BK.indices.tolist(), best_BK.values.tolist(), strict=True)
    ]


def classes_json(classes: Likeliest) -> list[dict[str, Any]]:
    return [{"name": name, "probability": round(prob, 4)} for name, prob in classes]
