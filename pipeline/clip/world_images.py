"""The images that a tiny CLIP is trained on: JPEG files in memory, and views of them at model size.

Invariant: image i of a seed and view b of a step depend on nothing else, so that a training that was killed goes
on with the very batches it would have seen. 60,000 images take about 50 s and 150 MB.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fdbpl.pipeline.datasets.synthetic import COLORS, SHAPES, STYLES, SceneSpec, render_jpeg

Box = tuple[int, int, int, int]  # left, top, right, bottom: Pillow's order


@dataclass(frozen=True, kw_only=True)
class CaptionedImages:
    """JPEG files with what their captions say: indices of colour, shape and style, int64 [N, 3]."""

    files: tuple[bytes, ...]
    facts_N3: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)


def render_images(
    count: int,
    *,
    seed: int,
    spec: SceneSpec,
    styles: Sequence[str] = STYLES,
    on_progress: Callable[[int, int], None] | None = None,
) -> CaptionedImages:
    """Render `count` images of all 64 pairs in turn, the styles changing after each round of the pairs."""
    num_pairs = len(COLORS) * len(SHAPES)
    facts = [
        (i % num_pairs // len(SHAPES), i % len(SHAPES), STYLES.index(styles[i // num_pairs % len(styles)]))
        for i in range(count)
    ]
    files = []
    for i, (color, shape, style) in enumerate(facts):
        _, file = render_jpeg(
            seed=seed, name=f"caption/{i}", color=COLORS[color], shape=SHAPES[shape], style=STYLES[style], spec=spec
        )
        files.append(file)
        if on_progress and (i % 1000 == 999 or i + 1 == count):
            on_progress(i + 1, count)
    return CaptionedImages(files=tuple(files), facts_N3=np.asarray(facts, dtype=np.int64).reshape(-1, 3))


def central_square(width: int, height: int) -> Box:
    """Return the window of the test transform: the largest square in the middle."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def random_box(generator: np.random.Generator, width: int, height: int, scale: tuple[float, float]) -> Box:
    """Draw a window of an area within `scale` of the image and an aspect ratio within 3/4..4/3, clipped to fit."""
    area = generator.uniform(*scale) * width * height
    ratio = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
    box_width = int(np.clip(round(np.sqrt(area * ratio)), 1, width))
    box_height = int(np.clip(round(np.sqrt(area / ratio)), 1, height))
    left = int(generator.integers(width - box_width + 1))
    top = int(generator.integers(height - box_height + 1))
    return left, top, left + box_width, top + box_height


def view(file: bytes, *, size: int, choose_box: Callable[[int, int], Box], flip: bool = False) -> NDArray[np.uint8]:
    """Decode one file and return its window as uint8 [size, size, 3]."""
    image = Image.open(io.BytesIO(file))
    box = choose_box(*image.size)
    window = image.crop(box).resize((size, size), Image.Resampling.BICUBIC)
    if flip:
        window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(window)


def normalized(pixels_BHWC: NDArray[np.uint8], *, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return float32 [B, 3, H, W], scaled as the model's own preprocessing scales it."""
    pixels_BCHW = torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2).float().div_(255)
    return (pixels_BCHW - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
