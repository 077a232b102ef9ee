"""Crops are told as the store has them, whatever encoding its labels are in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoded_store import store_of

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.inspection.crops import read_crops
from fdbpl.pipeline.inspection.extremes import image_crops
from fdbpl.pipeline.inspection.opened import Opened, open_inspection


def test_a_crop_is_told_as_it_is_stored(opened: Opened) -> None:
    images_B, seeds_B = np.array([5, 5, 127]), np.array([0, 3, 1])
    crops = read_crops(opened, images_B, seeds_B, top=2)
    reader = opened.reader
    logits_BC = torch.from_numpy(reader.read("teacher/logits", images_B, seeds_B).astype(np.float64))
    probs_BC = logits_BC.softmax(dim=-1)
    entropies = -(probs_BC * probs_BC.log()).sum(dim=-1)
    assert [(crop.image, crop.seed) for crop in crops] == [(5, 0), (5, 3), (127, 1)]
    assert [list(crop.box) for crop in crops] == reader.read("crop/box", images_B, seeds_B).tolist()
    assert [crop.flip for crop in crops] == reader.read("crop/flip", images_B, seeds_B).tolist()
    assert [crop.path for crop in crops] == [reader.images.paths[image] for image in images_B]
    assert [crop.entropy for crop in crops] == pytest.approx(entropies.tolist(), abs=1e-5)
    assert [crop.weight for crop in crops] == pytest.approx((1 - entropies / np.log(32)).tolist(), abs=1e-5)
    for row, crop in enumerate(crops):
        places = probs_BC[row].argsort(descending=True)[:2].tolist()
        assert [name for name, _ in crop.teacher] == [opened.class_names[place] for place in places]
        assert [prob for _, prob in crop.teacher] == pytest.approx([float(probs_BC[row, at]) for at in places], 1e-4)
        height, width = reader.images.sizes_N2[crop.image].tolist()
        assert crop.area == crop.box[2] * crop.box[3] / (height * width)


def test_crops_of_an_image_come_by_weight(opened: Opened) -> None:
    crops = image_crops(opened, 9, top=1)
    assert sorted(crop.seed for crop in crops) == [0, 1, 2, 3]
    weights = [crop.weight for crop in crops]
    assert weights == sorted(weights, reverse=True) and weights[0] > weights[-1]


@pytest.mark.parametrize(("labels", "top_k"), [(("embedding",), 1), (("logits",), 1), (("topk",), 32), (("topk",), 8)])
def test_labels_of_each_encoding_tell_the_same(
    labels: tuple[str, ...], top_k: int, taught: RunConfig, opened: Opened, tmp_path: Path
) -> None:
    """Of topk the kept classes alone are the same; what the others have is spread."""
    config = store_of(taught, tmp_path, labels, top_k)
    expected = image_crops(opened, 40, top=3)
    with open_inspection(config) as other:
        found = image_crops(other, 40, top=3)
    assert [crop.seed for crop in found] == [crop.seed for crop in expected]
    for one, another in zip(found, expected, strict=True):
        assert dict(one.teacher) == pytest.approx(dict(another.teacher), abs=2e-3)
        assert one.weight == pytest.approx(another.weight, abs=2e-3 if top_k != 8 else 0.1)
