"""A store that is as small as one can be and has everything: two campaigns, a class list, two seals, a second part.

Its embeddings are unit vectors. `WANTED` is all that a reader must give out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.blocks import Block, BlockGrid
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.grow import add_campaign, add_images, grow_campaign
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.reader import Reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import Store, open_store
from fdbpl.cache_layout.writer import write_block

SPECS = {
    "t": (
        ArraySpec(name="t/flip", row_shape=(), dtype="bool"),
        ArraySpec(name="t/embedding", row_shape=(2,), dtype="float16"),
    ),
    "s": (ArraySpec(name="s/embedding", row_shape=(2,), dtype="float16"),),
}
NUM_SEEDS = 2


def images_of(first: int, count: int) -> ImageIndex:
    numbers = np.arange(first, first + count)
    return ImageIndex(
        paths=tuple(f"é{number}" for number in numbers),
        sizes_N2=np.stack([numbers + 1, numbers + 2], axis=1),
        digests_N32=np.tile(numbers[:, None], (1, 32)),
        labels_N=numbers % 2,
    )


CLASSES = ClassList(name="c", class_names=("ox", "ant"), templates=("a {}",), text_embedding_CD=np.eye(2, dtype="f4"))


def rows_of(spec: ArraySpec, block: Block) -> np.ndarray:
    """[images, seeds, *row_shape] of a block, a function of image and seed."""
    turns_NS = np.add.outer(np.arange(block.images.start, block.images.stop) * 7.0, np.array(block.seeds) * 3.0)
    if spec.dtype == "bool":
        return turns_NS.astype(np.int64) % 2 == 0
    return np.stack([np.cos(turns_NS), np.sin(turns_NS)], axis=-1).astype(spec.dtype)


def write(store: Store, campaign: str) -> None:
    """Write what is missing of a campaign."""
    for block in store.missing_blocks(campaign):
        write_block(store, campaign, block, {spec.name: rows_of(spec, block) for spec in SPECS[campaign]})


def build(path: Path, *, grown: bool = True) -> Path:
    """Make, write and seal the store; `grown` adds a part of images that campaign `t` covers."""
    store = create_store(
        path,
        manifest=Manifest({"model": "M"}),
        images=images_of(0, 3),
        class_lists=[CLASSES],
        num_seeds=NUM_SEEDS,
        images_per_block=2,
        seeds_per_block=2,
        campaigns={"t": SPECS["t"]},
    )
    write(store, "t")
    store = add_campaign(store, "s", SPECS["s"], {"of": "s"})
    write(store, "s")
    seal(path)
    if grown:
        store = grow_campaign(store, "t", add_images(open_store(path), images_of(3, 1)))
        write(store, "t")
        seal(path)
    return path


def wanted(path: Path) -> dict[str, Any]:
    """What a reader of each campaign must give out, from the rows that were written."""
    grids = {name: open_store(path).campaign(name).grid for name in SPECS}
    return {spec.name: _whole(spec, grids[name]) for name, specs in SPECS.items() for spec in specs}


def _whole(spec: ArraySpec, grid: BlockGrid) -> np.ndarray:
    block = Block(images=range(grid.num_images), seeds=range(grid.num_seeds), image_block=0, seed_block=0)
    return rows_of(spec, block)


def is_right(reader: Reader, expected: dict[str, Any]) -> bool:
    """Read everything that the store must hold, and a plane of each array; whether all of it is right to the bit."""
    for array, rows_NS in expected.items():
        images, seeds = (axis.reshape(-1) for axis in np.indices(rows_NS.shape[:2]))
        got = reader.read(array, images, seeds)
        plane = reader.read_plane(array, 0)[: len(rows_NS)]
        if got.tobytes() != rows_NS.tobytes() or plane.tobytes() != rows_NS[:, 0].tobytes():
            return False
    classes = reader.class_list(CLASSES.name)
    return (
        classes.class_names == CLASSES.class_names
        and classes.templates == CLASSES.templates
        and classes.text_embedding_CD.tobytes() == CLASSES.text_embedding_CD.tobytes()
        and reader.images.digest == images_of(0, reader.num_images).digest
    )
