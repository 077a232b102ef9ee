"""Blocks: how the N x S views of a store are cut into the files that one task writes.

A block is `images_per_block` images times `seeds_per_block` seeds; the last ones of either axis may be
smaller. It is one shard file of every array of a campaign. Blocks are numbered image block first, then seed
block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields


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
    """N images and S seeds in blocks; all four numbers are at least 1."""

    num_images: int
    num_seeds: int
    images_per_block: int
    seeds_per_block: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{field.name}: found {value!r}, expected a positive integer")

    @property
    def num_image_blocks(self) -> int:
        return -(-self.num_images // self.images_per_block)

    @property
    def num_seed_blocks(self) -> int:
        return -(-self.num_seeds // self.seeds_per_block)

    @property
    def num_blocks(self) -> int:
        return self.num_image_blocks * self.num_seed_blocks

    def block(self, image_block: int, seed_block: int) -> Block:
        """One block by its two numbers; ValueError outside the grid."""
        if not (0 <= image_block < self.num_image_blocks and 0 <= seed_block < self.num_seed_blocks):
            raise ValueError(
                f"block: found {image_block}.{seed_block}, expected at most "
                f"{self.num_image_blocks - 1}.{self.num_seed_blocks - 1}"
            )
        first_image = image_block * self.images_per_block
        first_seed = seed_block * self.seeds_per_block
        return Block(
            images=range(first_image, min(first_image + self.images_per_block, self.num_images)),
            seeds=range(first_seed, min(first_seed + self.seeds_per_block, self.num_seeds)),
            image_block=image_block,
            seed_block=seed_block,
        )

    def blocks(self) -> Iterator[Block]:
        """All blocks in the order of their numbers."""
        for image_block in range(self.num_image_blocks):
            for seed_block in range(self.num_seed_blocks):
                yield self.block(image_block, seed_block)

    def to_json(self) -> dict[str, int]:
        return asdict(self)
