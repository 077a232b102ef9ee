"""Blocks: how the N x S views of a store are cut into the files that one task writes.

A block is `images_per_block` images times `seeds_per_block` seeds; it is one shard file of every array of a
campaign. Blocks are numbered image block first, then seed block.

A store that has grown holds its images in several parts. Each part begins with a new block, since files that
exist are never touched: the rows between the end of a part and the next block stay empty. Image numbers run
on without a gap; `rows` says where on the array's first axis an image lies.

Axis letters: B views of a batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Block:
    """The views of one shard file: every image of `images` with every seed of `seeds`."""

    images: range
    seeds: range
    image_block: int
    seed_block: int

    @property
    def id(self) -> str:
        """`<image block>.<seed block>`, such as `3.0`."""
        return f"{self.image_block}.{self.seed_block}"

    @property
    def num_views(self) -> int:
        return len(self.images) * len(self.seeds)


@dataclass(frozen=True, kw_only=True)
class BlockGrid:
    """Images and seeds in blocks; all numbers are at least 1, but for images that were added.

    Args:
        image_counts: images of each part, in order; one part unless the store has grown. Only a later part may have
            none: one that says which files were left out when all that were to be added were.
        num_seeds: S.
        images_per_block, seeds_per_block: of a whole block; the last ones of a part may be smaller.
    """

    image_counts: tuple[int, ...]
    num_seeds: int
    images_per_block: int
    seeds_per_block: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_counts", tuple(self.image_counts))
        numbers = {name: getattr(self, name) for name in ("num_seeds", "images_per_block", "seeds_per_block")}
        numbers |= {f"image_counts[{part}]": count for part, count in enumerate(self.image_counts)}
        for name, value in numbers.items():
            least = 0 if name.startswith("image_counts") and name != "image_counts[0]" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"{name}: found {value!r}, expected {'a positive integer' if least else 'an integer from 0 on'}"
                )
        if not self.image_counts:
            raise ValueError("image_counts: found no part, expected at least one")

    @cached_property
    def _first_images(self) -> tuple[int, ...]:
        """The number of each part's first image, and N."""
        return (0, *np.cumsum(self.image_counts).tolist())

    @cached_property
    def _first_blocks(self) -> tuple[int, ...]:
        """The number of each part's first image block, and that of all image blocks."""
        return (0, *np.cumsum([-(-count // self.images_per_block) for count in self.image_counts]).tolist())

    @property
    def num_images(self) -> int:
        """N, over all parts."""
        return self._first_images[-1]

    @property
    def num_rows(self) -> int:
        """Length of the arrays' first axis: N, and the empty rows between parts."""
        last = max(part for part, count in enumerate(self.image_counts) if count)
        return self._first_blocks[last] * self.images_per_block + self.image_counts[last]

    @property
    def num_image_blocks(self) -> int:
        return self._first_blocks[-1]

    @property
    def num_seed_blocks(self) -> int:
        return -(-self.num_seeds // self.seeds_per_block)

    @property
    def num_blocks(self) -> int:
        return self.num_image_blocks * self.num_seed_blocks

    def rows(self, images_B: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions on the arrays' first axis of images 0 to N-1; the numbers themselves where there is one part."""
        if len(self.image_counts) == 1:
            return images_B
        firsts = np.array(self._first_images[:-1])
        shifts = np.array(self._first_blocks[:-1]) * self.images_per_block - firsts
        rows_B: npt.NDArray[np.int64] = images_B + shifts[np.searchsorted(firsts, images_B, side="right") - 1]
        return rows_B

    def block(self, image_block: int, seed_block: int) -> Block:
        """One block by its two numbers; ValueError outside the grid."""
        if not (0 <= image_block < self.num_image_blocks and 0 <= seed_block < self.num_seed_blocks):
            raise ValueError(
                f"block: found {image_block}.{seed_block}, expected at most "
                f"{self.num_image_blocks - 1}.{self.num_seed_blocks - 1}"
            )
        part = bisect_right(self._first_blocks, image_block) - 1
        first_image = self._first_images[part] + (image_block - self._first_blocks[part]) * self.images_per_block
        first_seed = seed_block * self.seeds_per_block
        return Block(
            images=range(first_image, min(first_image + self.images_per_block, self._first_images[part + 1])),
            seeds=range(first_seed, min(first_seed + self.seeds_per_block, self.num_seeds)),
            image_block=image_block,
            seed_block=seed_block,
        )

    def blocks(self) -> Iterator[Block]:
        """All blocks in the order of their numbers."""
        for image_block in range(self.num_image_blocks):
            for seed_block in range(self.num_seed_blocks):
                yield self.block(image_block, seed_block)

    def places(self, beyond: BlockGrid | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Image block and seed block of every block, in order, that `beyond`, an earlier grid, does not have."""
        is_new = np.ones((self.num_image_blocks, self.num_seed_blocks), bool)
        if beyond is not None:
            is_new[: beyond.num_image_blocks, : beyond.num_seed_blocks] = False
        image_blocks, seed_blocks = np.nonzero(is_new)
        return image_blocks, seed_blocks

    def blocks_of_seed(self, seed: int) -> list[Block]:
        """The blocks that hold one seed, in the order of images."""
        return [self.block(image_block, seed // self.seeds_per_block) for image_block in range(self.num_image_blocks)]

    def covers(self, other: BlockGrid) -> bool:
        """Whether every block of `other` is one of this grid, with the same views or, at its end, more seeds."""
        return (
            (self.images_per_block, self.seeds_per_block) == (other.images_per_block, other.seeds_per_block)
            and self.image_counts[: len(other.image_counts)] == other.image_counts
            and self.num_seeds >= other.num_seeds
        )

    def grown(self, *, num_seeds: int | None = None, new_images: int | None = None) -> BlockGrid:
        """This grid with more seeds, or with a further part of so many images.

        Raises:
            ValueError: fewer seeds, or seeds that would change a block that is written already.
        """
        seeds = self.num_seeds if num_seeds is None else num_seeds
        if seeds < self.num_seeds:
            raise ValueError(f"num_seeds: found {seeds}, expected at least the {self.num_seeds} that are there")
        for count in {self.num_seeds, seeds} if seeds != self.num_seeds else ():
            if count % self.seeds_per_block:
                raise ValueError(
                    f"num_seeds: found {self.num_seeds} to be grown to {seeds} in blocks of {self.seeds_per_block}, "
                    "expected multiples of that (files that exist are never changed): make another store for more "
                    "seeds, with seeds_per_block a divisor of them"
                )
        counts = self.image_counts if new_images is None else (*self.image_counts, new_images)
        return replace(self, num_seeds=seeds, image_counts=counts)

    def to_json(self) -> dict[str, Any]:
        """How far the grid reaches; the size of its blocks is the store's."""
        return {"image_counts": list(self.image_counts), "num_seeds": self.num_seeds}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], images_per_block: int, seeds_per_block: int) -> BlockGrid:
        return cls(
            image_counts=tuple(fields["image_counts"]),
            num_seeds=fields["num_seeds"],
            images_per_block=images_per_block,
            seeds_per_block=seeds_per_block,
        )
