"""A pass writes one block of a campaign: the views of some images under some crop seeds, through an encoder.

Each image is decoded once for all seeds of the block. Memory is bounded by the block's rows plus one batch of
pixels. A block's bytes are a function of the block and the batch size: batches are cut in order from its beginning.
Letters: n images and s seeds of the block, B batch.
"""

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.encodings import NotFiniteRow
from fdbpl.cache_layout.errors import NotFinite
from fdbpl.cache_layout.store import Store
from fdbpl.cache_layout.writer import write_block
from fdbpl.pipeline.windows import Pixels

Rows = Mapping[str, np.ndarray]
Encode = Callable[[Tensor], Rows]
OnProgress = Callable[[int, int], None]


def write_pass(
    store: Store,
    campaign: str,
    block: Block,
    *,
    pixels: Pixels,
    size: int,
    encode: Encode,
    extra_rows: Rows | None = None,
    batch_size: int,
    on_progress: OnProgress,
) -> int:
    """Encode every view of a block and publish its shard files; the number of views.

    Args:
        encode: uint8 pixels [B, 3, size, size] to rows [B, ...] of each array.
        extra_rows: rows [n, s, ...] of arrays that need no pixels (the windows themselves).
        on_progress: called with views done and views in all.
    """
    num_images, num_seeds = len(block.images), len(block.seeds)
    seeds_S = np.asarray(block.seeds, dtype=np.int64)
    images_at_once = max(1, batch_size // num_seeds)
    parts: list[Rows] = []
    for start in range(0, num_images, images_at_once):
        images_I = np.asarray(block.images[start : start + images_at_once], dtype=np.int64)
        views = np.repeat(images_I, num_seeds), np.tile(seeds_S, len(images_I))
        pixels_B = pixels(*views, size)
        for first, batch in zip(range(0, len(pixels_B), batch_size), pixels_B.split(batch_size), strict=True):
            try:
                parts.append(encode(batch))
            except NotFiniteRow as error:
                image, seed = views[0][first + error.row], views[1][first + error.row]
                raise NotFinite(
                    f"campaign {campaign}, block {block.id}: found NaN or infinity in the {error.what} of image "
                    f"{store.images.paths[image]}, seed {seed}, expected finite values; nothing was written: check "
                    "the model and the image"
                ) from error
        on_progress(min(start + images_at_once, num_images) * num_seeds, num_images * num_seeds)
    rows = {
        name: np.concatenate([part[name] for part in parts]).reshape(num_images, num_seeds, *parts[0][name].shape[1:])
        for name in parts[0]
    }
    write_block(store, campaign, block, {**rows, **(extra_rows or {})})
    return num_images * num_seeds
