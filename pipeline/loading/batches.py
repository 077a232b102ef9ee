"""The pixels of a block's views in full batches, made while others are encoded.

Images are decoded once for all of their seeds where these fit a batch; batches are full across the borders between
images, and only the last of a block is filled up. Memory: at most `MOST_BATCHES` batches of uint8 pixels (3 size^2
bytes a view), whatever the number of seeds and images.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from fdbpl.cache_layout.blocks import Block

# Groups of views that are cut ahead of the one that is encoded.
DEPTH = 2
# Those, the one being cut, the one that is encoded, and two halves that are joined.
MOST_BATCHES = DEPTH + 4
Views = tuple[np.ndarray, np.ndarray]
ItemT = TypeVar("ItemT")
MadeT = TypeVar("MadeT")


def pixel_batches(block: Block, batch_size: int, cut: Callable[[Views], Tensor]) -> Iterator[Tensor]:
    """The pixels of every view of a block, image by image, seed by seed.

    Args:
        block: whose.
        batch_size: views of a batch, B.
        cut: called in another thread with images and seeds int64 [V], at most B views; uint8 [V, 3, size, size].

    Yields:
        uint8 [B, 3, size, size]; the last one may be shorter.
    """
    kept: list[Tensor] = []
    for pixels_V in made_ahead(_groups(block, batch_size), cut, DEPTH):
        kept.append(pixels_V)
        while sum(map(len, kept)) >= batch_size:
            # Mostly a group is a batch, and need not be copied.
            joined = torch.cat(kept) if len(kept) > 1 else kept[0]
            yield joined[:batch_size]
            kept = [joined[batch_size:]] if len(joined) > batch_size else []
    if kept:
        yield torch.cat(kept) if len(kept) > 1 else kept[0]


def filled_up(pixels_V: Tensor, batch_size: int) -> Tensor:
    """A batch of exactly `batch_size`, by repeating its last view: on a CPU a view's row then does not depend on how
    many others came with it."""
    lacking = batch_size - len(pixels_V)
    return pixels_V if not lacking else torch.cat([pixels_V, pixels_V[-1:].expand(lacking, *pixels_V.shape[1:])])


def made_ahead(items: Iterable[ItemT], make: Callable[[ItemT], MadeT], depth: int) -> Generator[MadeT, None, None]:
    """`make` of each item in order, done by another thread up to `depth` items ahead. Errors come where they belong."""
    waiting: deque[Future[MadeT]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="fdbpl-ahead")
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _groups(block: Block, batch_size: int) -> Iterator[Views]:
    """The block's views in groups of at most a batch: some whole images, or a part of one image's seeds."""
    images_N = np.asarray(block.images, dtype=np.int64)
    seeds_S = np.asarray(block.seeds, dtype=np.int64)
    images_at_once = max(1, batch_size // len(seeds_S))
    for start in range(0, len(images_N), images_at_once):
        images = images_N[start : start + images_at_once]
        for first in range(0, len(seeds_S), batch_size):
            seeds = seeds_S[first : first + batch_size]
            yield np.repeat(images, len(seeds)), np.tile(seeds, len(images))
