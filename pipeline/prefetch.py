"""Telling the kernel what the next epoch reads, so that it is in memory by then.

An epoch reads one crop seed of each training image. Where these are a good part of the store's images, the seed's
whole planes are asked for, in a few large reads; where they are few (16 shots of ImageNet are one image in 80), only
their rows. Costs a call for each megabyte, or for each row.
"""

from collections.abc import Sequence

import numpy as np

from fdbpl.cache_layout.reader import Reader

# A plane is read in a row: up to here that is faster than as many single rows.
LARGEST_PART_OF_ROWS = 1 / 8


def prefetch_epoch(reader: Reader, arrays: Sequence[str], images_M: np.ndarray, seed: int) -> None:
    """Ask for the rows of these images under one seed; returns at once. Errors as of `Reader.read`."""
    for array in arrays:
        if len(images_M) > LARGEST_PART_OF_ROWS * reader.num_images:
            reader.prefetch(array, seed)
        else:
            # In the order of the file: neighbours then share a page.
            reader.prefetch_rows(array, np.sort(images_M), np.full(len(images_M), seed))
