"""The store that fdbpl, zarr-python and tensorstore all read: written by our own writer, sealed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.writer import write_block
from fdbpl.pipeline.bench.data import Data

STORE = "store.zarr"
ARRAY = "teacher/logits"
_CAMPAIGN = "teacher"
_METADATA = 1 << 18  # some tens of small files


def store_bytes(data: Data) -> int:
    """What the store will take, nearly: planes are padded to whole blocks, metadata is small."""
    blocks = -(-data.num_images // data.images_per_block)
    return blocks * data.images_per_block * data.num_seeds * data.row_bytes + data.num_images * 100 + _METADATA


def build_store(path: Path, data: Data) -> None:
    """Write and seal the store, or leave the sealed one that is there."""
    spec = ArraySpec(name=ARRAY, row_shape=(data.num_classes,), dtype="float16")
    store = create_store(
        path,
        manifest=Manifest({"bench": {"seed": data.seed}}),
        images=_images(data.num_images),
        class_lists=[_classes()],
        num_seeds=data.num_seeds,
        images_per_block=data.images_per_block,
        seeds_per_block=data.seeds_per_block,
        campaigns={_CAMPAIGN: [spec]},
    )
    if store.is_sealed:
        return
    blocks = {(block.images.start, block.seeds.start): block for block in store.blocks(_CAMPAIGN)}
    for images, rows_nSC in data.blocks():
        for start in range(0, data.num_seeds, data.seeds_per_block):
            block = blocks[images.start, start]
            write_block(store, _CAMPAIGN, block, {ARRAY: rows_nSC[:, block.seeds.start : block.seeds.stop]})
    seal(path)


def _images(num_images: int) -> ImageIndex:
    numbers = np.arange(num_images)
    return ImageIndex(
        paths=tuple(f"{number}.jpg" for number in range(num_images)),
        sizes_N2=np.full((num_images, 2), 224),
        digests_N32=np.tile(numbers[:, None] % 256, (1, 32)),
        labels_N=np.zeros(num_images, np.int64),
    )


def _classes() -> ClassList:
    return ClassList(
        name="bench",
        class_names=("one",),
        templates=("a photo of {}.",),
        text_embedding_CD=np.ones((1, 1), np.float32),
    )
