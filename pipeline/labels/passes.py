"""A pass writes one block of a campaign: the views of some images under some crop seeds, through an encoder.

Reading, decoding and cutting go on in another thread while the encoder works (`batches`), and the rows of a batch are
made while the device works on the next. Memory is bounded by the block's rows plus a few batches of pixels. Every batch
that is encoded has the same shape, so that on a CPU a view's row is a function of the view and the batch size. Letters:
n images and s seeds of the block, B batch.
"""

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from fdbpl.cache_layout.blocks import Block
from fdbpl.cache_layout.encodings import NotFiniteRow
from fdbpl.cache_layout.errors import NotFinite
from fdbpl.cache_layout.store import Store
from fdbpl.cache_layout.writer import write_block
from fdbpl.pipeline.loading.batches import filled_up, pixel_batches
from fdbpl.pipeline.loading.windows import Pixels

Rows = Mapping[str, np.ndarray]
# Begins to encode pixels; what it returns waits for the end and gives the rows.
Encode = Callable[[Tensor], Callable[[], Rows]]
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
        encode: uint8 pixels [B, 3, size, size] to what gives rows [B, ...] of each array.
        extra_rows: rows [n, s, ...] of arrays that need no pixels (the windows themselves).
        on_progress: called with views done and views in all.
    """
    num_images, num_seeds = len(block.images), len(block.seeds)
    num_views = num_images * num_seeds
    parts: list[Rows] = []
    done = 0

    def take(count: int, finish: Callable[[], Rows]) -> None:
        nonlocal done
        try:
            rows = finish()
        except NotFiniteRow as error:
            image, seed = divmod(min(done + error.row, num_views - 1), num_seeds)
            raise NotFinite(
                f"campaign {campaign}, block {block.id}: found NaN or infinity in the {error.what} of image "
                f"{store.images.paths[block.images[image]]}, seed {block.seeds[seed]}, expected finite values; nothing "
                "was written: check the model and the image"
            ) from error
        parts.append({name: values[:count] for name, values in rows.items()})
        done += count
        on_progress(done, num_views)

    running: tuple[int, Callable[[], Rows]] | None = None
    for batch in pixel_batches(block, batch_size, lambda views: pixels(*views, size)):
        begun = len(batch), encode(filled_up(batch, batch_size))
        if running is not None:
            take(*running)
        running = begun
    if running is not None:
        take(*running)
    all_rows = {
        name: np.concatenate([part[name] for part in parts]).reshape(num_images, num_seeds, *parts[0][name].shape[1:])
        for name in parts[0]
    }
    write_block(store, campaign, block, {**all_rows, **(extra_rows or {})})
    return num_views
