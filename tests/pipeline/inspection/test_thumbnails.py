"""Pictures of crops are the pixels that the teacher saw."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdbpl.pipeline.config import RunConfig
from fdbpl.pipeline.inspection.crops import Crop, read_crops
from fdbpl.pipeline.inspection.opened import Opened, open_inspection
from fdbpl.pipeline.inspection.thumbnails import thumbnails, whole_images
from fdbpl.pipeline.labels.teach import image_root
from fdbpl.pipeline.loading.decoder import UnreadableImages


def some_crops(opened: Opened) -> list[Crop]:
    return read_crops(opened, np.array([60, 2, 60, 100]), np.array([0, 3, 1, 2]), top=1)


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def cut_by_hand(opened: Opened, crop: Crop, size: int) -> np.ndarray:
    """By Pillow, from the window as it is told."""
    top, left, height, width = crop.box
    image = (
        Image.open(image_root(opened.config) / crop.path).convert("RGB").crop((left, top, left + width, top + height))
    )
    image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crop.flip else image).astype(int)


def test_crops_are_those_of_the_stored_windows(opened: Opened) -> None:
    """As near as decoders are to one another, and kept to the bit."""
    crops = some_crops(opened)
    assert {crop.flip for crop in crops} == {True, False}
    found = thumbnails(opened, crops)
    assert all(content.startswith(b"\x89PNG") for content in found)
    for crop, content in zip(crops, found, strict=True):
        apart = np.abs(pixels_of(content) - cut_by_hand(opened, crop, 48))
        assert apart.shape == (48, 48, 3) and apart.max() <= 4 and apart.mean() <= 0.3


def test_large_crops_are_jpeg(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdbpl.pipeline.inspection.thumbnails.LARGEST_PNG", 47)
    for crop, content in zip(some_crops(opened), thumbnails(opened, some_crops(opened)), strict=True):
        assert content.startswith(b"\xff\xd8")
        assert np.abs(pixels_of(content) - cut_by_hand(opened, crop, 48)).mean() < 8


def test_whole_images_are_made_small_where_they_are_large(opened: Opened) -> None:
    sizes = opened.reader.images.sizes_N2
    found = whole_images(opened, [3, 60, 3], 50)
    assert list(found) == [3, 60]
    for image, content in found.items():
        height, width = pixels_of(content).shape[:2]
        assert max(height, width) == 50
        assert height / width == pytest.approx(sizes[image, 0] / sizes[image, 1], rel=0.03)
    assert pixels_of(whole_images(opened, [3], 5000)[3]).shape[:2] == tuple(sizes[3].tolist())


def test_images_that_have_changed_are_refused_by_name(taught: RunConfig, tmp_path: Path) -> None:
    shutil.copytree(taught.data.folder, tmp_path / "world")
    data = taught.data.model_copy(update={"folder": tmp_path / "world"})
    with open_inspection(taught.model_copy(update={"data": data})) as opened:
        (crop, *_) = some_crops(opened)
        file = image_root(opened.config) / crop.path
        Image.new("RGB", (90, 90)).save(file)
        with pytest.raises(UnreadableImages, match=f"{crop.path}.*its content is not what it was"):
            thumbnails(opened, [crop])
        file.unlink()
        with pytest.raises(UnreadableImages, match=f"{crop.path}.*No such file"):
            thumbnails(opened, [crop])
