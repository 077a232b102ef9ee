"""Telling the kernel what the next epoch reads, so that it is in memory by then.

An epoch reads one crop of each training image. Where a good part of the store's images are under one seed, the seed's
whole planes are asked for, in a few large reads; where they are few (16 shots of ImageNet are one image in 80) or under
many seeds, only their rows. Costs a call for each megabyte, or for each row; a view that several students take in the
same epoch is asked for once.
"""

from collections.abc import Sequence

import numpy as np

from fdbpl.cache_layout.reader import Reader

# A plane is read in a row: up to here that is faster than as many single rows.
LARGEST_PART_OF_ROWS = 1 / 8


def prefetch_views(reader: Reader, arrays: Sequence[str], images_M: np.ndarray, seeds_M: np.ndarray) -> None:
    """Ask for the rows of these images under these seeds; returns at once. Errors as of `Reader.read`.

    Args:
        images_M, seeds_M: int64, in any order; a view may come more than once.
    """
    # In the order of the files, where neighbours share a page.
    places_V = np.sort(seeds_M * reader.num_images + images_M)
    places_V = places_V[np.diff(places_V, prepend=-1) > 0]
    seeds_V, images_V = np.divmod(places_V, reader.num_images)
    is_plane_S = np.bincount(seeds_V, minlength=reader.num_seeds) > LARGEST_PART_OF_ROWS * reader.num_images
    is_row_V = ~is_plane_S[seeds_V]
    seeds_V, images_V = seeds_V[is_row_V], images_V[is_row_V]
    for array in arrays:
        for seed in np.flatnonzero(is_plane_S).tolist():
            reader.prefetch(array, seed)
        if len(images_V):
            reader.prefetch_rows(array, images_V, seeds_V)
