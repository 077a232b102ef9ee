"""Windows resized to squares: Pillow's pixels to the last bit, by the reference and by the kernels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from fdbpl.kernels import window_resize
from fdbpl.kernels.window_resize import WindowTable, resize_windows

SIZE = 40


def grainy(random: np.random.Generator, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def any_windows(random: np.random.Generator, images: list[torch.Tensor], count: int, size: int) -> WindowTable:
    """Training windows, and some as the transform for testing has them: a square of a larger whole."""
    image_B = random.integers(0, len(images), count)
    boxes, resized, corners = [], [], []
    for b, image in enumerate(image_B.tolist()):
        height, width = images[image].shape[:2]
        h, w = int(random.integers(1, height + 1)), int(random.integers(1, width + 1))
        boxes.append((int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w))
        taller, wider = (0, 0) if b % 3 else random.integers(0, size, 2).tolist()
        resized.append((size + taller, size + wider))
        corners.append((taller // 2, wider - wider // 3))
    return WindowTable(
        image_B=image_B,
        boxes_B4=np.array(boxes, dtype=np.int64),
        resized_B2=np.array(resized, dtype=np.int64),
        corners_B2=np.array(corners, dtype=np.int64),
        flips_B=random.integers(0, 2, count),
    )


def by_pillow(images: list[torch.Tensor], windows: WindowTable, size: int) -> torch.Tensor:
    crops = []
    for b in range(len(windows)):
        top, left, height, width = windows.boxes_B4[b].tolist()
        resized_height, resized_width = windows.resized_B2[b].tolist()
        down, right = windows.corners_B2[b].tolist()
        image = Image.fromarray(images[int(windows.image_B[b])].cpu().numpy())
        image = image.crop((left, top, left + width, top + height))
        # One axis at a time: which of them comes first has changed with Pillow 13.
        image = image.resize((resized_width, height), Image.Resampling.BICUBIC)
        image = image.resize((resized_width, resized_height), Image.Resampling.BICUBIC)
        image = image.crop((right, down, right + size, down + size))
        if windows.flips_B[b]:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        crops.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(crops)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Triton kernels, run on the CPU by Triton's interpreter."""
    from triton.runtime.interpreter import InterpretedFunction

    from fdbpl.kernels import window_resize_triton as kernels

    for name in ("_along_rows", "_along_columns", "_rounded"):
        monkeypatch.setattr(kernels, name, InterpretedFunction(getattr(kernels, name).fn))
    monkeypatch.setattr(window_resize, "_resize_by_torch", window_resize._resize_by_triton)


# Smaller than a crop, as large, far larger, one row, one value, a panorama.
SIZES = [(30, 25), (40, 40), (150, 97), (1, 60), (1, 1), (33, 300)]


@pytest.mark.parametrize("seed", range(4))
def test_the_reference_gives_pillows_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = [grainy(random, *size) for size in SIZES]
    windows = any_windows(random, images, 40, SIZE)
    assert torch.equal(resize_windows(images, windows, SIZE), by_pillow(images, windows, SIZE))


def test_windows_as_large_as_photographs_do_too() -> None:
    random = np.random.default_rng(9)
    images = [grainy(random, 1500, 2000)]
    windows = any_windows(random, images, 6, 224)
    assert torch.equal(resize_windows(images, windows, 224), by_pillow(images, windows, 224))


@pytest.mark.usefixtures("interpreted")
def test_the_kernels_give_pillows_pixels() -> None:
    random = np.random.default_rng(1)
    images = [grainy(random, *size) for size in SIZES]
    windows = any_windows(random, images, 12, SIZE)
    assert torch.equal(resize_windows(images, windows, SIZE), by_pillow(images, windows, SIZE))


@pytest.mark.usefixtures("interpreted")
def test_pieces_that_fit_the_intermediate_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    images = [grainy(random, *size) for size in SIZES]
    windows = any_windows(random, images, 9, SIZE)
    monkeypatch.setattr(window_resize, "INTERMEDIATE_BYTES", 40 * 3 * SIZE)
    assert len(list(window_resize._pieces(windows, SIZE))) > 3
    assert torch.equal(resize_windows(images, windows, SIZE), by_pillow(images, windows, SIZE))


@pytest.mark.parametrize(
    "spoil", [lambda image: image.float(), lambda image: image[:, :, :2], lambda image: image.transpose(0, 1)]
)
def test_an_image_of_another_form_is_refused(spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
    random = np.random.default_rng(3)
    images = [grainy(random, 30, 25)]
    windows = any_windows(random, images, 1, SIZE)
    with pytest.raises(ValueError, match=r"image 0: found .*, expected contiguous uint8"):
        resize_windows([spoil(images[0])], windows, SIZE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seed", range(3))
def test_the_kernels_give_pillows_pixels_on_a_device(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = [grainy(random, *size).cuda() for size in [*SIZES, (1500, 2000)]]
    windows = any_windows(random, images, 300, 224)
    assert torch.equal(resize_windows(images, windows, 224).cpu(), by_pillow(images, windows, 224))
