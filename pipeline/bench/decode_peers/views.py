"""The windows that every way of `fdbpl bench decode` cuts, and how far one's pixels are from Pillow's.

Axes: B views, 4 (top, left, height, width).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from fdbpl.cache_layout.crops import CropPolicy, crop_boxes
from fdbpl.pipeline.loading.decoder import make_decoder

SIDE = 224


@dataclass(frozen=True)
class Views:
    """Files, and for each view its file, window and mirror."""

    paths: list[Path]
    image_B: np.ndarray
    boxes_B4: np.ndarray
    flips_B: np.ndarray

    def __len__(self) -> int:
        return len(self.image_B)

    @property
    def are_alone(self) -> bool:
        """Each view has a file of its own, in order."""
        return np.array_equal(self.image_B, np.arange(len(self.paths)))

    def each_alone(self) -> "Views":
        """The same views, each with a file of its own to decode."""
        paths = [self.paths[image] for image in self.image_B.tolist()]
        return Views(paths, np.arange(len(paths)), self.boxes_B4, self.flips_B)


def random_views(paths: Sequence[Path], size: tuple[int, int], num_crops: int) -> Views:
    """K random crops of each image, by the policy of the teacher pass.

    Args:
        size: (width, height) of the images.
    """
    image_B = np.repeat(np.arange(len(paths)), num_crops)
    seeds_B = np.tile(np.arange(num_crops), len(paths))
    sizes_B2 = np.tile((size[1], size[0]), (len(image_B), 1))
    names = [paths[image].name for image in image_B.tolist()]
    boxes_B4, flips_B = crop_boxes(CropPolicy(size=SIDE), names, sizes_B2, seeds_B)
    return Views(list(paths), image_B, boxes_B4, flips_B)


def from_pillow(crops_BCHW: Tensor, views: Views) -> tuple[float, int]:
    """The mean and the largest difference of crops from Pillow's of the same windows, of 255 levels."""
    pillow_BCHW = make_decoder("pillow").windows(views.paths, views.image_B, views.boxes_B4, views.flips_B, SIDE)
    if crops_BCHW.shape != pillow_BCHW.shape:
        raise ValueError(f"crops: found the shape {tuple(crops_BCHW.shape)}, expected {tuple(pillow_BCHW.shape)}")
    total, largest = 0, 0
    # One by one: as wider integers a batch takes many times its own memory.
    for mine_CHW, pillow_CHW in zip(crops_BCHW.cpu(), pillow_BCHW, strict=True):
        difference_CHW = (mine_CHW.short() - pillow_CHW.short()).abs()
        total += int(difference_CHW.sum())
        largest = max(largest, int(difference_CHW.max()))
    return total / pillow_BCHW.numel(), largest
