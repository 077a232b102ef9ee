"""Where the informative crops lie."""

import io

import numpy as np
import pytest
from PIL import Image

from fdbpl.pipeline.inspection.crops import Crop
from fdbpl.pipeline.inspection.heat import heat


def crop(box: tuple[int, int, int, int], weight: float) -> Crop:
    return Crop(
        image=0,
        seed=0,
        path="a.jpg",
        class_name=None,
        size=(48, 96),
        box=box,
        flip=False,
        weight=weight,
        entropy=0.0,
        teacher=(),
    )


def test_each_spot_has_the_mean_weight_of_the_crops_over_it() -> None:
    found = heat([crop((0, 0, 24, 96), 0.9), crop((12, 0, 24, 48), 0.1)])
    assert found.mean_RK.shape == (48, 48)  # a pixel high, two pixels wide
    assert found.mean_RK[:12] == pytest.approx(0.9)
    assert found.mean_RK[12:24, :24] == pytest.approx(0.5)
    assert found.mean_RK[12:24, 24:] == pytest.approx(0.9)
    assert found.mean_RK[24:36, :24] == pytest.approx(0.1)
    assert np.isnan(found.mean_RK[24:, 24:]).all() and np.isnan(found.mean_RK[36:]).all()
    assert (found.least, found.most) == pytest.approx((0.1, 0.9))


def test_its_picture_goes_from_blue_to_amber_and_is_clear_where_no_crop_is() -> None:
    found = heat([crop((0, 0, 24, 96), 0.9), crop((12, 0, 24, 48), 0.1)])
    pixels = np.asarray(Image.open(io.BytesIO(found.png())))
    assert pixels[0, 0].tolist() == [0xF2, 0xA4, 0x13, 165]
    assert pixels[30, 0].tolist() == [0x4F, 0x7F, 0xE0, 165]
    assert pixels[47, 47, 3] == 0


def test_crops_of_one_weight_make_one_tone() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(heat([crop((0, 0, 48, 96), 0.5)]).png())))
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) == 1
