"""The crops of which the teacher can tell the most, and those of which it can tell the least."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdbpl.pipeline.inspection.crops import Crop, read_crops
from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.stream import Leading, batches
from fdbpl.pipeline.labels.passes import OnProgress


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """The most and the least informative crops, each list with the most extreme first, of how many crops."""

    num_views: int
    most: list[Crop]
    least: list[Crop]

    def to_json(self) -> dict[str, Any]:
        return {
            "crops": self.num_views,
            "most": [crop.to_json() for crop in self.most],
            "least": [crop.to_json() for crop in self.least],
        }


def extremes(
    opened: Opened,
    images_M: NDArray[np.int64],
    *,
    limit: int,
    top: int,
    per_image: int = 0,
    on_progress: OnProgress | None = None,
) -> Extremes:
    """Of all crops of these images, `limit` at each end, with their `top` likeliest classes; at most `per_image` of an
    image (0: any number)."""
    most, least, num_views = Leading(limit, per_image), Leading(limit, per_image), 0
    for batch in batches(opened, images_M, on_progress):
        most.add(batch.weight_B, batch)
        least.add(-batch.weight_B, batch)
        num_views += len(batch.images_B)
    return Extremes(
        num_views=num_views,
        most=read_crops(opened, most.images_K, most.seeds_K, top=top),
        least=read_crops(opened, least.images_K, least.seeds_K, top=top),
    )


def image_crops(opened: Opened, image: int, *, top: int) -> list[Crop]:
    """All crops of an image, the most informative first."""
    num_seeds = opened.reader.num_seeds
    crops = read_crops(opened, np.full(num_seeds, image), np.arange(num_seeds), top=top)
    return sorted(crops, key=lambda crop: (-crop.weight, crop.seed))
