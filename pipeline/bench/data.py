"""The rows that every reader is measured on: random, seeded, and made again whenever they are needed.

Rows are finite float16 values drawn for each block and seed, so nothing larger than a block or a plane is held in
memory, and the truth that readers are checked against comes from no file. Cost: about a second a gigabyte.

Axis letters: N images, S seeds, C classes, B views of a batch; n images of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IMAGES_PER_BLOCK = 1024  # as the configs of `fdbpl init` have it
SEEDS_PER_BLOCK = 16
ROWS_DTYPE = np.dtype("<f2")
_INFINITY = 0x7C00  # float16: every smaller bit pattern is a finite number that is not negative
_MIN_DRAWN_VIEWS = 1 << 20

Rows = npt.NDArray[np.float16]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Data:
    """N x S rows of C float16 values, a pure function of the numbers here."""

    num_images: int
    num_seeds: int
    num_classes: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_images", "num_seeds", "num_classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected 1 or more")

    @property
    def num_views(self) -> int:
        return self.num_images * self.num_seeds

    @property
    def row_bytes(self) -> int:
        return self.num_classes * ROWS_DTYPE.itemsize

    @property
    def num_bytes(self) -> int:
        return self.num_views * self.row_bytes

    @property
    def images_per_block(self) -> int:
        return min(IMAGES_PER_BLOCK, self.num_images)

    @property
    def seeds_per_block(self) -> int:
        return min(SEEDS_PER_BLOCK, self.num_seeds)

    def blocks(self) -> Iterator[tuple[range, Rows]]:
        """All rows in the order of the images: (the block's images, rows [n, S, C])."""
        for images in self._image_blocks():
            yield images, np.stack([self._part(images, seed) for seed in range(self.num_seeds)], axis=1)

    def plane(self, seed: int) -> Rows:
        """The rows of all images with one seed, [N, C]."""
        return np.concatenate([self._part(images, seed) for images in self._image_blocks()])

    def views(self, stream: int) -> tuple[Numbers, Numbers]:
        """Random views in the order in which a process reads them: (images, seeds), at least a million.

        Every reader gets the same ones; each process (`stream`) its own. They are drawn uniformly, and touch
        far more bytes than a processor's caches hold before the list begins again.
        """
        generator = np.random.default_rng((self.seed, 1, stream))
        count = max(_MIN_DRAWN_VIEWS, min(4 * self.num_views, 1 << 24))
        images = generator.integers(0, self.num_images, size=count)
        return images, generator.integers(0, self.num_seeds, size=count)

    def _image_blocks(self) -> Iterator[range]:
        for start in range(0, self.num_images, self.images_per_block):
            yield range(start, min(start + self.images_per_block, self.num_images))

    def _part(self, images: range, seed: int) -> Rows:
        generator = np.random.default_rng((self.seed, 0, images.start, seed))
        bits = generator.integers(0, _INFINITY, size=(len(images), self.num_classes), dtype=np.uint16)
        return bits.astype("<u2", copy=False).view(ROWS_DTYPE)
