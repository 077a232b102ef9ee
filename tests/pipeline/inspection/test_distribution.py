"""Counts over a store are those of all of its crops."""

import numpy as np
import pytest

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.inspection.crops import Crop, read_crops
from fdbpl.pipeline.inspection.distribution import NUM_AREAS, NUM_WEIGHTS, distribution
from fdbpl.pipeline.inspection.opened import Opened, open_inspection


def all_crops(opened: Opened) -> list[Crop]:
    images, seeds = np.repeat(np.arange(128), 4), np.tile(np.arange(4), 128)
    return read_crops(opened, images, seeds, top=1)


def test_counts_are_those_of_all_crops(opened: Opened) -> None:
    found, crops = distribution(opened, opened.images()), all_crops(opened)
    counts_AW = np.zeros((NUM_AREAS, NUM_WEIGHTS), int)
    for crop in crops:
        counts_AW[min(int(crop.area * NUM_AREAS), NUM_AREAS - 1), int(crop.weight * NUM_WEIGHTS)] += 1
    assert np.array_equal(found.counts_AW, counts_AW)
    weights = np.array([crop.weight for crop in crops])
    assert found.num_views == 512 and found.mean == pytest.approx(weights.mean())
    for part in (0.05, 0.5, 0.95):
        assert found.quantile(part) == pytest.approx(np.quantile(weights, part), abs=1 / NUM_WEIGHTS)
    told = found.to_json()
    right = np.mean([crop.teacher[0][0] == crop.class_name for crop in crops])
    assert sum(row["crops"] * row["right"] for row in told["by_area"]) / 512 == pytest.approx(right, abs=1e-4)
    assert sum(told["weights"]["crops"]) == 512 and told["most_entropy"] == pytest.approx(np.log(32), abs=1e-4)


def test_classes_are_told_each_by_its_own_crops(opened: Opened) -> None:
    found, crops = distribution(opened, opened.images()), all_crops(opened)
    rows = found.by_class()
    assert [row["class"] for row in rows] != list(opened.image_classes)
    assert [row["mean_weight"] for row in rows] == sorted((row["mean_weight"] for row in rows), reverse=True)
    for row in rows:
        own = [crop for crop in crops if crop.class_name == row["class"]]
        assert row["crops"] == len(own) == 16
        assert row["mean_weight"] == pytest.approx(np.mean([crop.weight for crop in own]), abs=1e-4)
        assert row["right"] == pytest.approx(np.mean([crop.teacher[0][0] == row["class"] for crop in own]), abs=1e-4)


def test_of_images_of_other_classes_it_is_not_told_whether_the_teacher_is_right(taught: RunConfig) -> None:
    with open_inspection(taught, "base") as opened:
        found = distribution(opened, np.array([0, 127]))
    base, new = (next(row for row in found.by_class() if row["class"] == opened.class_of(one)) for one in (0, 127))
    assert (base["crops"], new["crops"]) == (4, 4)
    assert base["right"] is not None and new["right"] is None
    assert found.known_A.sum() == 4
