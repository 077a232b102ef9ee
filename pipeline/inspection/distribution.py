"""How informative a store's crops are: how often each weight occurs, by a crop's area and by the image's class.

Counts in fixed bins are all that is kept of the views. Letters: B views, W bins of weight, A bins of area, C classes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdbpl.pipeline.inspection.opened import Opened
from fdbpl.pipeline.inspection.stream import batches, bins
from fdbpl.pipeline.labels.passes import OnProgress

NUM_WEIGHTS, NUM_AREAS = 50, 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
    """Counts over the crops of a store.

    Attributes:
        names: class names that the weight is over, their number.
        counts_AW: crops by their part of the image's area (NUM_AREAS equal bins of [0, 1]) and by weight (NUM_WEIGHTS).
        sums_A: of the weights in each bin of area.
        right_A: crops of which the likeliest class is the image's, where that is among the names.
        known_A: crops of which that can be told.
        classes: for each class of images, its crops, the sum of their weights, and those that are right and known.
    """

    names: int
    counts_AW: NDArray[np.int64]
    sums_A: NDArray[np.float64]
    right_A: NDArray[np.int64]
    known_A: NDArray[np.int64]
    classes: dict[str, tuple[int, float, int, int]]

    @property
    def num_views(self) -> int:
        return int(self.counts_AW.sum())

    @property
    def mean(self) -> float:
        return float(self.sums_A.sum() / self.num_views)

    def quantile(self, part: float) -> float:
        """The weight that so large a part of the crops lies below, as near as the bins tell."""
        return _quantile(self.counts_AW.sum(axis=0), part)

    def quantiles_A(self, part: float) -> NDArray[np.float64]:
        """The same of the crops of each bin of area; 0 where there are none."""
        return np.array([_quantile(counts_W, part) for counts_W in self.counts_AW])

    def to_json(self) -> dict[str, Any]:
        counts_W = self.counts_AW.sum(axis=0)
        return {
            "crops": self.num_views,
            "classes": self.names,
            "most_entropy": round(math.log(self.names), 4),
            "mean_weight": round(self.mean, 4),
            "quantiles": {str(part): round(self.quantile(part), 4) for part in (0.05, 0.25, 0.5, 0.75, 0.95)},
            "weights": {"bins": NUM_WEIGHTS, "crops": counts_W.tolist()},
            "by_area": [row for row in self.by_area() if row["crops"]],
            "by_class": self.by_class(),
        }

    def by_area(self) -> list[dict[str, Any]]:
        """A row for each bin of area, the smallest first."""
        counts_A = self.counts_AW.sum(axis=1)
        return [
            {
                "area": [round(bin / NUM_AREAS, 4), round((bin + 1) / NUM_AREAS, 4)],
                "crops": int(counts_A[bin]),
                "mean_weight": _part(self.sums_A[bin], counts_A[bin]),
                "right": _part(self.right_A[bin], self.known_A[bin]),
            }
            for bin in range(NUM_AREAS)
        ]

    def by_class(self) -> list[dict[str, Any]]:
        """A row for each class of images, the most informative first."""
        rows = [
            {"class": name, "crops": crops, "mean_weight": _part(total, crops), "right": _part(right, known)}
            for name, (crops, total, right, known) in self.classes.items()
            if crops
        ]
        return sorted(rows, key=lambda row: (-row["mean_weight"], row["class"]))


def distribution(opened: Opened, images_M: NDArray[np.int64], on_progress: OnProgress | None = None) -> Distribution:
    """The distribution over all crops of these images. One pass over their labels and windows."""
    reader = opened.reader
    counts_AW = np.zeros((NUM_AREAS, NUM_WEIGHTS), np.int64)
    sums_A, right_A, known_A = np.zeros(NUM_AREAS), np.zeros(NUM_AREAS, np.int64), np.zeros(NUM_AREAS, np.int64)
    each_C4 = np.zeros((len(opened.image_classes) + 1, 4))
    for batch in batches(opened, images_M, on_progress):
        boxes_B4 = reader.read("crop/box", batch.images_B, batch.seeds_B).astype(np.float64)
        area_B = boxes_B4[:, 2] * boxes_B4[:, 3] / reader.images.sizes_N2[batch.images_B].prod(axis=1, dtype=np.float64)
        weight_B = batch.weight_B.numpy().astype(np.float64)
        bin_B = bins(area_B, NUM_AREAS)
        own_B = opened.own_places(batch.images_B)
        right_B, known_B = batch.top_B() == own_B, own_B >= 0
        np.add.at(counts_AW, (bin_B, bins(weight_B, NUM_WEIGHTS)), 1)
        np.add.at(sums_A, bin_B, weight_B)
        np.add.at(right_A, bin_B, right_B)
        np.add.at(known_A, bin_B, known_B)
        rows_B4 = np.stack([np.ones_like(weight_B), weight_B, right_B, known_B], axis=1)
        np.add.at(each_C4, opened.classes_N[batch.images_B], rows_B4)  # -1, of no class, is the last row
    return Distribution(
        names=len(opened.class_names),
        counts_AW=counts_AW,
        sums_A=sums_A,
        right_A=right_A,
        known_A=known_A,
        classes={
            name: (int(crops), float(total), int(right), int(known))
            for name, (crops, total, right, known) in zip(opened.image_classes, each_C4[:-1].tolist(), strict=True)
        },
    )


def _quantile(counts_W: NDArray[np.int64], part: float) -> float:
    below = np.concatenate([[0], np.cumsum(counts_W)])
    return float(np.interp(part * below[-1], below, np.linspace(0.0, 1.0, NUM_WEIGHTS + 1)))


def _part(value: float, count: float) -> float | None:
    return round(float(value) / float(count), 4) if count else None
