"""JPEG files of every kind that data sets hold, and windows of them: what decoders are compared on.

Sizes from 60 to 3000 pixels; plain, full chroma, progressive, grey, CMYK and EXIF-rotated files; soft shapes with
grain, so that a window shifted by one pixel shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fdbpl.pipeline.loading.threads import in_threads

SMALLEST, LARGEST = 60, 3000
_ORIENTATION, _ON_ITS_SIDE = 0x0112, 6


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = _ON_ITS_SIDE
    return exif


KINDS: dict[str, Callable[[Image.Image, Path], None]] = {
    "plain": lambda image, path: image.save(path, quality=90),
    "full-chroma": lambda image, path: image.save(path, quality=95, subsampling="4:4:4"),
    "half-chroma": lambda image, path: image.save(path, quality=85, subsampling="4:2:2"),
    "progressive": lambda image, path: image.save(path, quality=80, progressive=True),
    "grey": lambda image, path: image.convert("L").save(path),
    "cmyk": lambda image, path: image.convert("CMYK").save(path),
    "exif-rotated": lambda image, path: image.save(path, exif=_rotated()),
}


@dataclass(frozen=True, kw_only=True)
class VariedImages:
    """N files and K windows of each: image_B [N K], boxes_B4 (top, left, height, width), flips_B.

    Every window leaves a column free at its right, so that it can be shifted.
    """

    paths: tuple[Path, ...]
    kinds: tuple[str, ...]
    image_B: NDArray[np.int64]
    boxes_B4: NDArray[np.int32]
    flips_B: NDArray[np.bool_]

    def part(self, images: range) -> "VariedImages":
        """Some of the images in a row, with their windows."""
        chosen = (self.image_B >= images.start) & (self.image_B < images.stop)
        return VariedImages(
            paths=self.paths[images.start : images.stop],
            kinds=self.kinds[images.start : images.stop],
            image_B=self.image_B[chosen] - images.start,
            boxes_B4=self.boxes_B4[chosen],
            flips_B=self.flips_B[chosen],
        )


def make_varied_images(folder: Path, count: int, num_windows: int) -> VariedImages:
    """Write `count` files, the same ones for the same count, where they are not there yet.

    The logarithm of a side is uniform, so that small images are as frequent as large ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = list(KINDS)
    kinds = tuple(names[number % len(names)] for number in range(count))
    paths = tuple(folder / f"{number:04d}-{kind}.jpg" for number, kind in enumerate(kinds))
    random = np.random.default_rng(0)
    sizes_N2 = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST), (count, 2))).round().astype(np.int64)

    def write(number: int) -> None:
        if not paths[number].exists():
            KINDS[kinds[number]](_grainy(number, *sizes_N2[number].tolist()), paths[number])

    in_threads(write, range(count))
    image_B = np.repeat(np.arange(count), num_windows)
    boxes = [_any_window(random, *sizes_N2[image].tolist()) for image in image_B.tolist()]
    return VariedImages(
        paths=paths,
        kinds=kinds,
        image_B=image_B,
        boxes_B4=np.array(boxes, dtype=np.int32).reshape(-1, 4),
        flips_B=random.integers(0, 2, len(image_B)).astype(np.bool_),
    )


def _grainy(seed: int, height: int, width: int) -> Image.Image:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = random.integers(-20, 21, (height, width, 3), dtype=np.int16)
    return Image.fromarray((np.asarray(soft, dtype=np.int16) + grain).clip(0, 255).astype(np.uint8))


def _any_window(random: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """A window of at least 24 pixels a side, anywhere but in the last column."""
    box_height, box_width = int(random.integers(24, height + 1)), int(random.integers(24, width))
    return (
        int(random.integers(0, height - box_height + 1)),
        int(random.integers(0, width - box_width)),
        box_height,
        box_width,
    )
