"""A small store for the tests, and the processes that write it. Run as a script by the tests that kill.

N, S and the block sizes do not divide one another, so that padded and absent planes occur.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fdbpl.cache_layout.array_spec import ArraySpec
from fdbpl.cache_layout.class_list import ClassList
from fdbpl.cache_layout.create import create_store
from fdbpl.cache_layout.images import ImageIndex
from fdbpl.cache_layout.manifest import Manifest
from fdbpl.cache_layout.reader import Reader
from fdbpl.cache_layout.seal import seal
from fdbpl.cache_layout.store import Store
from fdbpl.cache_layout.writer import write_block

NUM_IMAGES, NUM_SEEDS = 10, 5
SPECS = (
    ArraySpec(name="crop/box", row_shape=(4,), dtype="int32"),
    ArraySpec(name="crop/flip", row_shape=(), dtype="bool"),
    ArraySpec(name="teacher/embedding", row_shape=(8,), dtype="float16"),
    ArraySpec(name="teacher/logits", row_shape=(3,), dtype="float32"),
)
FIELDS = {"teacher": {"model": "ViT-H-14", "precision": "fp16"}, "crops": {"size": 224, "scale": [0.08, 1.0]}}


def make_images(num_images: int = NUM_IMAGES, first: int = 0) -> ImageIndex:
    """Images `first` and following of a data set without end."""
    numbers = np.arange(first, first + num_images)
    return ImageIndex(
        paths=tuple(f"class é/{number}.jpg" for number in numbers),
        sizes_N2=np.stack([30 + numbers, 40 + numbers], axis=1),
        digests_N32=np.tile(numbers[:, None] % 256, (1, 32)),
        labels_N=numbers % 3,
    )


def make_classes(name: str = "base") -> ClassList:
    embedding_CD = np.eye(3, 8, dtype=np.float32)
    return ClassList(
        name=name,
        class_names=("red cat", "blue dog", "ox"),
        templates=("a photo of a {}.",),
        text_embedding_CD=embedding_CD,
    )


def arguments(**changes: Any) -> dict[str, Any]:
    """The keyword arguments of `create_store`."""
    defaults = {
        "manifest": Manifest(FIELDS),
        "images": make_images(),
        "class_lists": [make_classes()],
        "num_seeds": NUM_SEEDS,
        "images_per_block": 4,
        "seeds_per_block": 2,
        "campaigns": {"teacher": SPECS},
    }
    return {**defaults, **changes}


def rows_of(spec: ArraySpec, store: Store) -> np.ndarray:
    """The whole array [N, S, *row_shape], always the same."""
    random_values = np.random.default_rng(len(spec.name)).normal(size=spec.shape(store.grid)) * 100
    return random_values.astype(np.int64).astype(spec.dtype) if not spec.is_float else random_values.astype(spec.dtype)


def rows_of_block(store: Store, block: Any, campaign: str = "teacher") -> dict[str, np.ndarray]:
    return {
        spec.name: rows_of(spec, store)[block.images.start : block.images.stop, block.seeds.start : block.seeds.stop]
        for spec in store.campaigns[campaign]
    }


def resume(path: Path) -> Store:
    """Make the store if need be, and write what is missing, as a task does."""
    store = create_store(path, **arguments())
    for block in store.missing_blocks("teacher"):
        write_block(store, "teacher", block, rows_of_block(store, block))
    return store


def finish(path: Path) -> Store:
    """Write and seal the whole store."""
    store = resume(path)
    seal(path)
    return store


def content(path: Path) -> dict[str, bytes]:
    """Every file below `path` by its relative name."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def overwrite(path: Path, data: bytes) -> None:
    """Change a published file in place, which the program itself never does."""
    path.chmod(0o644)
    path.write_bytes(data)


def read_everything(reader: Reader) -> dict[str, np.ndarray]:
    """All views of every array through one read each; a function that other processes can run."""
    images, seeds = (axis.reshape(-1) for axis in np.indices((reader.num_images, reader.num_seeds)))
    return {name: reader.read(name, images, seeds).reshape(reader.shape(name)) for name in reader.arrays}


def create_and_report(path: str) -> str:
    """Make the store in a process of its own; the fingerprint that it saw."""
    return create_store(path, **arguments()).manifest.fingerprint


def kill_writers(folder: Path, num_kills: int, longest: float, seed: int) -> None:
    """Fork writers and kill them at random moments; print how many died and how many finished."""
    moments = random.Random(seed)
    killed = finished = 0
    while killed < num_kills:
        path = folder / f"store-{finished}"
        child = os.fork()
        if child == 0:
            try:
                finish(path)
            finally:
                os._exit(1 if sys.exc_info()[0] else 0)
        time.sleep(moments.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            finished += 1
    finish(folder / f"store-{finished}")
    print(killed, finished + 1)


if __name__ == "__main__":
    kill_writers(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
