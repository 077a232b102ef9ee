"""Which views an epoch uses, in what order: a function of (student's seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np


def epoch_views(
    *, num_images: int, num_seeds: int, epoch: int, seed: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of (position of the image in the training set, crop seed), both int64 [B].

    Every image is seen once, with crop seed = epoch modulo the number of seeds. An incomplete last batch is
    dropped, as in the field's recipe; a training set smaller than a batch is one batch.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_images)
    size = min(batch_size, num_images)
    for start in range(0, num_images - size + 1, size):
        batch = order[start : start + size]
        yield batch, np.full(size, epoch_seed(epoch, num_seeds), dtype=np.int64)


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    return num_images // min(batch_size, num_images)


def epoch_seed(epoch: int, num_seeds: int) -> int:
    """The crop seed that an epoch takes of every image."""
    return epoch % num_seeds
