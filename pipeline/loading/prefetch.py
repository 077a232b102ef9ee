"""Telling the kernel what the next epoch reads, so that it is in memory by then.

An epoch reads one crop of each training image. Where these are under one seed and a good part of the store's images,
the seed's whole planes are asked for, in a few large reads; where they are few (16 shots of ImageNet are one image in
80) or under many seeds, only their rows. Costs a call for each megabyte, or for each row.
"""

from collections.abc import Sequence

import numpy as np

from fdbpl.cache_layout.reader import Reader

# A plane is read in a row: up to here that is faster than as many single rows.
LARGEST_PART_OF_ROWS = 1 / 8


def prefetch_views(reader: Reader, arrays: Sequence[str], images_M: np.ndarray, seeds_M: np.ndarray) -> None:
    """Ask for the rows of these images under these seeds; returns at once. Errors as of `Reader.read`."""
    is_plane = len(images_M) > LARGEST_PART_OF_ROWS * reader.num_images and bool((seeds_M == seeds_M[0]).all())
    # In the order of the files: neighbours then share a page.
    order = np.lexsort((images_M, seeds_M))
    for array in arrays:
        if is_plane:
            reader.prefetch(array, int(seeds_M[0]))
        else:
            reader.prefetch_rows(array, images_M[order], seeds_M[order])
