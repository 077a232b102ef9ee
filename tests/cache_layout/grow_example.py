"""Writing what a store lacks, and reading all of it: every view is a function of its image and its seed alone."""

from __future__ import annotations

import numpy as np

from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import Store
from fdbpl.cache_layout.writer import write_block


def value(images, seeds, spec):
    """What a view holds: a function of (image, seed) alone, so that it does not depend on when it was written."""
    base = np.asarray(images)[:, None] * 100 + np.asarray(seeds)[None, :]
    rows = base.reshape(*base.shape, *[1] * len(spec.row_shape))
    return np.broadcast_to(rows, (*base.shape, *spec.row_shape)).astype(spec.dtype)


def fill(store: Store, campaign: str = "teacher") -> list[str]:
    """Write what is missing and seal; the blocks that were written."""
    missing = store.missing_blocks(campaign)
    for block in missing:
        rows = {spec.name: value(block.images, block.seeds, spec) for spec in store.campaigns[campaign]}
        write_block(store, campaign, block, rows)
    seal(store.path, campaign)
    return [block.id for block in missing]


def read_all(reader, name):
    images, seeds = (axis.reshape(-1) for axis in np.indices((reader.num_images, reader.num_seeds)))
    return reader.read(name, images, seeds).reshape(reader.shape(name))


def whole(reader):
    for name, spec in reader.arrays.items():
        expected = value(range(reader.num_images), range(reader.num_seeds), spec)
        assert np.array_equal(read_all(reader, name), expected), name
        for seed in range(reader.num_seeds):
            assert np.array_equal(reader.read_plane(name, seed), expected[:, seed]), name
    return reader.num_images, reader.num_seeds
